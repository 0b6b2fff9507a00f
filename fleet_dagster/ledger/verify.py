"""Verification: from the stored bytes to every root, signature and vouching, and to the rows of fleet_kpi; without a network."""

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from fleet_dagster.ledger.appender import CONSUMER, STREAM
from fleet_dagster.ledger.findings import Finding, Kind, Report, Verdict
from fleet_dagster.ledger.keystore import KeyStore, verifiers
from fleet_dagster.ledger.log import Head, Log, StoredCheckpoint
from fleet_dagster.ledger.matching import Matching
from fleet_dagster.ledger.note import Checkpoint, Note
from fleet_dagster.ledger.pin import read_pin, write_pin
from fleet_dagster.ledger.policy import NO_QUORUM, Policy, policy_of
from fleet_dagster.ledger.signing import VerifierKey
from fleet_dagster.ledger.trust import Trust, unsigned_by
from fleet_dagster.ledger.walk import Walk
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.errors import LedgerError
from fleet_dagster.storage.imprints import altered
from fleet_dagster.storage.store import Store

MOST = 100
"""Findings that are told one by one."""
Progress = Callable[[str, int, int], None]
"""Told what is being checked, how much of it was, and how much there is."""


LAST_S = 253_402_300_799
"""End of the year 9999 [POSIX s]: a witness may name any time, but a calendar ends."""


def _silent(_what: str, _done: int, _total: int) -> None:
    """Show nothing."""


