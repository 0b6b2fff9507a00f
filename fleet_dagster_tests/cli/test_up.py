import datetime as dt
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from pathlib import Path

import psutil
import pytest

from fleet_dagster.cli.feeding import Feeder
from fleet_dagster.cli.simulated import Demo, demo_content
from fleet_dagster.cli.template import fleet_file
from fleet_dagster.core.windows import HOUR, MINUTE, SECOND, Span
from fleet_dagster.model.yaml_file import parse_config
from fleet_dagster.storage.store import Store
from fleet_dagster_tests.cli.cases import done, fleet, installation, lake, printed, write_fleet
from fleet_dagster_tests.installations import new_home
from fleet_dagster_tests.ports import free_port

FRIDAY = 1_767_916_800_000_000
"""2026-01-09T00:00Z."""


def _small_demo(folder: Path) -> None:
    """Write a demo fleet of three sites whose history begins today."""
    content = demo_content(str(dt.datetime.now(dt.UTC).date()))
    mappings = content["region_mappings"]
    assert isinstance(mappings, list)
    path = folder / "fleets" / "demo.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(fleet_file({**content, "region_mappings": mappings[:3]}), encoding="utf-8")
    Demo().write(folder / "home" / "demo.json")


def test_feeding_in_steps_lands_what_feeding_at_once_does(tmp_path: Path) -> None:
    config = parse_config(fleet_file(demo_content("2026-01-09")), source="demo")
    landed = []
    cases = (
        ("once", [6 * HOUR], False),
        ("steps", [HOUR, 90 * MINUTE, 90 * MINUTE + 5 * SECOND, 6 * HOUR], False),
        ("restarts", [2 * HOUR, 2 * HOUR + 35 * SECOND, 6 * HOUR], True),
    )
    for name, stops, is_restarted in cases:
        with Store.at(new_home(tmp_path / name)) as store:
            feeder = Feeder(store, config, Demo())
            for stop in stops:
                feeder = Feeder(store, config, Demo()) if is_restarted else feeder
                feeder.feed(FRIDAY + stop)
            span = Span(FRIDAY - HOUR, FRIDAY + 7 * HOUR)
            frame = store.telemetry_reader("demo")(span).drop(columns=["batch_id", "row_no", "raw"])
        landed.append(Counter(frame.astype(str).itertuples(index=False, name=None)))
    once, steps, restarts = landed
    assert once.total() > 24 * 300
    assert once == steps == restarts


def test_up_prepares_the_demo_and_a_second_time_finds_nothing_to_do(tmp_path: Path) -> None:
    _small_demo(tmp_path)
    assert "snapshots landed" in done(fleet(tmp_path, "up", "--once"))
    before = lake(tmp_path)
    assert before["site_telemetry"].num_rows > 0
    assert "computed" not in done(fleet(tmp_path, "up", "--once"))


@pytest.mark.slow
def test_up_makes_a_demo_fleet_with_a_week_of_data_where_there_is_none(tmp_path: Path) -> None:
    done(fleet(tmp_path, "up", "--once"))
    shown = printed(fleet(tmp_path, "status", "demo", "--json"))
    assert shown["total_sites"] >= 24
    assert shown["coverage"] > 0.5
    assert len(set(lake(tmp_path)["fleet_kpi"].column("day").to_pylist())) == 7


def test_a_port_in_use_is_told_before_anything_is_made(tmp_path: Path) -> None:
    place = installation(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        result = fleet(tmp_path, "up", "--port", str(taken.getsockname()[1]), "--no-browser")
    assert result.exit_code == 2
    assert "in use" in result.output
    assert not place.fleets_folder.exists()


def test_the_same_port_for_both_pages_is_refused(tmp_path: Path) -> None:
    port = str(free_port())
    result = fleet(tmp_path, "up", "--port", port, "--dashboard-port", port, "--no-browser")
    assert result.exit_code == 2
    assert "asked for twice" in result.output


def test_up_leaves_a_fleet_without_telemetry_alone(tmp_path: Path) -> None:
    write_fleet(tmp_path)
    text = done(fleet(tmp_path, "up", "--once"))
    assert "no telemetry yet" in text
    assert not (tmp_path / "home" / "demo.json").exists()


def test_up_with_a_broken_fleet_file_says_what_is_wrong(tmp_path: Path) -> None:
    write_fleet(tmp_path).write_text("name: [", encoding="utf-8")
    result = fleet(tmp_path, "up", "--once")
    assert result.exit_code == 2
    assert "plant.yaml" in result.output


@pytest.mark.slow
def test_up_serves_the_fleet_until_it_is_told_to_stop_and_leaves_nothing_running(
    tmp_path: Path,
) -> None:
    _small_demo(tmp_path)
    port, log = free_port(), tmp_path / "up.log"
    place = ["--home", str(tmp_path / "home"), "--fleets", str(tmp_path / "fleets")]
    command = [sys.executable, "-m", "fleet_dagster.cli.main", *place]
    with log.open("w") as output:
        process = subprocess.Popen(  # noqa: S603 - our own program
            [*command, "up", "--no-browser", "--port", str(port)], stderr=output, env={**os.environ}
        )
        while "Ctrl-C stops it" not in log.read_text():
            assert process.poll() is None, log.read_text()
            time.sleep(0.2)
    children = psutil.Process(process.pid).children(recursive=True)
    try:
        names = _asset_names(port)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    assert {"site_telemetry", "fleet_kpi", "site_ranking"} <= names
    assert re.search(rf"http://127.0.0.1:{port}/assets/demo/fleet_kpi", log.read_text())
    assert process.returncode == 0
    assert children
    assert not [c for c in children if c.is_running()]
    assert printed(fleet(tmp_path, "status", "demo", "--json"))["fleet"] == "demo"


def _asset_names(port: int) -> set[str]:
    query = json.dumps({"query": "{ assetNodes { assetKey { path } } }"}).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/graphql", query, {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - our own address
        nodes = json.load(answer)["data"]["assetNodes"]
    return {node["assetKey"]["path"][-1] for node in nodes}
