import datetime as dt
import io
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from fleet_dagster.console.picture import Picture, gather
from fleet_dagster.console.screen import screen_lines
from fleet_dagster.console.watch import Trouble, View
from fleet_dagster.console.words import in_ascii
from fleet_dagster.model.tables import FLEET_KPI, REGIONAL_HEALTH, SITE_RANKING
from fleet_dagster.storage.status import FleetStatus, instant
from fleet_dagster.storage.store import Store
from fleet_dagster_tests import installations as at
from fleet_dagster_tests.console.conftest import CONFIG, END, SITES

NOW = instant(END) + dt.timedelta(seconds=42)
SIZES = [(80, 24), (120, 40), (200, 60)]


@pytest.fixture(scope="module")
def store(a_day: Path) -> Iterator[Store]:
    with Store.at(a_day / "home") as opened:
        yield opened


@pytest.fixture(scope="module")
def picture(store: Store) -> Picture:
    return gather(store, CONFIG, NOW)


def drawn(
    picture: Picture | None,
    width: int,
    height: int | None,
    *,
    now: dt.datetime = NOW,
    trouble: Trouble | None = None,
) -> list[str]:
    """Return the lines of a picture, after a look at whether they fit the terminal."""
    lines = screen_lines(View(picture, trouble), "plant", width=width, height=height, now=now)
    assert max(line.cell_len for line in lines) <= width
    assert height is None or len(lines) <= height
    assert not any("\n" in line.plain for line in lines)
    return [line.plain.rstrip() for line in lines]


def row_of(lines: list[str], word: str) -> str:
    return next(line for line in lines if word in line)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_a_picture_tells_how_the_fleet_stands(
    store: Store, picture: Picture, width: int, height: int
) -> None:
    lines = drawn(picture, width, height)
    row = at.rows_of(store, FLEET_KPI).iloc[-1]
    assert lines[0].split()[:3] == ["plant", "fleet", "console"]
    assert lines[0].endswith("2026-01-02 00:00:42 UTC  q quits")
    assert drawn(picture, width, None)[0].endswith("2026-01-02 00:00:42 UTC")  # printed once
    health = row_of(lines, "HEALTH").split()
    assert health[1] == f"{row['fleet_health']:.4f}"
    assert health[2] in ("healthy", "degraded", "critical")
    assert health[4:10:2] == ["kpi", "uptime", "fault"]
    shown = " ".join(health[5:11:2])
    assert shown == " ".join(f"{row[f'{p}_part']:.3f}" for p in ("kpi", "uptime", "fault"))
    assert "01-01 23:30 to 00:00 UTC, ended 42 s ago" in row_of(lines, "window")
    sites = row_of(lines, "sites ")
    assert f"coverage {row['coverage']:.1%}" in sites
    assert f"{row['sites_online']} online" in sites
    assert f"of {row['total_sites']}" in sites
    assert "full: every site" in row_of(lines, "ingestion")
    assert re.search(r"last 6 h +[▁▂▃▄▅▆▇█·]{12}  0\.\d{3} to 0\.\d{3}$", row_of(lines, "last 6 h"))


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_a_picture_shows_regions_worst_sites_and_incidents_the_worst_first(
    store: Store, picture: Picture, width: int, height: int
) -> None:
    lines = drawn(picture, width, height)
    worst = at.rows_of(store, SITE_RANKING)
    last = worst[worst["window_start"] == worst["window_start"].max()]
    low = last.sort_values("composite_score").iloc[0]
    assert re.search(
        rf"\b{low['rank_in_fleet']}  {low['site_id']} .*{low['composite_score']:.4f}",
        row_of(lines, f"  {low['site_id']} "),
    )
    regions = at.rows_of(store, REGIONAL_HEALTH)
    for _, region in regions[regions["window_start"] == regions["window_start"].max()].iterrows():
        if region["coverage"] > 0:
            found = row_of(lines, f"{region['region_id']}  {region['health_score']:.4f}")
            assert region["band"] in found
    place = next(i for i, line in enumerate(lines) if line.startswith("OPEN INCIDENTS (2)"))
    first, second = lines[place + 2 : place + 4]
    assert re.match(r"critical !! +regional +5  01-01 23:25  undetermined", first)
    assert "97%" in first
    assert re.match(r"warning ! +isolated +1  01-01 21:55  S1, temp", second)
    if width == 200:
        assert "b" * 16 in first


