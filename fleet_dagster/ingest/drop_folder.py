"""A fleet's watched folder: files dropped into it are landed and moved to `done/`, or to `failed/` beside the reason."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from fleet_dagster.core.windows import SECOND
from fleet_dagster.ingest.files import SUFFIXES
from fleet_dagster.ingest.importing import ImportReport, import_file
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.errors import FleetError, SourceError
from fleet_dagster.storage.landing import Batch
from fleet_dagster.storage.leases import Leases
from fleet_dagster.storage.store import Store

DONE, FAILED, REASON = "done", "failed", ".reason.txt"
SETTLED_AFTER = 5 * SECOND
"""Age of a file's last change before which it does not count as whole [us]."""
UNFINISHED = (".part", ".tmp", ".crdownload")
"""Endings of files that are still being written."""
_WAIT_S = 1.0


class Stamp(NamedTuple):
    """By what a file is told to have changed: its size in bytes, and when it was last written [ns]."""

    size: int
    mtime_ns: int


Seen = Mapping[str, Stamp]
"""Files as the last look found them, by name."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A file that was landed, now or before, or one that cannot be and why."""

    name: str
    report: ImportReport | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at a watched folder did."""

    taken: tuple[Taken, ...] = ()
    waiting: tuple[str, ...] = ()
    """Files that are still being written, or that the next look goes on with."""
    seen: Seen = field(default_factory=dict)


class _OutOfTimeError(FleetError):
    """A look has used up its time: it ends between two parts of a file."""


def take_in(
    store: Store,
    config: FleetConfig,
    folder: Path,
    *,
    now: int,
    seen: Seen,
    is_over: Callable[[], bool] = lambda: False,
) -> Look:
    """Land the files of a watched folder in the order of their names, and move them out of the way.

    A file counts as whole once it is as the last look found it, and has not been written to for a while: either alone is
    true of a file whose writer pauses. What is killed between landing and moving is moved by the next look: a file lands once, whatever it is called. `now` is the instant of receipt [us]. Once
    `is_over`, the look ends, but not before it has landed something: a part of a file, or a whole one.

    Raises
    ------
    SourceError
        The folder cannot be read or written.
    LeaseError
        Another process is landing from it.
    ConfigError
        The fleet's settings do not go with any file; all files stay where they are.
    """
    with _errors_told(folder):
        folder.mkdir(parents=True, exist_ok=True)
    lease = f"inbox/{config.name}"
    with Leases(store.control, wait_s=_WAIT_S).hold([lease]), _errors_told(folder):
        found = _files(folder)
        whole = [n for n, stamp in found.items() if _is_settled(stamp, now, seen.get(n))]
        taken = _take_all(store, config, [folder / n for n in whole], now=now, is_over=is_over)
        done = {t.name for t in taken}
        left = {n: stamp for n, stamp in found.items() if n not in done}
        return Look(taken, tuple(left), left)


def shown(name: str) -> str:
    """Return a file's name as text that can be stored, whatever bytes it is made of."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def _files(folder: Path) -> dict[str, Stamp]:
    with os.scandir(folder) as entries:
        files = [(e.name, e.stat()) for e in entries if _is_candidate(e.name) and e.is_file()]
    return {name: Stamp(at.st_size, at.st_mtime_ns) for name, at in sorted(files)}


def _is_candidate(name: str) -> bool:
    return not name.startswith(".") and not name.lower().endswith(UNFINISHED)


def _is_settled(stamp: Stamp, now: int, before: Stamp | None) -> bool:
    return stamp == before and now - stamp.mtime_ns // 1000 >= SETTLED_AFTER


def _take_all(
    store: Store,
    config: FleetConfig,
    paths: Sequence[Path],
    *,
    now: int,
    is_over: Callable[[], bool],
) -> tuple[Taken, ...]:
    taken: list[Taken] = []
    for path in paths:
        try:
            one = _take(store, config, path, now=now, is_over=is_over)
        except _OutOfTimeError:
            break
        taken += [one] if one else []
        if is_over():
            break
    return tuple(taken)


def _take(
    store: Store, config: FleetConfig, path: Path, *, now: int, is_over: Callable[[], bool]
) -> Taken | None:
    """Land one file and move it; None where it has changed meanwhile, or is gone: it was not whole after all."""
    before, clock = _stamp(path), _Clock(is_over)
    try:
        _refuse_unspeakable(path)
        report = import_file(
            store,
            config,
            path,
            received_at_us=now,
            historical=False,
            landed=clock.note_landed,
            progress=clock.stop_if_over,
        )
    except SourceError as error:
        if _stamp(path) != before or before is None:
            return None
        _move(path, FAILED, reason=str(error))
        return Taken(path.name, None, f"{error.problem}. {error.advice}")
    if _stamp(path) != before:
        return None
    _move(path, DONE)
    return Taken(path.name, report)


@dataclass(slots=True)
class _Clock:
    """Ends an import between two parts once time is up and something new was landed: every look gets further."""

    is_over: Callable[[], bool]
    has_landed: bool = False

    def note_landed(self, _batch: Batch) -> None:
        self.has_landed = True

    def stop_if_over(self, done: int, total: int) -> None:
        if self.has_landed and done < total and self.is_over():
            raise _OutOfTimeError


def _stamp(path: Path) -> Stamp | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return Stamp(found.st_size, found.st_mtime_ns)


def _refuse_unspeakable(path: Path) -> None:
    """Refuse a name that is no text: it could not be booked."""
    try:
        path.name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise SourceError(
            shown(path.name), "has a name that is not UTF-8 text", "Rename it and drop it again"
        ) from error


def _move(path: Path, where: str, *, reason: str = "") -> None:
    """Move a file aside under a name that is free; its reason is written first, so that no file ever lacks it."""
    folder = path.parent / where
    folder.mkdir(exist_ok=True)
    target = next(folder / n for n in _numbered(path.name) if _is_free(folder, n))
    if reason:
        (folder / f"{target.name}{REASON}").write_text(f"{reason}\n", encoding="utf-8")
    path.rename(target)


def _is_free(folder: Path, name: str) -> bool:
    """Tell whether neither the file nor its reason would replace another file that was dropped here."""
    others = (folder / name, folder / f"{name}{REASON}{REASON}")
    return not any(other.exists() or other.is_symlink() for other in others)


def _numbered(name: str) -> Iterator[str]:
    """Yield a name, then the same with numbers before its ending."""
    ending = next((s for s in SUFFIXES if name.lower().endswith(s)), Path(name).suffix)
    stem, ending = name[: len(name) - len(ending)], name[len(name) - len(ending) :]
    yield name
    number = 2
    while True:
        yield f"{stem}-{number}{ending}"
        number += 1


@contextmanager
def _errors_told(folder: Path) -> Iterator[None]:
    try:
        yield
    except FleetError:
        raise
    except OSError as error:
        problem = f"watched folder cannot be used ({error.strerror or error}: {error.filename})"
        advice = "Check that it exists and may be written, or name another one: FLEET_INBOX"
        raise SourceError(str(folder), problem, advice) from error
