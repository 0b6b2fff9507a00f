import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fleet_dagster.cli.metrics import TOKEN
from fleet_dagster.telemetry.otlp import ENDPOINT
from fleet_dagster_tests.cli import cases
from fleet_dagster_tests.telemetry.busy_fleet import families


def test_the_figures_are_printed_in_openmetrics(tmp_path: Path) -> None:
    cases.write_fleet(tmp_path)
    text = cases.done(cases.fleet(tmp_path, "metrics"))
    names = {f.name for f in families(text)}
    assert {"fleet_dagster", "fleet_interval_seconds", "fleet_scrape_failed"} <= names


@contextmanager
def serving(folder: Path, *arguments: str) -> Iterator[str]:
    """Run a command that serves, in a process of its own; yields the address that it names, and asks it to end."""
    places = ["--home", str(folder / "home"), "--fleets", str(folder / "fleets")]
    command = [sys.executable, "-m", "fleet_dagster.cli.main", *places, *arguments, "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=folder) as server:  # noqa: S603
        assert server.stderr is not None
        found = None
        while found is None:
            line = server.stderr.readline()
            assert line
            found = re.search(r"http://127\.0\.0\.1:\d+", line)
        yield f"{found[0]}/metrics"
        server.send_signal(signal.SIGTERM)
        assert "Ended." in server.stderr.read()
        assert server.wait(20) == 0


def fleets_told(url: str, token: str) -> set[str]:
    """Return the fleets whose figures somebody with a token is told."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - our own server
    with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
        return set(re.findall(r'fleet_interval_seconds{fleet="(\w+)"}', answer.read().decode()))


def test_a_server_answers_until_it_is_asked_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases.write_fleet(tmp_path)
    monkeypatch.setenv(TOKEN, "s3cret")
    with serving(tmp_path, "metrics", "--serve") as url:
        assert fleets_told(url, "s3cret") == {"plant"}


def test_the_dashboard_tells_figures_to_those_who_may_see_the_fleet(tmp_path: Path) -> None:
    for name in ("plant", "harbour"):
        cases.write_fleet(tmp_path, name)
    create = ("tokens", "create", "prometheus")
    of_all = cases.fleet(tmp_path, *create).stdout.strip()
    of_one = cases.fleet(tmp_path, *create, "--fleet", "harbour").stdout.strip()
    with serving(tmp_path, "dashboard", "--no-browser") as url:
        assert fleets_told(url, of_all) == {"plant", "harbour"}
        assert fleets_told(url, of_one) == {"harbour"}
        with pytest.raises(urllib.error.HTTPError, match="401"):
            fleets_told(url, "")


def test_an_address_that_others_reach_without_a_token_is_doubted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases.write_fleet(tmp_path)
    monkeypatch.delenv(TOKEN, raising=False)
    found = cases.fleet(tmp_path, "metrics", "--serve", "--host", "256.0.0.1")
    assert found.exit_code == 2
    assert "Whoever reaches 256.0.0.1 can read these figures" in found.output


def test_the_doctor_says_what_is_sent_and_why_nothing_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases.write_fleet(tmp_path)
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:4318")
    assert "sends traces and metrics" in cases.fleet(tmp_path, "doctor").output
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    found = cases.fleet(tmp_path, "doctor")
    assert found.exit_code == 1
    assert "expected 'http/protobuf'" in found.output
