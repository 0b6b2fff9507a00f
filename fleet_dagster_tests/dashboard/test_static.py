"""The page's files: all of them are shipped, nothing in them is fetched from elsewhere, and what is other people's is unchanged."""

import hashlib
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from fleet_dagster.dashboard.application import STATIC
from fleet_dagster_tests.installations import ROOT

OWN = sorted(
    file
    for file in STATIC.rglob("*")
    if file.suffix in (".js", ".css", ".html") and "vendor" not in file.parts
)
UPLOT = STATIC / "vendor" / "uplot"


def test_vendored_files_are_those_that_were_published() -> None:
    lines = (UPLOT / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    told = {name: digest for digest, name in (line.split() for line in lines)}
    here = {p.name for p in UPLOT.iterdir()} - {"SHA256SUMS", "README.md"}
    assert told.keys() == here
    for name, digest in told.items():
        assert hashlib.sha256((UPLOT / name).read_bytes()).hexdigest() == digest, name
    assert "MIT License" in (UPLOT / "LICENSE").read_text(encoding="utf-8")


@pytest.mark.parametrize("file", OWN, ids=lambda f: str(f.relative_to(STATIC)))
def test_the_page_makes_no_markup_of_text_and_asks_nobody_else(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text)
    assert not re.search(r"""(https?:)?//[\w.-]+\.\w+/""", text)
    if file.suffix == ".html":
        assert not re.search(r"\sstyle=|<style|\son\w+=|<script>", text)


def test_every_import_of_a_module_leads_to_a_file() -> None:
    for file in OWN:
        for target in re.findall(r'from "([^"]+)"', file.read_text(encoding="utf-8")):
            place = STATIC / target.removeprefix("/static/")
            found = place if target.startswith("/static/") else (file.parent / target).resolve()
            assert found.is_file(), f"{file.name} imports {target}"


@pytest.mark.slow
def test_the_wheel_carries_the_page(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "-q", "-w", str(tmp_path)]
    subprocess.run([*command, str(ROOT)], check=True, stderr=subprocess.DEVNULL)  # noqa: S603 - our own command
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    own = {p for p in STATIC.rglob("*") if p.is_file()}
    assert {f"fleet_dagster/dashboard/static/{p.relative_to(STATIC)}" for p in own} <= names
