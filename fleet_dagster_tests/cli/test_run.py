import datetime as dt
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.compute as pc
import pytest

from fleet_dagster.storage.clock import now_us
from fleet_dagster.storage.maintenance import expire_telemetry
from fleet_dagster_tests.cli.cases import csv, done, fleet, installation, lake, printed, write_fleet

SPAN = ("--from", "2026-01-05", "--to", "2026-01-05")


def _landed(folder: Path) -> None:
    write_fleet(folder)
    done(fleet(folder, "import", "plant", csv(folder), "--historical"))


@pytest.fixture(scope="module")
def a_day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of an installation whose telemetry is computed, which no test changes."""
    folder = tmp_path_factory.mktemp("computed")
    _landed(folder)
    done(fleet(folder, "run", "plant", *SPAN))
    return folder


@pytest.fixture
def computed(a_day: Path, tmp_path: Path) -> Path:
    """Return a copy of it."""
    shutil.copytree(a_day, tmp_path, dirs_exist_ok=True)
    return tmp_path


def _today() -> dt.date:
    return dt.datetime.now(dt.UTC).date()


def test_run_computes_the_days_and_a_second_run_finds_everything_current(tmp_path: Path) -> None:
    _landed(tmp_path)
    first = printed(fleet(tmp_path, "run", "plant", *SPAN, "--json"))
    rows = lake(tmp_path)
    assert first["partitions"] == ["2026-01-05"]
    assert first["failure"] is None
    n_rows = sum(t.num_rows for name, t in rows.items() if name != "site_telemetry")
    assert first["rows_written"] == n_rows
    assert rows["fleet_kpi"].num_rows == 1440
    second = printed(fleet(tmp_path, "run", "plant", *SPAN, "--json"))
    assert second["rows_written"] == 0
    assert lake(tmp_path) == rows


def test_recompute_computes_again_and_writes_nothing_new(computed: Path) -> None:
    before = lake(computed)
    text = done(fleet(computed, "run", "plant", *SPAN, "--recompute"))
    assert "Recomputed 1 partition, no row differs" in text
    assert lake(computed) == before


def test_an_instant_within_a_day_stands_for_its_partition(computed: Path) -> None:
    span = ("--from", "2026-01-05T12:00", "--to", "2026-01-05T13:00:00Z")
    assert printed(fleet(computed, "run", "plant", *span, "--json"))["partitions"] == ["2026-01-05"]


def test_a_last_day_is_included_whole(computed: Path) -> None:
    span = ("--from", "2026-01-05", "--to", "2026-01-06")
    found = printed(fleet(computed, "run", "plant", *span, "--json"))["partitions"]
    assert found == ["2026-01-05", "2026-01-06"]


def test_all_stands_for_every_day_with_telemetry(computed: Path) -> None:
    done(
        fleet(
            computed,
            "import",
            "plant",
            csv(computed, "S1,2026-01-09T00:00:00Z,1,1"),
            "--historical",
        )
    )
    found = printed(fleet(computed, "run", "plant", "--all", "--json"))
    assert found["partitions"] == ["2026-01-05", "2026-01-09"]
    assert found["n_done"] == 2


def test_a_run_needs_a_span_or_all(tmp_path: Path) -> None:
    write_fleet(tmp_path)
    for arguments in ((), ("--from", "2026-01-05"), (*SPAN, "--all")):
        result = fleet(tmp_path, "run", "plant", *arguments)
        assert result.exit_code == 2
        assert "--all" in result.output


def test_a_span_in_the_future_is_refused_not_clipped(computed: Path) -> None:
    tomorrow = str(_today() + dt.timedelta(days=2))
    result = fleet(computed, "run", "plant", "--from", "2026-01-05", "--to", tomorrow)
    assert result.exit_code == 2
    assert "future" in result.output


def test_a_fleet_whose_history_is_finished_is_computed_up_to_its_last_day(tmp_path: Path) -> None:
    write_fleet(tmp_path, end_date="2026-01-06")
    done(fleet(tmp_path, "import", "plant", csv(tmp_path), "--historical"))
    found = printed(fleet(tmp_path, "run", "plant", *SPAN, "--json"))
    assert found["partitions"] == ["2026-01-05"]
    assert found["rows_written"] > 0
    late = fleet(tmp_path, "run", "plant", "--from", "2026-01-06", "--to", "2026-01-07")
    assert late.exit_code == 2
    assert "with 2026-01-06 (UTC). End there at the latest" in " ".join(late.output.split())
    assert printed(fleet(tmp_path, "run", "plant", "--all", "--json"))["partitions"] == [
        "2026-01-05"
    ]


def test_a_span_before_the_first_day_is_refused(computed: Path) -> None:
    result = fleet(computed, "run", "plant", "--from", "2025-12-31", "--to", "2026-01-05")
    assert result.exit_code == 2
    assert "2026-01-01" in result.output


@pytest.mark.parametrize(
    ("start", "end", "word"),
    [("2026-01-06", "2026-01-05", "Swap"), ("monday", "2026-01-05", "'monday'")],
)
def test_a_span_that_is_none_is_wrong_use(tmp_path: Path, start: str, end: str, word: str) -> None:
    write_fleet(tmp_path)
    result = fleet(tmp_path, "run", "plant", "--from", start, "--to", end)
    assert result.exit_code == 2
    assert word in result.output


def test_a_failed_run_names_the_step_and_the_reason(tmp_path: Path) -> None:
    write_fleet(tmp_path)
    moment = "2026-01-05T00:02:00Z"
    done(fleet(tmp_path, "import", "plant", csv(tmp_path), "--received-at", moment))
    with installation(tmp_path).store() as store:
        expire_telemetry(store, "plant", now=now_us(), retention_days=1)
    result = fleet(tmp_path, "run", "plant", *SPAN)
    assert result.exit_code == 1
    assert "has expired" in result.output
    assert "plant__" in result.output
    assert "0 of 1 partition done" in result.output


def test_late_telemetry_restates_the_windows_that_it_touches(computed: Path) -> None:
    late = csv(computed, "S2,2026-01-05T00:01:00Z,40,90", name="late.csv")
    done(fleet(computed, "import", "plant", late, "--historical"))
    done(fleet(computed, "run", "plant", *SPAN))
    old = lake(computed)["fleet_kpi_superseded"].column("window_start")
    assert f"{min(pc.unique(old).to_pylist()):%H:%M}" == "00:01"
    for moment, state, revision in (("00:00", "final", 0), ("00:01", "restated", 1)):
        at = ("--at", f"2026-01-05T{moment}:30Z")
        shown = printed(fleet(computed, "status", "plant", *at, "--json"))
        assert (shown["state"], shown["revision"]) == (state, revision)


def test_ctrl_c_says_how_far_it_got_and_the_next_run_goes_on(tmp_path: Path) -> None:
    _landed(tmp_path)
    place = ["--home", str(tmp_path / "home"), "--fleets", str(tmp_path / "fleets")]
    days = ["--from", "2026-01-05", "--to", "2026-02-28"]
    command = [sys.executable, "-m", "fleet_dagster.cli.main", *place, "run", "plant", *days]
    process = subprocess.Popen(  # noqa: S603 - our own program
        command, stderr=subprocess.PIPE, text=True, env={**os.environ}
    )
    log = tmp_path / "home" / "lake" / "fleet_kpi" / "_delta_log"
    while len(list(log.glob("*.json")) if log.exists() else []) < 2:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Run the same command again to go on" in errors
    done(fleet(tmp_path, "run", "plant", *SPAN))
