from fleet_dagster.core.windows import HOUR, MINUTE, Span
from fleet_dagster.frames.assignment import AssignedRun, assigned_runs
from fleet_dagster.model.fleet import Fleet
from fleet_dagster.nodes.region_mapper import region_mapper
from fleet_dagster_tests import fleets
from fleet_dagster_tests.fleets import NOON


def runs_of(fleet: Fleet, span: Span) -> list[AssignedRun]:
    return list(assigned_runs(fleet, region_mapper(fleet, span), span))


def test_hours_that_change_nothing_are_one_run() -> None:
    span = Span(NOON + 5 * MINUTE, NOON + 3 * HOUR)
    (run,) = runs_of(fleets.fleet(4, 2), span)
    assert run.span == span
    assert [run.regions[r] for r in run.region] == ["R-0", "R-1", "R-0", "R-1"]
    assert run.weight.tolist() == [1.0, 2.0, 3.0, 1.0]
    assert run.is_mapped.all()


def test_a_site_that_joins_begins_a_run() -> None:
    fleet = Fleet.of(fleets.config(1, 1), {"X": NOON + 20 * MINUTE})
    before, after = runs_of(fleet, Span(NOON, NOON + HOUR))
    assert before.span.end == after.span.start == NOON + 20 * MINUTE
    assert before.is_active.tolist() == [True, False]
    assert after.is_active.tolist() == [True, True]
    assert after.is_mapped.tolist() == [True, False]


def test_windows_before_the_first_site_are_a_run_without_sites() -> None:
    fleet = Fleet.of(fleets.config(0), {"X": NOON + 20 * MINUTE})
    nobody, one = runs_of(fleet, Span(NOON - HOUR, NOON + HOUR))
    assert nobody.span == Span(NOON - HOUR, NOON + 20 * MINUTE)
    assert not nobody.is_active.any()
    assert one.is_active.all()


def test_a_fleet_without_sites_is_one_run() -> None:
    span = Span(NOON, NOON + HOUR)
    (run,) = runs_of(Fleet.of(fleets.config(0)), span)
    assert run.span == span
    assert run.region.size == 0
