"""Who must have signed a checkpoint: trusted logs, witnesses, and how many of which witnesses are enough.

Format: C2SP, "Transparency log trust policy" (c2sp.org/tlog-policy).
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from fleet_dagster.ledger.note import Checkpoint, Note, Signature
from fleet_dagster.ledger.signing import Kind, VerifierKey, time_of
from fleet_dagster.model.errors import LedgerError
from fleet_dagster.model.ledger import LedgerSettings

NO_QUORUM = "none"
"""The name that stands for a quorum of nobody."""
LOG_KINDS = (Kind.ED25519, Kind.MLDSA44_COSIGNATURE)
WITNESS_KINDS = (Kind.ED25519_COSIGNATURE, Kind.MLDSA44_COSIGNATURE)
_SETTINGS_GROUP = "witnesses+"
"""Group of the witnesses of the settings. No witness can be called so: names of keys hold no plus sign."""
_FORBIDDEN = re.compile(rb"[^\t\n\x20-\x7e\x80-\xff]")
_COUNT = re.compile(r"[1-9][0-9]{0,8}")
_WRITTEN = "Expected a policy as c2sp.org/tlog-policy has it"
_ALTERED = (
    "Do not trust the checkpoint: ask whoever gave it to you for it again, or for another one"
)


@dataclass(frozen=True, slots=True)
class Group:
    """Witnesses and other groups, of which some have to vouch."""

    name: str
    needed: int
    """How many of its members have to."""
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the signatures of a checkpoint are worth under a policy."""

    checkpoint: Checkpoint
    logs: tuple[VerifierKey, ...]
    """The log's keys that signed it: at least one."""
    witnesses: Mapping[str, int]
    """When each witness of the policy that vouched for it says that it did [POSIX s]; 0 where it does not say."""
    has_quorum: bool


@dataclass(frozen=True, slots=True)
class Policy:
    """Logs that are trusted, witnesses by their name in the policy, and which of them have to vouch."""

    logs: tuple[VerifierKey, ...] = ()
    witnesses: Mapping[str, VerifierKey] = field(default_factory=dict)
    groups: Mapping[str, Group] = field(default_factory=dict)
    """By name; each has only members that stand before it."""
    quorum: str = NO_QUORUM
    """A witness, a group, or `none`."""
    urls: Mapping[VerifierKey, str] = field(default_factory=dict)
    """Where logs and witnesses are, of those of whom it is said."""

    @classmethod
    def parse(cls, policy: str | bytes, *, what: str = "policy") -> "Policy":
        """Read a policy. What is not ASCII is kept as it is: names are equal if their bytes are.

        Raises
        ------
        LedgerError
            A line is none of a policy, a key or a name is there twice, a name is used before it is defined, a key cannot be
            one of a log or of a witness, or the quorum is missing.
        """
        content = policy.encode("utf-8", "surrogateescape") if isinstance(policy, str) else policy
        _refuse_characters(content, what)
        reader = _Reader(what)
        for number, line in enumerate(content.split(b"\n")[:-1], start=1):
            reader.read(number, line.decode("utf-8", "surrogateescape"))
        return reader.policy()

    @property
    def text(self) -> str:
        """The policy as C2SP writes it."""
        logs = (["log", key.vkey, *self._url(key)] for key in self.logs)
        witnesses = (
            ["witness", name, key.vkey, *self._url(key)] for name, key in self.witnesses.items()
        )
        groups = (["group", g.name, str(g.needed), *g.members] for g in self.groups.values())
        lines = (*logs, *witnesses, *groups, ["quorum", self.quorum])
        return "".join(f"{' '.join(line)}\n" for line in lines)

    @property
    def n_needed(self) -> int:
        """The fewest witnesses that reach the quorum; 0 where it asks for nobody."""
        least = dict.fromkeys(self.witnesses, 1)
        for group in self.groups.values():
            least[group.name] = sum(sorted(least[m] for m in group.members)[: group.needed])
        return least.get(self.quorum, 0)

    def judged(self, note: Note, *, what: str = "checkpoint") -> Judgement:
        """Tell who of the policy signed a checkpoint. Signatures of keys that it does not name mean nothing.

        Raises
        ------
        LedgerError
            The policy trusts no log, the note is no checkpoint or has extension lines, a signature of a key that the policy
            names is not valid, no log of the policy signed it, or one did that has another name.
        """
        if not self.logs:
            raise LedgerError(
                what, "the policy trusts no log", "Name the log's key: log NAME+ID+KEY"
            )
        checkpoint = Checkpoint.parse(note.text, what=what)
        if checkpoint.extensions:
            found = f"found the extension line {checkpoint.extensions[0][:80]!r}"
            raise LedgerError(what, found, "Our logs write none, and not everybody signs them")
        signed = self._valid(note, what)
        logs = tuple(key for key in self.logs if any(key == k for k, _ in signed))
        _refuse_strangers(logs, checkpoint.origin, what)
        times = self._times(checkpoint.origin, signed)
        return Judgement(checkpoint, logs, times, self._reached(times))

    def _valid(self, note: Note, what: str) -> list[tuple[VerifierKey, Signature]]:
        known = dict.fromkeys((*self.logs, *self.witnesses.values()))
        found = []
        for signature in note.signatures:
            named = [key for key in known if key.made(signature)]
            valid = [key for key in named if key.verifies(note.text, signature)]
            if named and not valid:
                whose = f"{signature.name}+{signature.key_id.hex()}"
                raise LedgerError(what, f"the signature of {whose} is not valid", _ALTERED)
            found += [(key, signature) for key in valid]
        return found

    def _times(
        self, origin: str, signed: Sequence[tuple[VerifierKey, Signature]]
    ) -> dict[str, int]:
        """Return when each witness vouched last. The log is no witness of itself, whatever its key is called."""
        own = {key.public for key in self.logs}
        found: dict[str, int] = {}
        for name, key in self.witnesses.items():
            times = [time_of(signature) for k, signature in signed if k == key]
            if times and key.name != origin and key.public not in own:
                found[name] = max(times)
        return found

    def _reached(self, witnesses: Mapping[str, int]) -> bool:
        vouched = set(witnesses)
        for group in self.groups.values():
            if sum(member in vouched for member in group.members) >= group.needed:
                vouched.add(group.name)
        return self.quorum == NO_QUORUM or self.quorum in vouched

    def _url(self, key: VerifierKey) -> Iterator[str]:
        if key in self.urls:
            yield self.urls[key]


