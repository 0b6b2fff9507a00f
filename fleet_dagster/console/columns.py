"""Tables of whole lines: columns that do not fit are left out, the least important first, and nothing is wrapped."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rich.text import Text

GAP = 2


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its title, and what becomes of it where room is short."""

    title: str
    dispensable: int = 0
    """The highest is left out first; 0 never."""
    justify: Literal["left", "right"] = "left"
    least: int | None = None
    """Cells to which it shrinks before any column is left out; by default it does not."""


def fitted(columns: Sequence[Column], rows: Sequence[Sequence[Text]], width: int) -> list[Text]:
    """Return a line of titles and one for each row, none wider than `width`."""
    kept, widths = _kept(columns, rows, width)
    titles = [Text(c.title, style="dim") for c in columns]
    return [
        _line([(row[k], columns[k], widths[k]) for k in kept], width) for row in (titles, *rows)
    ]


def cut(text: Text, width: int) -> Text:
    """Return a line that is no wider than `width`; what is cut off is marked."""
    shorter = text.copy()
    shorter.truncate(max(0, width), overflow="ellipsis")
    return shorter


def _kept(
    columns: Sequence[Column], rows: Sequence[Sequence[Text]], width: int
) -> tuple[list[int], list[int]]:
    """Return the columns that fit, and how wide each column is."""
    wanted = [
        max([len(c.title), *(row[k].cell_len for row in rows)]) for k, c in enumerate(columns)
    ]
    widths = [
        wide if c.least is None else min(wide, max(c.least, len(c.title)))
        for c, wide in zip(columns, wanted, strict=True)
    ]
    kept = list(range(len(columns)))
    while _total(widths, kept) > width:
        worst = max(kept, key=lambda k: (columns[k].dispensable, k))
        if not columns[worst].dispensable:
            break
        kept.remove(worst)
    for k in kept:
        widths[k] += min(wanted[k] - widths[k], max(0, width - _total(widths, kept)))
    return kept, widths


def _total(widths: Sequence[int], kept: Sequence[int]) -> int:
    return sum(widths[k] for k in kept) + GAP * (len(kept) - 1)


def _line(cells: Sequence[tuple[Text, Column, int]], width: int) -> Text:
    line = Text()
    for n, (text, column, cell_width) in enumerate(cells):
        shown = cut(text, cell_width)
        padding = " " * (cell_width - shown.cell_len)
        line.append(" " * GAP if n else "")
        line.append_text(Text(padding) + shown if column.justify == "right" else shown + padding)
    line.rstrip()
    return cut(line, width)
