"""The documentation does what it says: its blocks run, its links lead somewhere, its generated pages are current."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from docs.generate import REFERENCE, pages

ROOT = Path(__file__).parent.parent
PAGES = sorted(p for p in (ROOT / "docs").rglob("*.md") if "adr" not in p.parts)
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\]\((?!https?:)([^)#]+)")


def _blocks(page: Path, language: str) -> list[str]:
    return [text for kind, text in _BLOCK.findall(page.read_text("utf-8")) if kind == language]


def _names(pages_: list[Path]) -> list[str]:
    return [str(p.relative_to(ROOT)) for p in pages_]


SHOWN = {
    "docs/explanation/ledger.md": (
        r"esn/fleet/plant: 1441 entries lead to the root that was signed",
    ),
    "docs/how-to/verify-the-history.md": (
        r"UNWITNESSED: nothing contradicts it",
        r'{"fleet":"plant","index":\d+,"kind":"kpi".*"window_start":"2026-01-05T12:00:00Z"',
    ),
    "docs/how-to/read-an-incident.md": (
        r"anomalies +1 anomalous site; 1 open incident",
        r"open incident +since +pattern +severity +sites +origin",
        r"anomaly +score 0\.\d+, anomalous in domain electrical",
        r"incident +[0-9a-f]{16}, isolated, warning, since .* origin TH-0001",
    ),
}
"""What the commands of a page must show, line by line, for what it says to be seen."""
WITH_BASH = [p for p in PAGES if _blocks(p, "bash")]
WITH_PYTHON = [p for p in PAGES if _blocks(p, "python")]


@pytest.mark.pages
@pytest.mark.parametrize("page", WITH_BASH, ids=_names(WITH_BASH))
def test_the_commands_of_a_page_run_in_an_empty_folder(page: Path, tmp_path: Path) -> None:
    script = "set -euo pipefail\n" + "\n".join(_blocks(page, "bash"))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FLEET_")}
    done = subprocess.run(  # noqa: S603 - our own pages
        ["/bin/bash", "-c", script],
        cwd=tmp_path,
        env={**kept, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for line in SHOWN.get(str(page.relative_to(ROOT)), ()):
        assert re.search(rf"^ *{line}", done.stdout, re.MULTILINE), (
            f"no line {line!r}\n{done.stdout}"
        )


@pytest.mark.parametrize("page", WITH_PYTHON, ids=_names(WITH_PYTHON))
def test_the_python_of_a_page_runs(page: Path) -> None:
    for block in _blocks(page, "python"):
        exec(compile(block, str(page), "exec"), {})  # noqa: S102 - our own pages


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *PAGES], ids=_names([ROOT / "README.md", *PAGES])
)
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    targets = [link.strip() for link in _LINK.findall(page.read_text("utf-8"))]
    assert not [t for t in targets if not (page.parent / t).exists()]


@pytest.mark.parametrize("name", sorted(pages()))
def test_generated_pages_are_current(name: str) -> None:
    written = (REFERENCE / name).read_text(encoding="utf-8")
    assert written == pages()[name], "run: python docs/generate.py"


def test_the_readme_fits_a_screen_and_names_the_two_commands() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 80
    assert "make up" in text
    assert "make test" in text
