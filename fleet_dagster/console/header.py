"""The console's head: the fleet as a whole, and whether what is shown speaks for it as it is now."""

import datetime as dt
from collections.abc import Iterator

from rich.text import Text

from fleet_dagster.console.columns import cut
from fleet_dagster.console.picture import HISTORY, Condition, Picture
from fleet_dagster.console.spark import sparkline
from fleet_dagster.console.watch import Trouble, View
from fleet_dagster.console.words import BAD, BANNER, POOR, age, band, banded, clock
from fleet_dagster.core.windows import HOUR
from fleet_dagster.storage.status import FleetStatus

_MODES = {
    "full": "full: every site, every window",
    "downsample_healthy": "downsample_healthy: healthy sites every 5th window",
    "deviation_only": "deviation_only: sites that deviate, others every 10th window",
    "storm": "storm",
}
_TWO_SIDED_95 = 1.96
_LOW_COVERAGE = 0.5
_LABEL = 11


def header(
    view: View, fleet: str, width: int, now: dt.datetime, *, is_live: bool = True
) -> list[Text]:
    """Return the lines about the whole fleet, the most important first; only a live picture can be ended."""
    lines = [_title(fleet, width, now, is_live=is_live), *_banners(view, now)]
    if view.picture is not None and view.picture.status is not None:
        lines += _standing(view.picture, view.picture.status, width, now)
    return [_barred(line, width) if line.style else cut(line, width) for line in lines]


def _title(fleet: str, width: int, now: dt.datetime, *, is_live: bool) -> Text:
    keys = "  q quits" if is_live else ""
    left, right = f" {fleet}  fleet console", f"{now:%Y-%m-%d %H:%M:%S} UTC{keys} "
    return Text(left + right.rjust(max(0, width - len(left))), style="reverse")


def _barred(line: Text, width: int) -> Text:
    """Return a line as a bar over the whole width."""
    bar = cut(line, width)
    bar.pad_right(width - bar.cell_len)
    return bar


def _banners(view: View, now: dt.datetime) -> Iterator[Text]:
    if view.trouble is not None:
        yield _banner(_troubled(view.trouble, view.picture, now))
    picture = view.picture
    if picture is None:
        if view.trouble is None:
            yield Text("Reading the fleet ...")
        return
    if (words := _warning(picture, picture.condition(now), now)) is not None:
        yield _banner(words)
    if picture.status is None:
        yield Text(_first_step(picture))


def _troubled(trouble: Trouble, picture: Picture | None, now: dt.datetime) -> str:
    shown = "" if picture is None else f" What is shown was read {_ago(picture.gathered_at, now)}."
    return f"STORAGE FAILS for {age(now - trouble.since)}, trying again.{shown} {trouble.problem}"


def _warning(picture: Picture, condition: Condition, now: dt.datetime) -> str | None:
    """Say why the picture does not speak for the fleet as it is now."""
    if condition == "empty" or picture.status is None:
        return "NOTHING COMPUTED: no window of this fleet has been computed yet"
    if condition == "old":
        end = picture.status.window_end
        return f"OLD: the newest window ended {_ago(end, now)}. {_newest_telemetry(picture, now)}"
    if condition == "silent":
        return f"NO TELEMETRY: no site reports in this window. {_newest_telemetry(picture, now)}"
    return None


def _newest_telemetry(picture: Picture, now: dt.datetime) -> str:
    if picture.newest_telemetry is None:
        return "No telemetry has landed"
    return f"Last snapshot: {_ago(picture.newest_telemetry, now)}"


def _first_step(picture: Picture) -> str:
    if picture.newest_telemetry is None:
        return f"Land telemetry: fleet import, or fleet simulate {picture.fleet} --land ..."
    return f"Telemetry has landed. Compute it: fleet run {picture.fleet} --all"


def _standing(picture: Picture, one: FleetStatus, width: int, now: dt.datetime) -> Iterator[Text]:
    condition = picture.condition(now)
    yield _health(one, condition)
    yield _labelled("window", _window(one, now, is_old=condition == "old"))
    yield _labelled("sites", _sites(one))
    yield _labelled("ingestion", _ingestion(one))
    yield _labelled(f"last {HISTORY // HOUR} h", _course(picture, width - _LABEL))


def _labelled(label: str, text: str | Text) -> Text:
    return Text(f"{label:<{_LABEL}}", style="").append_text(
        text if isinstance(text, Text) else Text(text)
    )


def _health(one: FleetStatus, condition: Condition) -> Text:
    if one.coverage == 0:
        return _labelled("HEALTH", Text("unknown: no site reports", style=BAD))
    name = band(one.health)
    words = f"{one.health:.4f} {name}"
    parts = "  ".join(f"{part} {share:.3f}" for part, share in one.parts.items())
    margin = (
        ""
        if one.health_stderr in (None, 0.0)
        else f" ± {_TWO_SIDED_95 * (one.health_stderr or 0.0):.4f}"
    )
    if condition == "old":
        return _labelled("health was", Text(f"{words}{margin}  = {parts}", style="dim"))
    shown = banded(words, name)
    shown.stylize("bold")
    return _labelled("HEALTH", shown).append(f"{margin}  = {parts}")


def _window(one: FleetStatus, now: dt.datetime, *, is_old: bool) -> Text:
    span = f"{clock(one.window_start, now)} to {one.window_end:%H:%M} UTC, ended "
    ago = Text(_ago(one.window_end, now), style=BAD if is_old else "")
    text = Text(span).append_text(ago).append(f", {one.state}")
    if one.revision:
        text.append(f", revision {one.revision}")
    n = one.anomalies
    if n is None:
        return text.append("; not scored")
    return text.append("; ").append(f"{n} anomalous", style=POOR if n else "")


def _sites(one: FleetStatus) -> Text:
    styles = {"degraded": POOR, "faulted": BAD, "offline": BAD}
    is_low = one.coverage < _LOW_COVERAGE
    share = f"{'only ' if is_low else ''}{one.coverage:.1%}"
    text = Text("coverage ").append(share, style=BAD if is_low else "")
    for name, n in one.sites.items():
        if n:
            text.append("  ").append(f"{n} {name}", style=styles.get(name, ""))
    unmapped = f" ({one.unmapped} unmapped)" if one.unmapped else ""
    return text.append(f"  of {one.total_sites}{unmapped}")


def _ingestion(one: FleetStatus) -> Text:
    if one.storm is None:
        return Text(_MODES[one.ingestion_mode])
    words = f"STORM {one.storm}: KPIs of {one.sampled_fraction:.0%} of the sites are read"
    return Text(words, style=POOR)


def _course(picture: Picture, width: int) -> Text:
    known = [p.health for p in picture.history if p.health is not None]
    if not known:
        return Text("no health in any window", style="dim")
    ends = f"  {min(known):.3f} to {max(known):.3f}"
    span = dt.timedelta(microseconds=HISTORY)
    return Text().append(sparkline(picture.history, span, width - len(ends)), "dim").append(ends)


def _banner(words: str) -> Text:
    return Text(f" {words}", style=BANNER)


def _ago(stamp: dt.datetime, now: dt.datetime) -> str:
    return f"{age(now - stamp)} ago"