def policy_of(origin_keys: Sequence[VerifierKey], settings: LedgerSettings) -> Policy:
    """Return the policy of a fleet's settings: its own keys, its witnesses, and as many of them as the settings ask for.

    Raises
    ------
    LedgerError
        A witness's key is malformed or cannot be one of a witness, or a key or a name is there twice.
    """
    names = [witness.name for witness in settings.witnesses]
    lines = [f"log {key.vkey}" for key in origin_keys]
    lines += [f"witness {one.name} {one.key} {one.url}" for one in settings.witnesses]
    if names:
        lines.append(f"group {_SETTINGS_GROUP} {settings.n_needed} {' '.join(names)}")
    lines.append(f"quorum {_SETTINGS_GROUP if names else NO_QUORUM}")
    return Policy.parse("".join(f"{line}\n" for line in lines), what="policy of the settings")


def _refuse_characters(content: bytes, what: str) -> None:
    forbidden = _FORBIDDEN.search(content)
    if forbidden is not None:
        raise LedgerError(what, f"found the control character {forbidden[0]!r}", _WRITTEN)
    if content and not content.endswith(b"\n"):
        problem = "its last line does not end: what follows may have been cut off"
        raise LedgerError(what, problem, _WRITTEN)


def _refuse_strangers(logs: Sequence[VerifierKey], origin: str, what: str) -> None:
    if not logs:
        raise LedgerError(what, f"no trusted log signed it; it says it is {origin!r}", _ALTERED)
    for key in logs:
        if key.name != origin:
            problem = f"the log {key.name!r} signed it, but it says it is of {origin!r}"
            raise LedgerError(what, problem, _ALTERED)


