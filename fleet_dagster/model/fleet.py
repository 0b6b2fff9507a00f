"""A fleet as of every window: its structure, the versions of its hot settings, and its registered sites."""

import bisect
import datetime as dt
import itertools
import zoneinfo
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from fleet_dagster.model.config import (
    FleetConfig,
    HotSettings,
    RegionMapping,
    content_digest,
)
from fleet_dagster.model.storms import StormEpisode, overlapping

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


@dataclass(frozen=True)
class ConfigVersion:
    """Hot settings in force from an instant on."""

    valid_from: int
    settings: HotSettings
    version: str = field(default="")

    def __post_init__(self) -> None:
        """Name the version by its content where it was given no name."""
        if not self.version:
            object.__setattr__(self, "version", self.settings.digest)

    @cached_property
    def rows_digest(self) -> str:
        """Digest of the settings that rows depend on, which takes long to make where there are many mappings."""
        return self.settings.rows_digest


@dataclass(frozen=True, slots=True)
class SettingsRun:
    """A run of windows under one version of the hot settings [us]."""

    start: int
    end: int
    version: ConfigVersion


@dataclass(frozen=True, slots=True)
class ModeRun:
    """A run of windows of one registered fleet size, all in one storm episode or all in none [us]."""

    start: int
    end: int
    n_sites: int
    episode: StormEpisode | None


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


def mappings_as_of(mappings: Sequence[RegionMapping], instant: int) -> dict[str, RegionMapping]:
    """Return each site's mapping in force at an instant [us]."""
    current: dict[str, RegionMapping] = {}
    for mapping in sorted(mappings, key=valid_from):
        if valid_from(mapping) <= instant:
            current[mapping.site_id] = mapping
    return current


@dataclass(frozen=True)
class Fleet:
    """Everything but telemetry that a fleet's rows depend on."""

    config: FleetConfig
    versions: tuple[ConfigVersion, ...]
    sites: tuple[Site, ...]
    storms: tuple[StormEpisode, ...] = ()

    def __post_init__(self) -> None:
        """Refuse an empty history, versions out of order and storms that overlap."""
        starts = [v.valid_from for v in self.versions]
        if not starts or starts != sorted(starts):
            msg = f"fleet {self.name!r} needs at least one configuration version, in order of valid_from; found {starts}"
            raise ValueError(msg)
        shared = overlapping(self.storms)
        if shared:
            msg = (
                f"fleet {self.name!r} has storm episodes that overlap: {shared[0]} and {shared[1]}"
            )
            raise ValueError(msg)

    @classmethod
    def of(
        cls,
        config: FleetConfig,
        seen: Mapping[str, int] | None = None,
        storms: Sequence[StormEpisode] = (),
    ) -> "Fleet":
        """Return the fleet that a configuration alone describes: one version, its mapped sites first.

        Parameters
        ----------
        config : FleetConfig
            The configuration, in force since ever.
        seen : mapping of str to int, optional
            First usable snapshot of sites that telemetry names, in order of registration. [us]
        storms : sequence of StormEpisode, optional
            Recorded storm episodes, none of which overlap.

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
        recorded = tuple(sorted(storms, key=lambda storm: storm.start))
        return cls(config, (ConfigVersion(BEGINNING, config.hot),), sites, recorded)

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

    def settings_at(self, instant: int) -> HotSettings:
        """Return the settings in force in the window that holds an instant [us]."""
        return self._version_at(instant).settings

    def _version_at(self, instant: int) -> ConfigVersion:
        window = instant - instant % self.interval
        (run,) = self.settings_runs(window, window + self.interval)
        return run.version

    def sites_at(self, instant: int) -> list[int]:
        """Return the positions of the sites that the fleet has in the window that starts at an instant [us]."""
        return [i for i, site in enumerate(self.sites) if site.active_from <= instant]

    def with_settings_of(self, instant: int) -> "Fleet":
        """Return the fleet as if the settings and mappings in force at an instant had always been [us]."""
        settings = self.settings_at(instant)
        current = mappings_as_of(settings.region_mappings, instant)
        timeless = tuple(m.model_copy(update={"valid_from": None}) for m in current.values())
        frozen = settings.model_copy(update={"region_mappings": timeless})
        return Fleet(self.config, (ConfigVersion(BEGINNING, frozen),), self.sites, self.storms)

    def mode_runs(self, start: int, end: int) -> Iterator[ModeRun]:
        """Yield the runs of windows in [start, end) over which the ingestion mode cannot change [us]."""
        cuts = {s.active_from for s in self.sites}
        cuts |= {cut for storm in self.storms for cut in (storm.start, storm.end)}
        edges = [start, *sorted(cut for cut in cuts if start < cut < end), end]
        for at, stop in itertools.pairwise(edges):
            if at < stop:
                n_sites = bisect.bisect_right(self._registrations, at)
                yield ModeRun(at, stop, n_sites, self.storm_at(at))

    @cached_property
    def _registrations(self) -> list[int]:
        return sorted(site.active_from for site in self.sites)

    def storm_at(self, instant: int) -> StormEpisode | None:
        """Return the episode in force in the window that starts at an instant, if any [us]."""
        return next((s for s in self.storms if s.start <= instant < s.end), None)

    def pieces(self, start: int, end: int) -> Iterator[tuple[int, int, str]]:
        """Yield a span cut at UTC days, settings changes and storms, each piece with its inputs digest.

        Parameters
        ----------
        start, end : int
            The span. [us]

        Yields
        ------
        (int, int, str)
            Start and end of the piece [us], and the digest of all that rows take from here: structure, settings, sites
            registered that day, and in a storm who was there when it began. It depends on the day, the settings and the
            storm alone, never on the span asked for.
        """
        for run in self.settings_runs(start, end):
            at = run.start
            while at < run.end:
                day, storm = at - at % DAY, self.storm_at(at)
                begin = [s.start for s in self.storms if at < s.start]
                stop = min(day + DAY, run.end, *begin[:1], *([storm.end] if storm else []))
                yield at, stop, self._digest(run.version, day, storm)
                at = stop

    def _digest(self, version: ConfigVersion, day: int, storm: StormEpisode | None) -> str:
        key = (version.rows_digest, day, storm)
        if key not in self._known_digests:
            sites = [
                (s.site_id, max(s.active_from, day))
                for s in self.sites
                if s.active_from < day + DAY
            ]
            inputs = [self._structure_digest, version.rows_digest, sites]
            found = content_digest([*inputs, self._panel_inputs(storm)] if storm else inputs)
            self._known_digests[key] = found
        return self._known_digests[key]

    @cached_property
    def _known_digests(self) -> dict[tuple[str, int, StormEpisode | None], str]:
        return {}

    @cached_property
    def _structure_digest(self) -> str:
        return self.config.structure_digest

    def _panel_inputs(self, storm: StormEpisode) -> list[object]:
        """Return what the panel of a storm is drawn from: the sites and their regions when it began."""
        sites = [self.sites[i].site_id for i in self.sites_at(storm.start)]
        return [storm.episode_id, storm.start, self._version_at(storm.start).rows_digest, sites]
