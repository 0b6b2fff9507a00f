import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from fleet_dagster.cli.keyboard import Keys, terminal_keys
from fleet_dagster.core.windows import DAY, MINUTE, Span, floor_to
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.refresh.refresh import Refresh
from fleet_dagster.storage.clock import now_us
from fleet_dagster.storage.status import instant
from fleet_dagster.storage.store import Store
from fleet_dagster_tests import installations as at
from fleet_dagster_tests.cli.cases import done, fleet, printed
from fleet_dagster_tests.cli.terminals import ENTERS, LEAVES, Terminal, terminal

START = floor_to(now_us(), DAY) - DAY
"""Yesterday's first instant: what a console calls live lies around now."""
CONFIG = at.plant(
    n_sites=4,
    n_regions=2,
    interval_s=60,
    start_date=instant(START).date(),
    staleness_threshold_s=120,
)
SITES = [m.site_id for m in CONFIG.region_mappings]


def compute(home: Path, config: FleetConfig, first: int, end: int, *, share: float) -> None:
    """Land telemetry of some minutes, and compute their windows."""
    minutes = range(first, end, MINUTE)
    with Store.at(at.new_home(home)) as store:
        for site in SITES:
            rows = at.snapshots(site, [m + 1_000_000 for m in minutes], config, share=share)
            at.land(store, config, rows, batch_id=f"{site}-{first}", received_at=end)
        refresh, span = Refresh(store, config), Span(first, end)
        for node in (
            refresh.site_assignment,
            refresh.site_ingest,
            refresh.fleet_aggregator,
            refresh.regional_scorer,
            refresh.performance_comparator,
        ):
            node(span)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return an installation that has computed some windows up to now."""
    file = tmp_path / "fleets" / "plant.yaml"
    file.parent.mkdir()
    file.write_text(yaml.safe_dump(CONFIG.model_dump(mode="json")), encoding="utf-8")
    end = floor_to(now_us(), MINUTE)
    compute(tmp_path / "home", CONFIG, end - 5 * MINUTE, end, share=0.5)
    return tmp_path


def healths(screen: str) -> str:
    """Return the health that a screen shows; empty where it shows none."""
    line = next((one for one in screen.splitlines() if one.startswith("HEALTH ")), "")
    return line.split()[1] if line else ""


def test_a_console_follows_what_is_computed_and_q_ends_it(folder: Path) -> None:
    with terminal(folder, ["console", "plant"], width=90, height=26) as shown:
        before = shown.settings()
        first = healths(shown.wait_for(healths))
        assert ENTERS in shown.shown
        end = floor_to(now_us(), MINUTE)
        compute(folder / "home", CONFIG, end, end + MINUTE, share=0.9)
        later = shown.wait_for(lambda screen: healths(screen) not in ("", first))
        assert float(healths(later)) != float(first)
        assert all(site in later for site in SITES)
        shown.press("q")
        assert shown.end() == 0
        assert LEAVES in shown.shown
        assert shown.settings() == before


@pytest.mark.parametrize(
    "stop",
    [
        lambda shown: shown.press("\x03"),
        lambda shown: os.kill(shown.process.pid, signal.SIGTERM),
    ],
    ids=["ctrl-c", "sigterm"],
)
def test_a_console_that_is_interrupted_leaves_the_terminal_as_it_was(
    folder: Path, stop: Callable[[Terminal], None]
) -> None:
    with terminal(folder, ["console", "plant"], width=80, height=24) as shown:
        before = shown.settings()
        shown.wait_for(healths)
        assert shown.settings() != before
        stop(shown)
        assert shown.end() == 0
        assert shown.shown.rstrip().endswith(LEAVES) or LEAVES in shown.shown[-40:]
        assert "Traceback" not in shown.shown
        assert shown.settings() == before


def test_a_console_says_that_storage_fails_and_goes_on_when_it_is_back(folder: Path) -> None:
    with terminal(folder, ["console", "plant"], width=100, height=24) as shown:
        shown.wait_for(healths)
        (folder / "home" / "control.db").rename(folder / "control.db")
        failed = shown.wait_for(lambda screen: "STORAGE FAILS" in screen)
        assert healths(failed)
        (folder / "control.db").rename(folder / "home" / "control.db")
        shown.wait_for(lambda screen: healths(screen) and "STORAGE FAILS" not in screen)
        shown.press("q")
        assert shown.end() == 0


def test_once_prints_one_picture_as_is_done_where_there_is_no_terminal(folder: Path) -> None:
    for options in (("--once",), ()):
        lines = done(fleet(folder, "console", "plant", *options)).splitlines()
        assert lines[0].startswith(" plant  fleet console")
        assert healths("\n".join(lines))
        assert max(map(len, lines)) <= 80
        assert not any("\x1b" in line for line in lines)


def test_once_in_a_terminal_leaves_the_picture_on_the_screen(folder: Path) -> None:
    with terminal(folder, ["console", "plant", "--once"], width=120, height=15) as shown:
        assert shown.end() == 0
        assert ENTERS not in shown.shown
        assert "fleet console" in shown.screen()
        assert shown.screen().count("\n") < 15


def test_the_picture_is_there_for_machines(folder: Path) -> None:
    found = printed(fleet(folder, "console", "plant", "--json"))
    assert (found["fleet"], found["condition"]) == ("plant", "live")
    assert len(found["worst"]) == found["n_ranked"] == len(SITES)
    assert found["history"][-1]["health"] == found["status"]["health"]


def test_a_fleet_without_windows_is_a_no_and_an_unknown_one_wrong_use(
    folder: Path, tmp_path: Path
) -> None:
    shutil.rmtree(folder / "home")
    nothing = fleet(tmp_path, "console", "plant", "--once")
    assert nothing.exit_code == 1
    assert "NOTHING COMPUTED" in nothing.stdout
    assert fleet(tmp_path, "console", "nobody", "--once").exit_code == 2


def test_keys_are_read_one_by_one_and_an_end_of_file_counts_as_q(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    master, slave = os.openpty()
    with open(slave, encoding="utf-8") as stdin:  # noqa: PTH123 - a descriptor, no path
        monkeypatch.setattr(sys, "stdin", stdin)
        with terminal_keys() as keys:
            assert keys.pressed(0.0) == ""
            threading.Timer(0.05, os.write, (master, b"x")).start()
            assert keys.pressed(60.0) == "x"
            assert signal.getsignal(signal.SIGTERM) is not before
        assert signal.getsignal(signal.SIGTERM) is before
    os.close(master)
    reading, writing = os.pipe()
    os.close(writing)
    assert Keys(reading).pressed(60.0) == "q"
    os.close(reading)
    assert Keys(None).pressed(0.0) == ""
