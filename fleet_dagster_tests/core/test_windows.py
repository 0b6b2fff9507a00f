import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_dagster.core.windows import DAY, HOUR, SECOND, Span, ceil_to, floor_to, gaps, iso, union
from fleet_dagster.model.errors import SpanError

short = st.tuples(st.integers(-40, 40), st.integers(0, 15)).map(lambda p: Span(p[0], p[0] + p[1]))


def instants(*spans: Span) -> set[int]:
    return {i for span in spans for i in range(span.start, span.end)}


@given(st.lists(short, max_size=8))
def test_a_union_holds_the_same_instants_in_order_and_apart(spans: list[Span]) -> None:
    merged = union(spans)
    assert instants(*merged) == instants(*spans)
    assert all(a.end < b.start for a, b in itertools.pairwise(merged))
    assert not any(span.is_empty for span in merged)


@given(short, st.lists(short, max_size=8))
def test_gaps_are_what_no_span_holds(within: Span, covered: list[Span]) -> None:
    holes = gaps(within, covered)
    assert instants(*holes) == instants(within) - instants(*covered)
    assert all(a.end < b.start for a, b in itertools.pairwise(holes))
    assert not any(span.is_empty for span in holes)


@given(short, short)
def test_clipping_keeps_the_shared_instants(a: Span, b: Span) -> None:
    assert instants(a.clip(b)) == instants(a) & instants(b)


@given(short, short)
def test_spans_overlap_when_they_share_an_instant(a: Span, b: Span) -> None:
    if not a.is_empty and not b.is_empty:
        assert a.overlaps(b) == b.overlaps(a) == bool(instants(a) & instants(b))


@given(short, st.integers(1, 12))
def test_steps_cut_at_multiples_and_lose_nothing(span: Span, step: int) -> None:
    pieces = list(span.steps(step))
    assert instants(*pieces) == instants(span)
    assert all(p.start % step == 0 for p in pieces[1:])
    assert all(p.end - p.start <= step for p in pieces)


@given(short, st.integers(1, 12))
def test_whole_steps_contain_the_span_tightly(span: Span, step: int) -> None:
    whole = span.to_whole(step)
    assert whole.start % step == whole.end % step == 0
    assert whole.start <= span.start
    assert span.end <= whole.end
    assert span.start - whole.start < step
    assert whole.end - span.end < step


@given(short, st.integers(1, 12))
def test_window_starts_are_the_multiples_within_the_span(span: Span, interval: int) -> None:
    assert span.starts(interval).tolist() == sorted(i for i in instants(span) if i % interval == 0)


@given(st.integers(-(10**18), 10**18), st.integers(1, DAY))
def test_floor_and_ceiling_are_the_nearest_multiples(instant: int, step: int) -> None:
    low, high = floor_to(instant, step), ceil_to(instant, step)
    assert low <= instant <= high
    assert low % step == high % step == 0
    assert high - low in {0, step}


def test_widening_adds_time_on_either_side() -> None:
    assert Span(10, 20).widen(before=3, after=4) == Span(7, 24)


def test_days_are_cut_at_utc_midnight() -> None:
    days = list(Span(DAY - HOUR, 2 * DAY + HOUR).days())
    assert days == [Span(DAY - HOUR, DAY), Span(DAY, 2 * DAY), Span(2 * DAY, 2 * DAY + HOUR)]


def test_a_reversed_span_is_refused_with_what_to_do() -> None:
    with pytest.raises(SpanError, match="Swap the two"):
        Span(2, 1)


def test_an_empty_span_has_no_windows() -> None:
    assert Span(60, 60).is_empty
    assert Span(60, 60).starts(60).dtype == np.int64
    assert Span(60, 60).starts(60).size == 0


@pytest.mark.parametrize(
    ("instant", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (DAY + 1, "1970-01-02T00:00:00.000001Z"),
        (-SECOND, "1969-12-31T23:59:59Z"),
        (10**18, "33658-09-27T01:46:40Z"),
    ],
)
def test_an_instant_is_written_as_a_stamp(instant: int, text: str) -> None:
    assert iso(instant) == text
