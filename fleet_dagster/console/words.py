"""How the console says things: ages, instants, scores. Colour only repeats what the words say."""

import datetime as dt

from rich.text import Text

from fleet_dagster.core.health import BANDS

GOOD, POOR, BAD = "green", "bold dark_orange3", "bold red"
"""Dark enough for light terminals, and light enough for dark ones."""
BAND_STYLES = {"healthy": GOOD, "degraded": POOR, "critical": BAD}
SEVERITY_STYLES = {"info": "", "warning": POOR, "critical": BAD}
BANNER = "bold white on red"
_PLAIN = str.maketrans("▁▂▃▄▅▆▇█·…", "12345678.~")


def age(passed: dt.timedelta) -> str:
    """Say how long ago something was, in two units at most."""
    seconds = max(0, int(passed.total_seconds()))
    days, hours, minutes = seconds // 86_400, seconds // 3600 % 24, seconds // 60 % 60
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds % 60} s" if minutes else f"{seconds} s"


def clock(stamp: dt.datetime, now: dt.datetime) -> str:
    """Show an instant in UTC; its day only where that is not today, its year where it is not this year."""
    if stamp.date() == now.date():
        return f"{stamp:%H:%M}"
    return f"{stamp:%m-%d %H:%M}" if stamp.year == now.year else f"{stamp:%Y-%m-%d %H:%M}"


def band(health: float) -> str:
    """Return the band that a health lies in."""
    return next(name for low, name in BANDS if round(health, 9) >= low)


def banded(text: str, name: str) -> Text:
    """Return a text in its band's colour."""
    return Text(text, style=BAND_STYLES[name])


def signed(z: float | None) -> str:
    """Show a modified Z-score; a dash where there is none."""
    return "-" if z is None else f"{z:+.1f}"


def in_ascii(line: Text) -> Text:
    """Return a line for terminals that can show nothing else; what has no stand-in becomes a question mark."""
    plain = line.copy()
    plain.plain = line.plain.translate(_PLAIN).encode("ascii", "replace").decode("ascii")
    return plain
