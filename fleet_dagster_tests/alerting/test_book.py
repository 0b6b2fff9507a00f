"""The book of alerts: when they open and resolve, and who hears of it, without any storage."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_dagster.core.windows import HOUR, MINUTE
from fleet_dagster.model.alerts import RuleName
from fleet_dagster.storage.silences import Silence
from fleet_dagster_tests.alerting.desk import Desk, sign

REGION = 5.0
"""Minutes for which a region must be critical."""


def seen(desk: Desk, wrong: dict[int, bool], until: int, *, hold: float = REGION) -> None:
    """Look every minute; from the minutes named on a region is critical, or no longer is."""
    for now in range(until):
        signs = (
            [sign(now, "region", "north", is_wrong=wrong[now], hold=hold)] if now in wrong else []
        )
        desk.look(now, signs)


def test_an_alert_opens_when_it_has_been_so_for_long_enough() -> None:
    desk = Desk()
    seen(desk, {0: True}, 20)
    assert desk.heard() == [(5, "opened")]
    assert desk.sent[0][2].opened_at == 5 * MINUTE


def test_what_does_not_last_opens_nothing() -> None:
    desk = Desk()
    seen(desk, {0: True, 4: False}, 60)
    assert desk.heard() == []


def test_an_alert_resolves_when_it_has_been_over_for_long_enough() -> None:
    desk = Desk()
    seen(desk, {0: True, 10: False, 20: True, 30: False}, 60)
    assert desk.heard() == [(5, "opened"), (45, "resolved")]
    assert desk.sent[1][2].resolved_at == 45 * MINUTE


def test_each_return_within_an_hour_doubles_how_long_it_must_be_over_up_to_four_hours() -> None:
    desk, now, patience = Desk(), 0, []
    for _ in range(7):
        desk.look(now, [sign(now, "region", "north")])
        (alert,) = [a for a in desk.alerts.values() if a.is_active]
        patience.append(alert.patience_us // MINUTE)
        desk.look(now + 1, [sign(now + 1, "region", "north", is_wrong=False)])
        now += 1 + patience[-1]
        desk.look(now)
    assert patience == [15, 30, 60, 120, 240, 240, 240]
    desk.look(now + 61, [sign(now + 61, "region", "north")])
    assert desk.sent[-1][2].patience_us == 15 * MINUTE


@pytest.mark.parametrize(
    ("half_period", "n_messages"),
    [(1, 1), (3, 1), (6, 1), (14, 1), (16, 3), (25, 3), (40, 5)],
)
def test_a_region_that_flaps_for_a_day_pages_a_handful_of_times(
    half_period: int, n_messages: int
) -> None:
    """Critical and healthy in turns, looked at every minute: openings and resolutions, all told."""
    desk = Desk()
    wrong = {now: now // half_period % 2 == 0 for now in range(1440)}
    seen(desk, wrong, 1440)
    assert len(desk.heard()) == n_messages


def test_a_late_sign_counts_from_what_is_known() -> None:
    desk = Desk()
    desk.look(10, [sign(10, "region", "north")])
    desk.look(11, [sign(3, "region", "north", is_wrong=False)])
    (alert,) = desk.alerts.values()
    assert (alert.is_present, alert.changed_at) == (False, 10 * MINUTE)


SUBJECTS: tuple[tuple[RuleName, str], ...] = (
    ("incident", "i"),
    ("region", "north"),
    ("region", "south"),
    ("outlier", "a"),
    ("outlier", "z"),
)
step = st.tuples(
    st.integers(1, 90),
    st.lists(st.tuples(st.sampled_from(SUBJECTS), st.booleans(), st.integers(0, 5)), max_size=6),
)


@given(
    st.lists(step, max_size=40),
    st.lists(st.tuples(st.integers(0, 1500), st.integers(1, 300)), max_size=3),
)
def test_every_opening_is_followed_by_one_end_and_nothing_is_sent_while_it_is_silenced(
    steps: list[tuple[int, list[tuple[tuple[RuleName, str], bool, int]]]],
    quiet: list[tuple[int, int]],
) -> None:
    silences = [
        Silence("plant", "region", "n*", start * MINUTE, (start + length) * MINUTE, "x", "y")
        for start, length in quiet
    ]
    desk, now = Desk(), 0
    for pause, news in steps:
        now += pause
        signs = [
            sign(now - age, rule, subject, is_wrong=is_wrong, hold=2)
            for (rule, subject), is_wrong, age in news
        ]
        desk.look(now, signs, silences)
        active = Counter(a.key for a in desk.alerts.values() if a.is_active)
        assert all(n == 1 for n in active.values())
    calm = [sign(now, rule, subject, is_wrong=False) for rule, subject in SUBJECTS]
    desk.look(now, calm, silences)
    for later in range(1, 40):
        desk.look(now + later * HOUR // MINUTE, [], silences)
    assert not [a for a in desk.alerts.values() if a.is_active or a.owed]
    for number in {alert.alert_id for _, _, alert in desk.sent}:
        kinds = [kind for _, kind, alert in desk.sent if alert.alert_id == number]
        assert kinds in (["opened", "resolved"], ["over"])
    for at, _, alert in desk.sent:
        assert not [s for s in silences if s.holds(alert.rule, alert.subject, round(at * MINUTE))]


@given(st.lists(st.booleans(), min_size=1, max_size=200), st.integers(1, 40))
def test_how_often_somebody_looks_does_not_change_when_alerts_open_and_resolve(
    wrong: list[bool], every: int
) -> None:
    signs = [sign(n, "region", "north", is_wrong=w, hold=REGION) for n, w in enumerate(wrong)]
    often, seldom = Desk(), Desk()
    for n, one in enumerate(signs):
        often.look(n, [one])
    for first in range(0, len(signs), every):
        part = signs[first : first + every]
        seldom.look(first + len(part) - 1, part)
    assert _story(often) == _story(seldom)


def _story(desk: Desk) -> list[tuple[int | None, int | None]]:
    opened = [a for a in desk.alerts.values() if a.opened_at is not None]
    return sorted((a.opened_at, a.resolved_at) for a in opened)