class _Reader:
    """Reads a policy line by line."""

    def __init__(self, what: str) -> None:
        self.what, self.where = what, what
        self.logs: dict[bytes, VerifierKey] = {}
        self.witnesses: dict[str, VerifierKey] = {}
        self.groups: dict[str, Group] = {}
        self.urls: dict[VerifierKey, str] = {}
        self.quorum: str | None = None
        self._publics: set[bytes] = set()
        self._members: set[str] = set()
        self._read: Mapping[str, Callable[[list[str]], None]] = {
            "log": self._log,
            "witness": self._witness,
            "group": self._group,
            "quorum": self._quorum,
        }

    def read(self, number: int, line: str) -> None:
        """Read one line, without its end."""
        self.where = f"{self.what}, line {number}"
        items = re.split("[ \t]+", line.strip(" \t"))
        if not items[0] or items[0].startswith("#"):
            return
        if items[0] not in self._read:
            self._refuse(f"found {items[0]!r}, expected one of {', '.join(self._read)}")
        self._read[items[0]](items[1:])

    def policy(self) -> Policy:
        """Return what was read."""
        self.where = self.what
        if self.quorum is None:
            self._refuse("found no quorum, expected one; without witnesses it is `quorum none`")
        logs = tuple(self.logs.values())
        return Policy(logs, self.witnesses, self.groups, self.quorum, self.urls)

    def _log(self, items: list[str]) -> None:
        self._count(items, "log KEY [URL]", 1, 2)
        key = self._key(items[0], LOG_KINDS, "log")
        if key.public in self.logs:
            self._refuse(f"the key of {key.name!r} is there twice")
        self.logs[key.public] = key
        self._url(key, items[1:])

    def _witness(self, items: list[str]) -> None:
        self._count(items, "witness NAME KEY [URL]", 2, 3)
        name, key = items[0], self._key(items[1], WITNESS_KINDS, "witness")
        self._new(name)
        if key.public in self._publics:
            self._refuse(f"the key of {key.name!r} is there twice; a witness counts once")
        self._publics.add(key.public)
        self.witnesses[name] = key
        self._url(key, items[2:])

    def _group(self, items: list[str]) -> None:
        self._count(items, "group NAME all|any|K MEMBER...", 3, None)
        name, count, *members = items
        self._new(name)
        for member in members:
            self._known(member)
            if member in self._members:
                self._refuse(f"{member!r} is a member twice; it counts once")
            self._members.add(member)
        self.groups[name] = Group(name, self._needed(count, len(members)), tuple(members))

    def _quorum(self, items: list[str]) -> None:
        self._count(items, "quorum NAME", 1, 1)
        if self.quorum is not None:
            self._refuse("found a second quorum, expected one")
        if items[0] != NO_QUORUM:
            self._known(items[0])
        self.quorum = items[0]

    def _key(self, vkey: str, kinds: Sequence[Kind], whose: str) -> VerifierKey:
        try:
            key = VerifierKey.parse(vkey)
        except LedgerError as error:
            raise LedgerError(self.where, f"{error.what}: {error.problem}", error.advice) from error
        if key.kind not in kinds:
            expected = " or ".join(f"{kind:#04x}" for kind in kinds)
            self._refuse(
                f"the key of {key.name!r} has the type {key.kind:#04x}, expected {expected} of a {whose}"
            )
        return key

    def _url(self, key: VerifierKey, items: list[str]) -> None:
        for url in items:
            if self.urls.get(key, url) != url:
                self._refuse(f"the key of {key.name!r} has two addresses")
            self.urls[key] = url

    def _new(self, name: str) -> None:
        if name == NO_QUORUM or name in self.witnesses or name in self.groups:
            self._refuse(f"the name {name!r} is taken")

    def _known(self, name: str) -> None:
        if name not in self.witnesses and name not in self.groups:
            self._refuse(f"nothing before it is called {name!r}")

    def _needed(self, count: str, n_members: int) -> int:
        words = {"all": n_members, "any": 1}
        if count not in words and not (_COUNT.fullmatch(count) and int(count) <= n_members):
            self._refuse(f"found {count!r}, expected all, any or a number up to {n_members}")
        return words[count] if count in words else int(count)

    def _count(self, items: list[str], form: str, least: int, most: int | None) -> None:
        if len(items) < least or (most is not None and len(items) > most):
            self._refuse(f"found {len(items)} items, expected {form}")

    def _refuse(self, problem: str) -> NoReturn:
        raise LedgerError(self.where, problem, _WRITTEN)
