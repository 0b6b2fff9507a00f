import os
import signal
import subprocess
import sys
import urllib.request
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


def test_a_server_answers_until_it_is_asked_to_end(tmp_path: Path) -> None:
    cases.write_fleet(tmp_path)
    places = ["--home", str(tmp_path / "home"), "--fleets", str(tmp_path / "fleets")]
    command = [sys.executable, "-m", "fleet_dagster.cli.main", "metrics", "--serve", "--port", "0"]
    environment = {**os.environ, TOKEN: "s3cret"}
    with subprocess.Popen(  # noqa: S603 - our own program
        [*command, *places], stderr=subprocess.PIPE, text=True, env=environment, cwd=tmp_path
    ) as server:
        assert server.stderr is not None
        line = server.stderr.readline()
        url = line.split()[3].rstrip(".")
        request = urllib.request.Request(url, headers={"Authorization": "Bearer s3cret"})  # noqa: S310
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310 - our own server
            assert b"fleet_interval_seconds" in answer.read()
        server.send_signal(signal.SIGTERM)
        assert "Ended." in server.stderr.read()
        assert server.wait(20) == 0


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
