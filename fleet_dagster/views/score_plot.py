"""Scores of the worst sites as a small picture: SVG text, so that nothing has to be installed to draw it."""

import base64
from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray

from fleet_dagster.core.windows import DAY, HOUR, MINUTE, Span, ceil_to
from fleet_dagster.views.score_figures import ScoreGrid

SITES = 6
POINTS = 300
"""Points of a line: each is the highest score of its windows, so that thinning hides no peak."""
WIDTH, HEIGHT = 860, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 170, 40, 40
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Told apart by colour-blind people too (Okabe, M., Ito, K. (2008): Color universal design)."""
_MOST_TICKS = 7
_STEPS = (
    *(n * MINUTE for n in (1, 2, 5, 10, 20, 30)),
    *(n * HOUR for n in (1, 2, 3, 4, 6, 12)),
    *(n * DAY for n in (1, 2, 5, 7, 14, 30)),
)
"""Distances of ticks; the first that leaves room for the labels is taken."""
_NAME_LENGTH = 20
_FONT = 'font-family="sans-serif" font-size="12"'


def plot_in_markdown(grid: ScoreGrid, span: Span, threshold: float) -> str:
    """Return a picture of the worst sites' scores as Markdown, with its own background: it reads alike on light and dark pages."""
    worst = grid.worst(SITES)
    if not worst:
        return "Nothing was scored: there is no baseline yet, or no site sent KPIs."
    picture = base64.b64encode(score_plot(grid, worst, span, threshold).encode()).decode()
    return f"![Anomaly scores of the worst sites](data:image/svg+xml;base64,{picture})"


def score_plot(grid: ScoreGrid, sites: Sequence[int], span: Span, threshold: float) -> str:
    """Draw the scores of some sites over a span, and the threshold above which they are anomalous."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="6" fill="#ffffff" stroke="#c8ccd0"/>',
        _text(
            _LEFT,
            24,
            f"Anomaly score of the worst sites, {_stamp(span.start)} to {_stamp(span.end)} UTC",
        ),
        *_axes(span),
        _dashed(_LEFT, WIDTH - _RIGHT, _y(threshold)),
    ]
    for colour, i in reversed(list(zip(_COLOURS, sites, strict=False))):  # the worst on top
        x, y = _thinned(grid.starts, grid.score[i], span)
        parts.append(
            f'<path d="{_path(x, y)}" fill="none" stroke="{colour}" stroke-width="1.6" stroke-linejoin="round" stroke-linecap="round"/>'
        )
    parts += _legend(grid, sites, threshold)
    return "".join([*parts, "</svg>"])


def _axes(span: Span) -> Iterator[str]:
    right = WIDTH - _RIGHT
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = _y(share)
        yield f'<line x1="{_LEFT}" y1="{y:.0f}" x2="{right}" y2="{y:.0f}" stroke="#e3e6e8"/>'
        yield _text(_LEFT - 6, y + 4, f"{share:g}", anchor="end")
    for at, label in _ticks(span):
        x = _LEFT + (right - _LEFT) * (at - span.start) / (span.end - span.start)
        yield f'<line x1="{x:.0f}" y1="{_y(0):.0f}" x2="{x:.0f}" y2="{_y(0) + 4:.0f}" stroke="#80868b"/>'
        yield _text(x, _y(0) + 18, label, anchor="middle")


def _ticks(span: Span) -> Iterator[tuple[int, str]]:
    """Yield round instants of a span with what is written below them: no two the same."""
    length = span.end - span.start
    step = next((s for s in _STEPS if length <= s * _MOST_TICKS), length // _MOST_TICKS)
    form = "%m-%d" if step >= DAY else "%H:%M" if length <= DAY else "%m-%d %H:%M"
    for at in range(ceil_to(span.start, min(step, DAY)), span.end, step):
        yield at, _stamp(at, form)


def _dashed(x1: float, x2: float, y: float) -> str:
    return f'<line x1="{x1:.0f}" y1="{y:.1f}" x2="{x2:.0f}" y2="{y:.1f}" stroke="#3c4043" stroke-dasharray="5 4"/>'


def _legend(grid: ScoreGrid, sites: Sequence[int], threshold: float) -> Iterator[str]:
    x, at = WIDTH - _RIGHT + 8, _TOP + 10
    yield _dashed(x, x + 12, at - 4)
    yield _text(x + 18, at, f"anomalous above {threshold:g}")
    for row, (colour, i) in enumerate(zip(_COLOURS, sites, strict=False)):
        name = grid.sites[i]
        name = name if len(name) <= _NAME_LENGTH else f"{name[: _NAME_LENGTH - 1]}…"
        y = at + 22 + 18 * row
        yield f'<rect x="{x}" y="{y - 9}" width="12" height="10" fill="{colour}"/>'
        yield _text(x + 18, y, name)


def _thinned(
    starts: NDArray[np.int64], score: NDArray[np.float32], span: Span
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the points of a line, NaN where nothing was scored."""
    width, n_bins = span.end - span.start, min(POINTS, max(1, starts.size))
    place = np.minimum((starts - span.start) * n_bins // width, n_bins - 1)
    highest = np.full(n_bins, -1.0)
    known = ~np.isnan(score)
    np.maximum.at(highest, place[known], score[known])
    y = np.where(highest < 0, np.nan, highest)
    return (np.arange(n_bins) + 0.5) / n_bins, y


def _path(x: NDArray[np.float64], y: NDArray[np.float64]) -> str:
    width, steps, pen = WIDTH - _LEFT - _RIGHT, [], "M"
    for share, score in zip(x.tolist(), y.tolist(), strict=True):
        if np.isnan(score):
            pen = "M"
            continue
        steps.append(f"{pen}{_LEFT + share * width:.1f} {_y(score):.1f}")
        if pen == "M":
            steps.append("h0")  # a lone point is drawn as a dot
        pen = "L"
    return "".join(steps)


def _y(score: float) -> float:
    return _TOP + (1.0 - score) * (HEIGHT - _TOP - _BOTTOM)


def _text(x: float, y: float, text: str, *, anchor: str = "start") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" {_FONT} fill="#202124" text-anchor="{anchor}">{escape(text)}</text>'


def _stamp(instant: int, form: str = "%Y-%m-%d %H:%M") -> str:
    return np.datetime64(instant, "us").item().strftime(form)