@pytest.mark.parametrize("width", [30, 60, 100, 160])
@pytest.mark.parametrize("height", [1, 6, 9, 14, 20, 33])
def test_whatever_there_is_no_room_for_is_counted(
    picture: Picture, width: int, height: int
) -> None:
    lines = drawn(picture, width, height)
    if height < 9:
        return
    text = "\n".join(lines)
    for name, n_rows in (("OPEN INCIDENTS", 2), ("WORST SITES", picture.n_ranked)):
        title = re.search(rf"{name} \({n_rows}\)(?:  \+(\d+) more)?", text)
        if title is None:
            assert f"{name.lower()} {n_rows}"[: width // 2] in text or "…" in lines[-1]
    shown = [s for s in SITES if re.search(rf"\b{s}(?:  [\w-]+)?  0\.\d{{4}}", text)]
    more = re.search(r"WORST SITES \(\d+\)  \+(\d+) more", text)
    if "WORST SITES (" in text:
        assert len(shown) + int(more.group(1) if more else 0) == picture.n_ranked


def test_without_a_height_everything_is_shown(picture: Picture) -> None:
    text = "\n".join(drawn(picture, 80, None))
    assert "more" not in text
    assert all(site.site_id in text for site in picture.worst)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_an_old_picture_cannot_be_taken_for_health(
    picture: Picture, width: int, height: int
) -> None:
    late = NOW + dt.timedelta(hours=3)
    lines = drawn(picture, width, height, now=late)
    assert lines[1].startswith(" OLD: the newest window ended 3 h 0 min ago. Last snapshot:")
    assert not any(line.startswith("HEALTH") for line in lines)
    assert lines[2].startswith("health was")
    assert "ended 3 h 0 min ago" in row_of(lines, "window")
    assert not any(re.search(r"\bnow\b", line) for line in lines)
    drawings = screen_lines(View(picture), "plant", width=width, height=height, now=late)
    tables = drawings[next(n for n, d in enumerate(drawings) if d.plain.startswith("OPEN")) :]
    assert {str(line.style) for line in tables} == {"dim"}
    assert not any(line.spans for line in tables)


def test_a_picture_is_old_after_two_runs_of_the_schedule_have_left_it_so(picture: Picture) -> None:
    limit = instant(END) + dt.timedelta(seconds=1800 + 2 * 300)
    assert picture.condition(limit) == "live"
    assert picture.condition(limit + dt.timedelta(microseconds=1)) == "old"


def status_of(picture: Picture) -> FleetStatus:
    assert picture.status is not None
    return picture.status


def test_a_silent_fleet_has_no_health(picture: Picture) -> None:
    regions = tuple(replace(r, coverage=0.0, health=0.0) for r in status_of(picture).regions)
    status = replace(status_of(picture), coverage=0.0, health=0.0, regions=regions)
    lines = drawn(replace(picture, status=status, worst=(), n_ranked=0), 80, 24)
    assert lines[1].startswith(" NO TELEMETRY: no site reports in this window. Last snapshot:")
    assert lines[2] == "HEALTH     unknown: no site reports"
    assert row_of(lines, regions[0].region_id).split()[1:4] == ["-", "no", "reports"]
    assert "WORST SITES: no site is ranked in this window" in lines


def test_a_fleet_without_any_window_says_what_to_do(tmp_path: Path) -> None:
    with Store.at(tmp_path / "home") as empty:
        nothing = drawn(gather(empty, CONFIG, NOW), 80, 24)
        at.land(empty, CONFIG, at.telemetry(1, step_s=600), batch_id="day")
        landed = drawn(gather(empty, CONFIG, NOW), 80, 24)
    assert nothing[1].startswith(" NOTHING COMPUTED")
    assert "fleet simulate plant" in nothing[2]
    assert landed[1].startswith(" NOTHING COMPUTED")
    assert landed[2] == "Telemetry has landed. Compute it: fleet run plant --all"


def test_storage_that_fails_is_said_above_the_last_picture(picture: Picture) -> None:
    since = NOW - dt.timedelta(seconds=5)
    lines = drawn(picture, 120, 40, trouble=Trouble(since, "the lake is gone"))
    assert lines[1].startswith(
        " STORAGE FAILS for 5 s, trying again. What is shown was read 0 s ago"
    )
    assert lines[1].endswith("the lake is gone")
    assert lines[2].startswith("HEALTH")
    assert drawn(None, 120, 40, trouble=Trouble(since, "the lake is gone"))[1].endswith("is gone")


def test_a_storm_is_said_with_how_far_the_health_can_be_trusted(picture: Picture) -> None:
    status = replace(
        status_of(picture), storm="2026-01-01T23:00", health_stderr=0.01, sampled_fraction=0.1
    )
    lines = drawn(replace(picture, status=status), 80, 24)
    assert "STORM 2026-01-01T23:00: KPIs of 10% of the sites are read" in row_of(lines, "STORM")
    assert "± 0.0196" in row_of(lines, "HEALTH")


def test_a_persistent_outlier_is_marked_by_a_word(picture: Picture) -> None:
    marked = replace(picture.worst[0], is_persistent_outlier=True)
    lines = drawn(replace(picture, worst=(marked, *picture.worst[1:])), 80, 40)
    assert "persistent" in row_of(lines, f"  {marked.site_id} ")
    assert sum("persistent" in line for line in lines) == 1 + sum(
        s.is_persistent_outlier for s in picture.worst[1:]
    )


def test_a_terminal_that_knows_ascii_only_gets_nothing_else(picture: Picture) -> None:
    lines = screen_lines(View(picture), "plant", width=60, height=20, now=NOW)
    plain = [in_ascii(line) for line in lines]
    assert [line.cell_len for line in plain] == [line.cell_len for line in lines]
    assert all(line.plain.isascii() for line in plain)
    assert re.search(r"last 6 h +[1-8.]{12}  ", "\n".join(line.plain for line in plain))


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_a_real_terminal_shows_the_lines_as_they_are(
    picture: Picture, width: int, height: int
) -> None:
    written = io.StringIO()
    screen = Console(file=written, width=width, height=height, record=True)
    lines = screen_lines(View(picture), "plant", width=width, height=height, now=NOW)
    for line in lines:
        line.no_wrap = True
        screen.print(line)
    shown = screen.export_text().splitlines()
    assert [s.rstrip() for s in shown] == [line.plain.rstrip() for line in lines]
