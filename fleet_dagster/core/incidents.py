"""Incidents window by window: which alarms they take in, how they change, merge and end (SPEC section 9)."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fleet_dagster.core.alarms import ALARM_WINDOWS
from fleet_dagster.core.episodes import Anomalies, Episodes, episodes_of, peaks_of
from fleet_dagster.core.incident_profile import severity_of
from fleet_dagster.core.incident_record import (
    Change,
    Members,
    Name,
    Record,
    median_peak,
    members_of,
    record_of,
)
from fleet_dagster.core.neighbourhood import Neighbourhood
from fleet_dagster.core.significance import LEVELS, Found, Recent, alike_groups, significant_groups
from fleet_dagster.model.lookbacks import INCIDENT_WINDOWS

PlaceOf = Callable[[int], Neighbourhood]
"""The fleet as of a window."""


@dataclass(slots=True)
class _Incident:
    name: Name
    episodes: list[int]
    p_value: float = float("nan")
    told: Record | None = None
    continues: Name | None = None


@dataclass(slots=True)
class Replay:
    """Incidents as found from window `first` on, as far as it has been run; a function of the rows since then."""

    anomalies: Anomalies
    first: int
    place_of: PlaceOf
    windows_per_h: int
    n_domains: int
    episodes: Episodes = field(init=False)
    changes: list[Change] = field(default_factory=list)
    _open: dict[int, _Incident] = field(default_factory=dict)
    _owner: NDArray[np.int64] = field(init=False)
    """Incident of each episode; -1 before its alarm begins."""
    _peak: NDArray[np.float64] = field(init=False)
    _signature: NDArray[np.float64] = field(init=False)
    _is_peak: NDArray[np.bool_] = field(init=False)
    """Rows that deviate more than all before in their episode: only they make an incident worse."""
    _at: int = field(init=False)
    _n_taken: int = 0
    """Rows taken in so far."""
    _n_opened: int = 0

    def __post_init__(self) -> None:
        """Find the episodes; nothing has happened yet."""
        self.episodes = episodes_of(self.anomalies)
        self._is_peak = peaks_of(self.anomalies, self.episodes)
        n = self.episodes.site.size
        self._owner = np.full(n, -1, dtype=np.int64)
        self._peak = np.zeros((n, self.n_domains))
        self._signature = np.zeros((n, self.anomalies.shares.shape[1]))
        self._at = self.first

    def open_sites(self) -> list[tuple[Name, set[int]]]:
        """Return the name and the sites of each open incident."""
        return [(i.name, self._sites(i)) for i in self._open.values()]

    def run_to(self, end: int) -> None:
        """Go on to before window `end`; what has another name since `continue_from` is told in the first window."""
        inside = (self.anomalies.window >= self._at) & (self.anomalies.window < end)
        windows = set(self.anomalies.window[inside & self._is_peak].tolist())
        windows |= {w for w in self.episodes.start.tolist() if self._at <= w < end}
        if self._at < end and any(i.continues for i in self._open.values()):
            windows.add(self._at)
        for window in sorted(windows):
            self._close_before(window)
            self._step(window)
        self._close_before(end)
        self._at = max(self._at, end)

    def continue_from(self, earlier: "Replay") -> None:
        """Note which open incidents have another name in a replay with a longer memory, run to the same window."""
        for incident in self._open.values():
            sites = self._sites(incident)
            shared = [(len(sites & old), name) for name, old in earlier.open_sites()]
            most = max((n for n, _ in shared), default=0)
            if most:
                name = min(name for n, name in shared if n == most)
                incident.continues = name if name != incident.name else None

    def _step(self, window: int) -> None:
        self._accumulate(window)
        begun = slice(*np.searchsorted(self.episodes.start, [window, window + 1]).tolist())
        new = np.arange(begun.start, begun.stop)
        self._rejoin(new)
        self._group(window, new[self._owner[new] < 0])
        for e in new[self._owner[new] < 0].tolist():
            self._start([e])
        told = np.concatenate([self._peaking(window), new])
        owners = set(self._owner[told].tolist()) - {-1}
        for number in sorted(owners):
            self._tell_if_changed(self._open[number], window)
        self._close(window)
        for incident in self._open.values():
            if incident.continues is not None:
                self._tell(incident, window, "changed")

    def _accumulate(self, window: int) -> None:
        """Take in the rows up to a window: largest ratio by domain, and the weight of each KPI."""
        rows = slice(self._n_taken, int(np.searchsorted(self.anomalies.window, window + 1)))
        if rows.start >= rows.stop:
            return
        is_own = self.episodes.of_row[rows] >= 0
        e, ratio = self.episodes.of_row[rows][is_own], self.anomalies.ratio[rows][is_own]
        np.maximum.at(self._peak, (e, self.anomalies.domain[rows][is_own]), ratio)
        shares = self.anomalies.shares[rows][is_own]
        np.add.at(self._signature, e, shares * ratio[:, None] ** 2)
        self._n_taken = rows.stop

    def _peaking(self, window: int) -> NDArray[np.int64]:
        """Return the episodes that deviate more in a window than in any before."""
        rows = slice(*np.searchsorted(self.anomalies.window, [window, window + 1]).tolist())
        return self.episodes.of_row[rows][self._is_peak[rows]]

    def _rejoin(self, new: NDArray[np.int64]) -> None:
        """Return sites that alarm again to the open incident that they belong to."""
        if new.size:
            home = {site: n for n, i in self._open.items() for site in self._sites(i)}
            for e in new.tolist():
                number = home.get(int(self.episodes.site[e]))
                if number is not None:
                    self._take(number, [e])

    def _group(self, window: int, new: NDArray[np.int64]) -> None:
        """Put new alarms together, with each other and with open incidents, where that is more than chance."""
        if not new.size:
            return
        recent = np.arange(
            *np.searchsorted(self.episodes.start, [window - INCIDENT_WINDOWS + 1, window + 1])
        )
        is_running = self.episodes.start[recent] < self.first + ALARM_WINDOWS
        running, recent = recent[is_running], recent[~is_running]
        place = self.place_of(window)
        if running.size:
            self._join(running, alike_groups(place, self._recent(running, new)), window)
        for level in LEVELS:
            seen = self._recent(recent, new)
            if seen.is_new.any():
                groups = significant_groups(level, place, seen, self.windows_per_h)
                self._join(recent, groups, window)

    def _recent(self, episodes: NDArray[np.int64], new: NDArray[np.int64]) -> Recent:
        return Recent(
            site=self.episodes.site[episodes],
            is_new=np.isin(episodes, new),
            owner=self._owner[episodes],
            signature=self._signature[episodes],
        )

    def _join(self, episodes: NDArray[np.int64], groups: Iterable[Found], window: int) -> None:
        for found in groups:
            members = episodes[found.members]
            numbers = sorted(set(self._owner[members].tolist()) - {-1})
            fresh = members[self._owner[members] < 0].tolist()
            number = self._merge(numbers, window) if numbers else self._start(fresh)
            if numbers:
                self._take(number, fresh)
            incident = self._open[number]
            incident.p_value = float(np.fmin(incident.p_value, found.p_value))

    def _merge(self, numbers: list[int], window: int) -> int:
        """Merge incidents into the one that began first, and return its number."""
        first, *others = sorted(numbers, key=lambda n: self._precedence(self._open[n]))
        winner = self._open[first]
        for number in others:
            loser = self._open.pop(number)
            if loser.told is not None:
                self._tell(loser, window, "merged", merged_into=winner.name)
            winner.p_value = float(np.fmin(winner.p_value, loser.p_value))
            self._take(first, loser.episodes)
        return first

    def _precedence(self, incident: _Incident) -> tuple[bool, int, Name]:
        """Order incidents by onset; one that nobody has been told of yet yields to the others."""
        onset = int(self.episodes.onset[incident.episodes].min())
        return incident.told is None, onset, incident.name

    def _start(self, episodes: list[int]) -> int:
        """Open an incident, named by its first site."""
        onset, site = min(
            (int(self.episodes.onset[e]), int(self.episodes.site[e])) for e in episodes
        )
        number, self._n_opened = self._n_opened, self._n_opened + 1
        self._open[number] = _Incident((site, onset), [])
        self._take(number, episodes)
        return number

    def _take(self, number: int, episodes: list[int]) -> None:
        self._owner[episodes] = number
        self._open[number].episodes += episodes

    def _sites(self, incident: _Incident) -> set[int]:
        return set(self.episodes.site[incident.episodes].tolist())

    def _members(self, incident: _Incident) -> Members:
        e = np.array(sorted(incident.episodes), dtype=np.int64)
        site, onset = self.episodes.site[e], self.episodes.onset[e]
        return members_of(site, onset, self._peak[e], self._signature[e])

    def _tell_if_changed(self, incident: _Incident, window: int) -> None:
        if incident.told is None:
            self._tell(incident, window, "opened")
            return
        members, told = self._members(incident), incident.told
        severity = severity_of(members.site.size, median_peak(members.peak))
        if members.site.size != len(told.sites) or severity != told.severity:
            self._tell(incident, window, "changed")

    def _tell(
        self, incident: _Incident, window: int, phase: str, merged_into: Name | None = None
    ) -> None:
        place = self.place_of(window)
        incident.told = record_of(
            self._members(incident),
            place,
            incident.p_value,
            window=window,
            is_over=phase == "closed",
        )
        self.changes.append(
            Change(
                window=window,
                name=incident.name,
                phase=phase,
                record=incident.told,
                continues=incident.continues,
                merged_into=merged_into,
            )
        )
        incident.continues = None

    def _close_before(self, window: int) -> None:
        for due in sorted({d for i in self._open.values() if (d := self._due(i)) < window}):
            self._close(due)

    def _close(self, window: int) -> None:
        self._accumulate(window)
        for number in [n for n, i in self._open.items() if self._due(i) <= window]:
            self._tell(self._open.pop(number), window, "closed")

    def _due(self, incident: _Incident) -> int:
        """Return the first window for which no site of the incident has been in alarm for 10 windows."""
        return int(self.episodes.last[incident.episodes].max()) + INCIDENT_WINDOWS + 1
