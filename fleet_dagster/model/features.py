"""What a model is fed: named KPIs, values of the site, their past, their region and what lies upstream, as short texts.

power_kw                      the KPI in this window, normalised (0 = lo, 1 = hi)
power_kw@3                    three windows ago
mean(power_kw, 10)            over the last ten windows, this one included; also min, max, std, slope
region(power_kw)              mean over the region's sites; upstream(...) over the sites it depends on
site.status, time.hour_sin    what is not a KPI
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

Scope = Literal["site", "region", "upstream"]
Summary = Literal["", "mean", "min", "max", "std", "slope"]
SITE_SOURCES: dict[str, str] = {
    "site.status": "0 online, 1 degraded, 2 faulted, 3 offline",
    "site.uptime_pct": "uptime [%]",
    "site.fault_count": "active faults",
    "site.health": "health of the site, 0 to 1",
    "site.anomaly_score": "anomaly score over all KPIs, 0 to 1; absent while nothing is scored",
    "site.baseline_sigma": "standard deviations of its error above normal",
    "time.hour_sin": "sine of the UTC hour's angle",
    "time.hour_cos": "cosine of the UTC hour's angle",
}
"""Sources of features besides the fleet's KPIs."""
MAX_REACH = 120
"""Windows before the current one that a feature may read."""
_TERM = r"(?:(?P<scope{n}>region|upstream)\(\s*(?P<inner{n}>[A-Za-z_][\w.-]*)\s*\)|(?P<own{n}>[A-Za-z_][\w.-]*))"
_LAGGED = re.compile(_TERM.format(n=0) + r"(?:\s*@\s*(?P<lag>\d{1,4}))?")
_SUMMED = re.compile(
    r"(?P<summary>mean|min|max|std|slope)\(\s*"
    + _TERM.format(n=0)
    + r"\s*,\s*(?P<length>\d{1,4})\s*\)"
)


@dataclass(frozen=True, slots=True)
class Feature:
    """One column that a model is fed."""

    text: str
    source: str
    """A KPI's name, or one of `SITE_SOURCES`."""
    scope: Scope = "site"
    lag: int = 0
    """Windows back."""
    summary: Summary = ""
    length: int = 1
    """Windows summed up, the newest included."""

    @property
    def reach(self) -> int:
        """How many windows before the current one it reads."""
        return self.lag + self.length - 1


@lru_cache(maxsize=4096)
def parse_feature(text: str) -> Feature:
    """Read the text of one feature.

    Parameters
    ----------
    text : str
        Such as ``mean(power_kw, 10)``.

    Returns
    -------
    Feature
        What it says.

    Raises
    ------
    ValueError
        It is none, or reaches too far back.
    """
    whole = text.strip()
    found = _SUMMED.fullmatch(whole) or _LAGGED.fullmatch(whole)
    if found is None:
        msg = (
            f"feature {text!r} is none. Write a KPI's name, name@3 (windows ago), mean(name, 10) (or min, max, std, slope), "
            "region(name) or upstream(name)"
        )
        raise ValueError(msg)
    parts: dict[str, Any] = found.groupdict()  # Any: text or None
    lag, length = int(parts.get("lag") or 0), int(parts.get("length") or 1)
    shortest = 2 if parts.get("summary") in ("std", "slope") else 1
    feature = Feature(
        text=whole,
        source=parts["inner0"] or parts["own0"],
        scope=parts["scope0"] or "site",
        lag=lag,
        summary=parts.get("summary") or "",
        length=length,
    )
    if feature.reach > MAX_REACH or length < shortest:
        msg = f"feature {text!r} reads {lag or length} windows, allowed are {shortest} to {MAX_REACH}. Choose another number"
        raise ValueError(msg)
    return feature


def unknown_sources(features: Sequence[str], kpi_names: Sequence[str]) -> list[str]:
    """Return the sources of features that are neither KPIs nor values of a site."""
    known = {*kpi_names, *SITE_SOURCES}
    return [s for s in dict.fromkeys(parse_feature(f).source for f in features) if s not in known]


def reach_of(features: Sequence[str]) -> int:
    """Return how many windows before the current one a set of features reads."""
    return max((parse_feature(f).reach for f in features), default=0)
