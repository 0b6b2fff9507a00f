"""A view drawn as lines: everything there is room for, and a count of what there is not."""

import datetime as dt
from collections.abc import Sequence
from itertools import zip_longest

from rich.text import Text

from fleet_dagster.console.columns import cut
from fleet_dagster.console.header import header
from fleet_dagster.console.sections import HEAD_LINES, Section, sections
from fleet_dagster.console.watch import View

SIDE_BY_SIDE = 120
"""Width from which on regions stand beside the worst sites."""
GUTTER = 4


def screen_lines(
    view: View, fleet: str, *, width: int, height: int | None, now: dt.datetime
) -> list[Text]:
    """Draw a view in `height` lines at most, none wider than `width`; without a height, in as many as it takes."""
    lines = header(view, fleet, width, now, is_live=height is not None)
    picture = view.picture
    if picture is not None and picture.status is not None:
        left = None if height is None else height - len(lines)
        tables = _tables(sections(picture, picture.status, now), width, left)
        is_old = picture.condition(now) == "old"
        lines += [Text(line.plain, style="dim") for line in tables] if is_old else tables
    return lines if height is None else lines[:height]


def _tables(found: Sequence[Section], width: int, height: int | None) -> list[Text]:
    """Draw sections below each other, or the last two side by side; those that there is no room for are counted."""
    rows = [found[:1], found[1:]] if width >= SIDE_BY_SIDE else [[one] for one in found]
    lines: list[Text] = []
    for n_kept in range(len(rows), -1, -1):
        left_out = [one for row in rows[n_kept:] for one in row]
        room = _shared(rows[:n_kept], None if height is None else height - 2 * bool(left_out))
        if room is None:
            continue
        for row, n_rows in zip(rows[:n_kept], room, strict=True):
            lines += [Text(), *_beside(row, width, n_rows)]
        if left_out:
            lines += [Text(), cut(Text(_left_out(left_out), style="dim"), width)]
        break
    return lines


def _shared(rows: Sequence[Sequence[Section]], height: int | None) -> list[int] | None:
    """Return how many lines of rows each section gets, those side by side the same; None where not each can have one.

    Room goes to the sections in turn, so that a long one leaves some to the others.
    """
    wanted = [max(len(one.rows) for one in row) for row in rows]
    if height is None:
        return wanted
    room = height - sum(1 + (HEAD_LINES if n else 1) for n in wanted)
    if room < sum(n > 0 for n in wanted):
        return None
    given = [0] * len(wanted)
    while room > 0 and given != wanted:
        for k, most in enumerate(wanted):
            if given[k] < most and room > 0:
                given[k] += 1
                room -= 1
    return given


def _beside(row: Sequence[Section], width: int, n_rows: int) -> list[Text]:
    if len(row) == 1:
        return row[0].lines(width, n_rows)
    half = (width - GUTTER) // 2
    left, right = (one.lines(half, n_rows) for one in row)
    return [_joined(a, b, half) for a, b in zip_longest(left, right, fillvalue=Text())]


def _joined(left: Text, right: Text, half: int) -> Text:
    line = left.copy()
    line.pad_right(half + GUTTER - left.cell_len)
    line.append_text(right)
    line.rstrip()
    return line


def _left_out(found: Sequence[Section]) -> str:
    counts = ", ".join(f"{one.name.lower()} {one.n_rows}" for one in found)
    return f"No room for {counts}"
