"""A fleet as of every window: its structure, the versions of its hot settings, and its registered sites."""

import bisect
import datetime as dt
import zoneinfo
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from fleet_dagster.model.config import (
    FleetConfig,
    HotSettings,
    RegionMapping,
    content_digest,
)

DAY = 86_400_000_000
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
BEGINNING = 0
"""The beginning of time, for settings and sites valid since ever [us]."""


@dataclass(frozen=True, slots=True)
class Site:
    """A registered site; its place on the site axis is the order of registration."""

    site_id: str
    site_no: int
    active_from: int = BEGINNING
    """Start of the first window in which the fleet has this site [us]."""


@dataclass(frozen=True, slots=True)
class ConfigVersion:
    """Hot settings in force from an instant on."""

    valid_from: int
    settings: HotSettings
    version: str = field(default="")

    def __post_init__(self) -> None:
        """Name the version by its content where it was given no name."""
        if not self.version:
            object.__setattr__(self, "version", self.settings.digest)


@dataclass(frozen=True, slots=True)
class SettingsRun:
    """A run of windows under one version of the hot settings [us]."""

    start: int
    end: int
    version: ConfigVersion


def valid_from(mapping: RegionMapping) -> int:
    """Return the start of a mapping's validity [us]."""
    if mapping.valid_from is None:
        return BEGINNING
    return (mapping.valid_from - EPOCH) // dt.timedelta(microseconds=1)


def first_mapped(config: FleetConfig) -> dict[str, int]:
    """Return the start of the first window for which a configuration maps each site, in its order of naming [us]."""
    interval, first = config.interval_s * 1_000_000, dict[str, int]()
    for mapping in config.region_mappings:
        start = -(-valid_from(mapping) // interval) * interval
        first[mapping.site_id] = min(start, first.get(mapping.site_id, start))
    return first


@dataclass(frozen=True)
class Fleet:
    """Everything but telemetry that a fleet's rows depend on."""

    config: FleetConfig
    versions: tuple[ConfigVersion, ...]
    sites: tuple[Site, ...]

    def __post_init__(self) -> None:
        """Refuse an empty history and versions out of order."""
        starts = [v.valid_from for v in self.versions]
        if not starts or starts != sorted(starts):
            msg = f"fleet {self.name!r} needs at least one configuration version, in order of valid_from; found {starts}"
            raise ValueError(msg)

    @classmethod
    def of(cls, config: FleetConfig, seen: Mapping[str, int] | None = None) -> "Fleet":
        """Return the fleet that a configuration alone describes: one version, its mapped sites first.

        Parameters
        ----------
        config : FleetConfig
            The configuration, in force since ever.
        seen : mapping of str to int, optional
            First usable snapshot of sites that telemetry names, in order of registration. [us]

        Returns
        -------
        Fleet
            The fleet.
        """
        interval, first = config.interval_s * 1_000_000, first_mapped(config)
        for name, instant in (seen or {}).items():
            window = instant - instant % interval
            first[name] = min(window, first.get(name, window))
        sites = tuple(Site(name, i, start) for i, (name, start) in enumerate(first.items()))
        return cls(config, (ConfigVersion(BEGINNING, config.hot),), sites)

    @property
    def name(self) -> str:
        """Name of the fleet."""
        return self.config.name

    @property
    def interval(self) -> int:
        """Length of a window [us]."""
        return self.config.interval_s * 1_000_000

    @property
    def start(self) -> int:
        """First instant of the fleet's start_date, in its own time zone [us]."""
        midnight = dt.datetime.combine(
            self.config.start_date, dt.time(), tzinfo=zoneinfo.ZoneInfo(self.config.timezone)
        )
        return int(midnight.timestamp()) * 1_000_000

    @cached_property
    def site_numbers(self) -> dict[str, int]:
        """Position of each site on the site axis."""
        return {site.site_id: i for i, site in enumerate(self.sites)}

    def settings_runs(self, start: int, end: int) -> Iterator[SettingsRun]:
        """Yield the runs of windows in [start, end) under one version each; a change takes effect with the next window [us]."""
        starts = [-(-v.valid_from // self.interval) * self.interval for v in self.versions]
        first = max(0, bisect.bisect_right(starts, start) - 1)
        for i in range(first, len(self.versions)):
            run_start = start if i == first else max(start, starts[i])
            run_end = min(end, starts[i + 1]) if i + 1 < len(self.versions) else end
            if run_start < run_end:
                yield SettingsRun(run_start, run_end, self.versions[i])

    def pieces(self, start: int, end: int) -> Iterator[tuple[int, int, str]]:
        """Yield a span cut at UTC days and settings changes, each piece with its inputs digest.

        Parameters
        ----------
        start, end : int
            The span. [us]

        Yields
        ------
        (int, int, str)
            Start and end of the piece [us], and the digest of all that rows take from here: structure, settings, sites
            registered that day. It depends on the day and the settings alone, never on the span asked for.
        """
        for run in self.settings_runs(start, end):
            at = run.start
            while at < run.end:
                day = at - at % DAY
                stop = min(day + DAY, run.end)
                yield at, stop, self._digest(run.version, day)
                at = stop

    def _digest(self, version: ConfigVersion, day: int) -> str:
        sites = [
            (s.site_id, max(s.active_from, day)) for s in self.sites if s.active_from < day + DAY
        ]
        return content_digest([self.config.structure_digest, version.settings.digest, sites])