@dataclass(slots=True)
class Verification:
    """One verification of one fleet's ledger."""

    store: Store
    config: FleetConfig
    policy: Policy
    """The keys that are trusted, and who must have vouched."""
    pin: Path | None = None
    """File of the checkpoint that was seen last."""
    progress: Progress = _silent
    findings: list[Finding] = field(default_factory=list)
    _witnessed: tuple[int, dict[str, dt.datetime]] = (0, {})
    _located: int | None = None
    """Size up to which the roots are right, where what is wrong behind it was looked for."""
    _newest: Note | None = None
    """The checkpoint over all entries."""

    @classmethod
    def of(
        cls,
        store: Store,
        config: FleetConfig,
        *,
        policy: Policy | None = None,
        pin: Path | None = None,
        progress: Progress = _silent,
    ) -> "Verification":
        """Prepare the verification of a fleet's ledger, by default with its own keys, its witnesses and its pin.

        Raises
        ------
        LedgerError
            No policy is given, and the fleet has no keys.
        """
        keystore = KeyStore.of(store, config)
        if policy is None:
            if not keystore.is_there():
                raise LedgerError(
                    f"ledger of fleet {config.name!r}",
                    f"there are no keys at {keystore.place}, so no signature can be judged",
                    f"Run `fleet keys init {config.name}` to begin a ledger, or name the keys that you trust with --policy",
                )
            policy = policy_of(verifiers(keystore.load()), config.ledger)
        return cls(store, config, policy, pin or keystore.folder / "pin", progress)

    def run(self) -> Report:
        """Check everything, and say what the ledger is worth; the pin moves on if nothing is wrong."""
        log, fleet = Log(self.store.control, self.config.name), self.config.name
        cursor = self.store.cursors.find(fleet, STREAM.name, CONSUMER)
        position = cursor.position if cursor is not None else 0
        head = log.head()
        pin = None if self.pin is None else read_pin(self.pin)
        if head is None:
            head = Head(self.config.ledger.origin_of(fleet), 0)
        beyond = log.beyond()
        if head.size == 0 and pin is None and not beyond:
            origin = head.origin
            return Report(fleet, origin, "empty", n_needed=self.policy.n_needed)
        sizes = [size for size in log.sizes() if size <= head.size]
        pinned = None if pin is None else Checkpoint.parse(pin.text)
        wanted = {*sizes, *([pinned.size] if pinned is not None else [])}
        walk = Walk(log, head.size, wanted)
        for done in walk.run():
            self.progress("entries", done, head.size)
        self.findings += walk.findings
        trust = Trust.of(fleet, self._trusted(head), walk.rotations)
        self.findings += trust.findings
        self.policy = replace(self.policy, logs=trust.all_keys)
        self._judge_checkpoints(head, sizes, walk, trust)
        for what, number in beyond:
            problem = f"the ledger has {head.size} entries, but a {what} of {number} is stored: it was cut off, or something was put behind it"
            self.findings.append(Finding("beyond", problem, number if what == "entry" else None))
        if not self.findings:
            self.findings += walk.bad_tiles()
        if pin is not None and pinned is not None:
            self._judge_pin(head, pin, pinned, walk, trust)
        for digest in altered(self.store.history.imprints.documents(walk.imprints)):
            problem = f"the document of imprint {digest} in the control database is not the one that it records"
            self.findings.append(Finding("bad_imprint", problem, walk.imprints[digest]))
        matching = Matching(self.store, walk, position)
        for compared, total in matching.run():
            self.progress("days", compared, total)
        self.findings += matching.findings
        report = self._report(head, sizes, walk, matching, pinned)
        if report.verdict != "invalid" and self.pin is not None and self._newest is not None:
            write_pin(self.pin, self._newest)
        return report

    def _trusted(self, head: Head) -> Sequence[VerifierKey]:
        found = [key for key in self.policy.logs if key.name == head.origin]
        if not found:
            names = ", ".join(sorted({key.name for key in self.policy.logs})) or "none"
            raise LedgerError(
                f"ledger {head.origin!r}",
                f"the keys that are trusted are those of {names}",
                "Name a policy with this ledger's key: `fleet keys show --policy`",
            )
        return found

    def _judge_checkpoints(
        self, head: Head, sizes: Sequence[int], walk: Walk, trust: Trust
    ) -> None:
        good = 0
        for number, stored in enumerate(walk.log.checkpoints(until=head.size), start=1):
            is_good = self._judge(head, stored, walk, trust, good)
            good = stored.size if is_good else good
            self.progress("checkpoints", number, len(sizes))
        newest = sizes[-1] if sizes else 0
        if newest != head.size:
            problem = f"the ledger has {head.size} entries, but its newest checkpoint is over {newest}: no signature covers those from here on"
            self.findings.append(Finding("unsigned", problem, newest, walk.window_of(newest)))

    def _judge(
        self, head: Head, stored: StoredCheckpoint, walk: Walk, trust: Trust, good: int
    ) -> bool:
        """Judge one checkpoint; `good` is the size up to which the roots are right."""
        try:
            note = stored.note()
            checkpoint = Checkpoint.parse(note.text, what=f"checkpoint of size {stored.size}")
        except LedgerError as error:
            self._about(stored, "bad_checkpoint", str(error))
            return False
        if (checkpoint.origin, checkpoint.size, checkpoint.extensions) != (
            head.origin,
            stored.size,
            (),
        ):
            self._about(
                stored, "bad_checkpoint", f"it is of {checkpoint.origin!r} at {checkpoint.size}"
            )
            return False
        problem = unsigned_by(note, trust.keys_at(stored.size))
        if problem:
            self._about(stored, "bad_signature", problem)
        root = walk.roots.get(stored.size)
        if root is not None and root != checkpoint.root:
            self._locate(stored, walk, good)
            return False
        if not problem and root is not None:
            self._newest = note if stored.size == head.size else None
            self._count_witnesses(stored, note)
        return root is not None

    def _locate(self, stored: StoredCheckpoint, walk: Walk, good: int) -> None:
        """Name the entry because of which a root is wrong, or where it must be; all roots behind it are wrong for it too."""
        if self._located == good:
            return
        self._located = good
        kind: Kind
        number = walk.first_altered(good, stored.size)
        if number is not None:
            kind = "altered"
            problem = "it is not what it was when it was recorded: its hash has changed"
        else:
            kind, number = "bad_root", good
            problem = f"an entry from here to {stored.size - 1} is not what the checkpoint of size {stored.size} was signed over"
        self.findings.append(Finding(kind, problem, number, walk.window_of(number)))

    def _count_witnesses(self, stored: StoredCheckpoint, note: Note) -> None:
        try:
            judgement = self.policy.judged(note)
        except LedgerError as error:
            self._about(stored, "bad_signature", str(error))
            return
        if judgement.has_quorum and self.policy.quorum != NO_QUORUM:
            times = {
                name: dt.datetime.fromtimestamp(min(at, LAST_S), dt.UTC)
                for name, at in judgement.witnesses.items()
            }
            self._witnessed = (stored.size, times)

    def _judge_pin(
        self, head: Head, pin: Note, pinned: Checkpoint, walk: Walk, trust: Trust
    ) -> None:
        what = f"the checkpoint of size {pinned.size} that was seen before ({self.pin})"
        if pinned.origin != head.origin:
            problem = f"{what} is of another ledger, {pinned.origin!r}"
        elif pinned.size > head.size:
            problem = f"the ledger was cut off: {what} had more than its {head.size} entries"
        elif walk.roots.get(pinned.size, pinned.root) != pinned.root:
            problem = f"the ledger was rewritten: {what} had another root"
        else:
            wrong = unsigned_by(pin, trust.keys_at(pinned.size))
            problem = f"{what} was signed with other keys: {wrong}" if wrong else ""
        if problem:
            number = min(pinned.size, head.size)
            self.findings.append(
                Finding("bad_pin", problem, number if number < head.size else None)
            )

    def _about(self, stored: StoredCheckpoint, kind: Kind, problem: str) -> None:
        words = f"checkpoint of size {stored.size}: {problem}"
        self.findings.append(Finding(kind, words))

    def _report(
        self,
        head: Head,
        sizes: Sequence[int],
        walk: Walk,
        matching: Matching,
        pinned: Checkpoint | None,
    ) -> Report:
        found = sorted(self.findings, key=lambda f: (f.number is None, f.number or 0))
        witnessed, witnesses = self._witnessed
        is_witnessed = 0 < witnessed == head.size and bool(witnesses)
        verdict: Verdict = "invalid" if found else "valid" if is_witnessed else "unwitnessed"
        return Report(
            self.config.name,
            head.origin,
            verdict,
            size=head.size,
            root=walk.roots.get(head.size, b"").hex(),
            n_rows=walk.n_rows,
            n_windows=len(walk.newest),
            n_checkpoints=len(sizes),
            n_pending=matching.n_pending,
            n_expired=matching.n_expired,
            witnessed_size=witnessed if witnesses else 0,
            witnesses=witnesses,
            n_needed=self.policy.n_needed,
            pinned_size=0 if pinned is None else pinned.size,
            n_findings=len(found),
            findings=tuple(found[:MOST]),
        )
