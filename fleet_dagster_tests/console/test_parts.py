import datetime as dt

import pytest
from rich.text import Text

from fleet_dagster.console.columns import Column, fitted
from fleet_dagster.console.picture import HealthPoint
from fleet_dagster.console.spark import sparkline
from fleet_dagster.console.words import age, clock

NOON = dt.datetime(2026, 1, 5, 12, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)


def points(*healths: float | None, step: dt.timedelta = HOUR) -> list[HealthPoint]:
    return [HealthPoint(NOON + n * step, health) for n, health in enumerate(healths)]


@pytest.mark.parametrize(
    ("passed", "words"),
    [
        (dt.timedelta(seconds=-3), "0 s"),
        (dt.timedelta(seconds=59.9), "59 s"),
        (dt.timedelta(seconds=61), "1 min 1 s"),
        (dt.timedelta(hours=2, minutes=5, seconds=7), "2 h 5 min"),
        (dt.timedelta(days=3, hours=4), "3 d 4 h"),
    ],
)
def test_an_age_is_said_in_two_units_at_most(passed: dt.timedelta, words: str) -> None:
    assert age(passed) == words


def test_the_day_is_said_where_it_is_not_today() -> None:
    assert clock(NOON, NOON + HOUR) == "12:00"
    assert clock(NOON, NOON + 12 * HOUR) == "01-05 12:00"
    assert clock(NOON, NOON + 9000 * HOUR) == "2026-01-05 12:00"


def test_a_sparkline_goes_from_the_lowest_to_the_highest_health() -> None:
    rising = points(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
    assert sparkline(rising, 8 * HOUR, 8) == "▁▂▃▄▅▆▇█"
    assert sparkline(rising, 8 * HOUR, 80) == "▁▂▃▄▅▆▇█"
    assert sparkline(rising, 8 * HOUR, 4) == "▁▃▆█"


def test_a_calm_fleet_draws_a_flat_line() -> None:
    assert sparkline(points(0.90, 0.91, 0.905, 0.91), 4 * HOUR, 4) == "████"
    assert sparkline(points(0.03, 0.02), 2 * HOUR, 2) == "▃▂"


def test_windows_without_health_are_dots_and_so_is_the_time_before_the_first() -> None:
    assert sparkline(points(0.9, None, 0.1), 5 * HOUR, 5) == "··█·▁"
    assert sparkline(points(None, None), 2 * HOUR, 2) == ""
    assert sparkline([], HOUR, 10) == ""


def table(width: int) -> list[str]:
    columns = (
        Column("a"),
        Column("number", 1, "right"),
        Column("b", 2),
        Column("long", least=6),
    )
    rows = [[Text("xx"), Text("7"), Text("bee"), Text("abcdefghij")]]
    return [line.plain for line in fitted(columns, rows, width)]


@pytest.mark.parametrize(
    ("width", "titles", "row"),
    [
        (80, "a   number  b    long", "xx       7  bee  abcdefghij"),
        (27, "a   number  b    long", "xx       7  bee  abcdefghij"),
        (23, "a   number  b    long", "xx       7  bee  abcde…"),
        (22, "a   number  long", "xx       7  abcdefghij"),
        (17, "a   long", "xx  abcdefghij"),
        (9, "a   long", "xx  abcd…"),
    ],
)
def test_columns_shrink_and_then_go_the_least_important_first(
    width: int, titles: str, row: str
) -> None:
    assert table(width) == [titles, row]
