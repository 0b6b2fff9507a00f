"""Attacks by somebody who may write to the control database and the lake: each is found, named, and placed."""

import dataclasses
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from fleet_dagster.ledger.entries import RETENTION, RareEntry
from fleet_dagster.ledger.key_files import new_keys
from fleet_dagster.ledger.keystore import KINDS, Keys, KeyStore, verifiers
from fleet_dagster.ledger.log import Leaf
from fleet_dagster.ledger.note import Checkpoint, Signature
from fleet_dagster.ledger.policy import Policy
from fleet_dagster.ledger.rotation import rotation_entry
from fleet_dagster.ledger.signing import Kind, SigningKey, signed
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.errors import LedgerError
from fleet_dagster.model.ledger import LedgerSettings, LedgerWitness
from fleet_dagster.storage.control import schema
from fleet_dagster.storage.store import Store
from fleet_dagster_tests.ledger import tampering as t
from fleet_dagster_tests.streams import fleet_windows as fw

ENTRIES = schema.ledger_entries
ORIGIN = f"esn/fleet/{t.FLEET}"
WITNESS_KINDS = (Kind.ED25519_COSIGNATURE, Kind.MLDSA44_COSIGNATURE)
N = ENTRIES.c.number
GOOD, GOOD_WINDOW = t.SIZES[1], 144
"""The last good checkpoint before what most of these attacks alter, and the window of the entry at its end."""
BAD, BAD_WINDOW = 200, 197
"""An entry behind it, and its window."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an installation with an honest history, never verified: nothing is pinned."""
    home = tmp_path_factory.mktemp("attacks") / "home"
    with Store.at(home) as store:
        t.begin(store)
    return home


@pytest.fixture(scope="module")
def opened(home: Path) -> Iterator[Store]:
    with Store.at(home) as store:
        yield store


@pytest.fixture
def store(opened: Store) -> Iterator[Store]:
    """Return that installation; what is done to its control database and keys is undone."""
    with t.undone(opened):
        yield opened


@pytest.fixture
def pinned(store: Store) -> Store:
    """Return that installation once it was verified."""
    assert t.verified(store).verdict == "unwitnessed"
    return store


@pytest.fixture
def own_lake(home: Path, tmp_path: Path) -> Iterator[Store]:
    """Return a copy of that installation, whose lake may be written to."""
    shutil.copytree(home, tmp_path / "home")
    with Store.at(tmp_path / "home") as store:
        yield store


def test_the_honest_history_is_found_good(store: Store) -> None:
    report = t.verified(store)
    assert (report.verdict, report.size, report.n_findings) == ("unwitnessed", t.LAST, 0)
    assert (report.n_rows, report.n_windows, report.n_expired, report.n_pending) == (
        313,
        312,
        24,
        0,
    )
    assert t.pin_of(store).read_text() == t.checkpoints_of(store)[-1].note().content
    assert t.verified(store).pinned_size == t.LAST


def is_found(store: Store, kind: str, number: int | None, window: int | None) -> None:
    report = t.verified(store)
    assert (report.verdict, *t.first(report)) == ("invalid", kind, number, window)


# Entries


def test_an_entry_altered_in_place_is_malformed(store: Store) -> None:
    leaf = t.leaves(store)[BAD]
    altered = leaf.entry.replace(b'"fleet_health":0.5', b'"fleet_health":0.9')
    assert altered != leaf.entry
    t.put(store, BAD, dataclasses.replace(leaf, entry=altered))
    report = t.verified(store)
    assert (report.verdict, *t.first(report)) == ("invalid", "malformed", BAD, BAD_WINDOW)
    assert ("altered", BAD, BAD_WINDOW) in [t.placed(f) for f in report.findings]


def test_an_entry_that_was_edited_as_text_is_malformed(store: Store) -> None:
    """As `update ledger_entries set entry = replace(entry, ...)` leaves it in SQLite."""
    text = t.leaves(store)[BAD].entry.decode().replace('"revision":0', '"revision":9')
    edited = sa.cast(sa.literal(text, sa.Text), sa.Text)
    t.run(
        store,
        sa.update(ENTRIES).where(N == BAD).values(entry=sa.type_coerce(edited, sa.LargeBinary)),
    )
    assert t.first(t.verified(store)) == ("malformed", BAD, BAD_WINDOW)


def test_an_entry_altered_with_its_columns_has_another_hash(store: Store) -> None:
    t.put(store, BAD, t.forged(t.leaves(store)[BAD], BAD))
    report = t.verified(store)
    assert (report.verdict, *t.first(report)) == ("invalid", "altered", BAD, BAD_WINDOW)
    assert [t.placed(f) for f in report.findings][1:] == [("row_edited", BAD, BAD_WINDOW)]


@pytest.mark.parametrize(("number", "good", "window"), [(t.EXPIRED, 0, 0), (BAD, 147, 144)])
def test_an_entry_altered_with_columns_and_tiles_gives_another_root(
    store: Store, number: int, good: int, window: int
) -> None:
    t.put(store, number, t.forged(t.leaves(store)[number], number))
    t.put_tiles(store)
    report = t.verified(store)
    assert (report.verdict, *t.first(report)) == ("invalid", "bad_root", good, window)
    assert report.first_bad is not None
    end = next(size for size in t.SIZES if size > number)
    assert f"from here to {end - 1} " in report.first_bad.problem
    assert "bad_tile" not in t.kinds(report)


def test_a_deleted_entry_is_missing(store: Store) -> None:
    t.run(store, sa.delete(ENTRIES).where(N == BAD))
    is_found(store, "missing", BAD, None)


def test_a_deleted_first_and_a_deleted_last_entry_are_missing(store: Store) -> None:
    t.run(store, sa.delete(ENTRIES).where(N == t.LAST - 1))
    is_found(store, "missing", t.LAST - 1, None)
    t.run(store, sa.delete(ENTRIES).where(N == 0))
    is_found(store, "missing", 0, None)


def test_swapped_entries_say_where_they_belong(store: Store) -> None:
    leaves = t.leaves(store)
    t.run(store, sa.delete(ENTRIES).where(N.in_((BAD, BAD + 1))))
    t.put(store, BAD, leaves[BAD + 1])
    t.put(store, BAD + 1, leaves[BAD])
    is_found(store, "malformed", BAD, BAD_WINDOW + 1)


def test_swapped_entries_made_to_fit_have_other_hashes(store: Store) -> None:
    leaves = t.leaves(store)
    leaves[BAD], leaves[BAD + 1] = (
        t.at_number(leaves[BAD + 1], BAD),
        t.at_number(leaves[BAD], BAD + 1),
    )
    tiles = _tiles(store)
    t.put_all(store, leaves)
    is_found(store, "bad_root", GOOD, GOOD_WINDOW)
    _put_tiles(store, tiles)
    is_found(store, "altered", BAD, BAD_WINDOW + 1)


def test_an_inserted_entry_moves_the_others(store: Store) -> None:
    leaves = t.leaves(store)
    t.put_all(store, [*leaves[:BAD], t.new_row(400, BAD), *leaves[BAD:]])
    report = t.verified(store)
    found = [t.placed(f) for f in report.findings]
    assert (report.verdict, found[0]) == ("invalid", ("bad_root", GOOD, GOOD_WINDOW))
    assert ("malformed", BAD + 1, BAD_WINDOW) in found


def test_an_inserted_entry_with_all_behind_it_made_to_fit_gives_another_root(store: Store) -> None:
    leaves = t.leaves(store)
    behind = [t.at_number(leaf, n) for n, leaf in enumerate(leaves[BAD:], start=BAD + 1)]
    t.put_all(store, [*leaves[:BAD], t.new_row(400, BAD), *behind])
    report = t.verified(store)
    found = [t.placed(f) for f in report.findings]
    assert (report.verdict, found[0]) == ("invalid", ("bad_root", GOOD, GOOD_WINDOW))
    assert ("unsigned", t.LAST, None) in found


def test_entries_behind_the_newest_checkpoint_are_unsigned(store: Store) -> None:
    t.put_all(store, [*t.leaves(store), t.new_row(400, t.LAST)])
    is_found(store, "unsigned", t.LAST, 400)


def test_entries_behind_the_end_are_seen(store: Store) -> None:
    t.put(store, t.LAST + 5, t.new_row(400, t.LAST + 5))
    is_found(store, "beyond", t.LAST + 5, None)


def test_entries_before_the_first_are_seen(store: Store) -> None:
    t.put(store, -1, t.new_row(400, -1))
    is_found(store, "beyond", -1, None)


@pytest.mark.parametrize(
    ("number", "values", "window"),
    [
        (BAD, {"revision": 1}, BAD_WINDOW),
        (BAD, {"revision": None}, BAD_WINDOW),
        (BAD, {"window_start": fw.window(500)}, 500),
        (BAD, {"window_start": 2**60}, None),
        (BAD, {"row_digest": bytes(32)}, BAD_WINDOW),
        (BAD, {"kind": "materialization"}, BAD_WINDOW),
        (BAD, {"kind": "nonsense"}, BAD_WINDOW),
        (BAD, {"entry": b"[" * 100_000}, BAD_WINDOW),
        (BAD, {"entry": b""}, BAD_WINDOW),
        (BAD, {"entry": b"\xff\xfe{}"}, BAD_WINDOW),
        (BAD, {"entry": b'{"index": 200}'}, BAD_WINDOW),
        (146, {"window_start": fw.window(500)}, 500),
        (146, {"revision": 0}, None),
        (146, {"row_digest": bytes(32)}, None),
        (316, {"kind": "key_rotation"}, None),
    ],
)
def test_what_is_stored_beside_an_entry_must_fit(
    store: Store, number: int, values: dict[str, object], window: int | None
) -> None:
    t.run(store, sa.update(ENTRIES).where(ENTRIES.c.number == number).values(**values))
    report = t.verified(store)
    kind, found, at_window = t.first(report)
    assert (report.verdict, kind, found) == ("invalid", "malformed", number)
    assert at_window == window or window is None
    assert str(report.first_bad)


# The log's end


def test_a_log_without_its_last_entries_misses_them(store: Store) -> None:
    t.run(store, sa.delete(ENTRIES).where(N >= BAD))
    is_found(store, "missing", BAD, None)


def test_a_log_cut_off_before_its_checkpoints_is_told_by_them(store: Store) -> None:
    t.put_all(store, t.leaves(store)[:BAD])
    report = t.verified(store)
    assert (report.verdict, *t.first(report)) == ("invalid", "unsigned", GOOD, GOOD_WINDOW)
    assert "beyond" in t.kinds(report)


def test_a_log_cut_off_at_a_checkpoint_is_told_by_those_behind_it(store: Store) -> None:
    cut_off(store, GOOD)
    report = t.verified(store)
    assert report.verdict == "invalid"
    [beyond] = [f for f in report.findings if f.kind == "beyond"]
    assert "147 entries, but a checkpoint of 316 is stored" in beyond.problem


def test_a_log_cut_off_with_its_checkpoints_lacks_entries_of_rows(store: Store) -> None:
    cut_off(store, GOOD, checkpoints=True)
    report = t.verified(store)
    assert report.verdict == "invalid"
    assert t.kinds(report) == {"row_without_entry"} | {"entry_without_row"} & t.kinds(report)
    assert ("row_without_entry", None, 144) in [t.placed(f) for f in report.findings]


def test_a_log_cut_off_with_all_that_knows_is_only_shorter(store: Store) -> None:
    """Without a pin or a witness nobody can tell: the rest stands as what is still to be recorded."""
    cut_off(store, GOOD, checkpoints=True, cursor=True)
    report = t.verified(store)
    assert (report.verdict, report.size) == ("unwitnessed", GOOD)
    assert report.n_pending == 168 + 24


def test_a_log_cut_off_is_told_by_the_pin(pinned: Store) -> None:
    cut_off(pinned, GOOD, checkpoints=True, cursor=True)
    before = t.pin_of(pinned).read_bytes()
    report = t.verified(pinned)
    assert (report.verdict, t.first(report)) == ("invalid", ("bad_pin", None, None))
    assert report.first_bad is not None
    assert "cut off" in report.first_bad.problem
    assert t.pin_of(pinned).read_bytes() == before


@pytest.mark.parametrize("keeps_name", [True, False])
def test_a_log_that_is_gone_is_told_by_the_pin(pinned: Store, keeps_name: bool) -> None:  # noqa: FBT001 - by pytest
    cut_off(pinned, 0, checkpoints=True, cursor=True)
    if not keeps_name:
        t.run(pinned, sa.delete(schema.ledgers))
    report = t.verified(pinned)
    assert (report.verdict, t.first(report)) == ("invalid", ("bad_pin", None, None))
    t.pin_of(pinned).unlink()
    assert t.verified(pinned).verdict == "empty"


def test_entries_of_a_log_that_has_no_name_any_more_are_seen(store: Store) -> None:
    t.run(store, sa.delete(schema.ledgers))
    is_found(store, "beyond", 0, None)


def test_a_log_under_another_name_is_not_the_trusted_one(store: Store) -> None:
    t.run(store, sa.update(schema.ledgers).values(origin="esn/fleet/other"))
    with pytest.raises(LedgerError, match="the keys that are trusted are those of esn/fleet/plant"):
        t.verified(store)


def cut_off(store: Store, size: int, *, checkpoints: bool = False, cursor: bool = False) -> None:
    """Cut the log off at a size that it was signed at, with what else knows of the rest."""
    kept = t.leaves(store)[:size]
    if kept:
        t.put_all(store, kept)
    else:
        tiles = schema.ledger_tiles
        t.run(store, sa.delete(ENTRIES), sa.delete(tiles), sa.update(schema.ledgers).values(size=0))
    if checkpoints:
        table = schema.ledger_checkpoints
        t.run(store, sa.delete(table).where(table.c.size > size))
    if cursor:
        seqs = [e.seq for e in store.history.entries("fleet_kpi", t.FLEET)]
        position = seqs[2] if size else 0
        t.run(store, sa.update(schema.cursors).values(position=position))


# Signatures


def test_a_history_rewritten_with_the_own_key_is_told_by_the_pin(pinned: Store) -> None:
    rewrite(pinned, t.keys_of(pinned))
    report = t.verified(pinned)
    assert (report.verdict, t.kinds(report)) == ("invalid", {"bad_pin"})
    assert report.first_bad is not None
    assert "rewritten" in report.first_bad.problem
    t.pin_of(pinned).unlink()
    assert t.verified(pinned).verdict == "unwitnessed"


def test_a_log_signed_with_a_key_put_in_place_is_told_by_the_pin_and_a_policy(
    pinned: Store,
) -> None:
    old = t.keys_of(pinned)
    t.sign_again(pinned, swap_keys(pinned))
    report = t.verified(pinned)
    assert (report.verdict, t.kinds(report)) == ("invalid", {"bad_pin"})
    assert report.first_bad is not None
    assert "signed with other keys" in report.first_bad.problem
    t.pin_of(pinned).unlink()
    report = t.verified(pinned, policy=Policy(verifiers(old)))
    assert (report.verdict, t.kinds(report), report.n_findings) == ("invalid", {"bad_signature"}, 4)


def test_a_key_put_in_place_does_not_fit_the_log(store: Store) -> None:
    swap_keys(store)
    report = t.verified(store)
    assert (report.verdict, t.kinds(report), report.n_findings) == ("invalid", {"bad_signature"}, 4)


@pytest.mark.parametrize("which", [0, 1])
def test_one_of_two_signatures_is_not_enough(store: Store, which: int) -> None:
    note = t.checkpoints_of(store)[-1].note()
    t.put_note(
        store, t.LAST, dataclasses.replace(note, signatures=(note.signatures[which],)).content
    )
    report = t.verified(store)
    assert (report.verdict, t.kinds(report), report.n_findings) == ("invalid", {"bad_signature"}, 1)


def _other_origin(store: Store, note: str) -> str:
    checkpoint = Checkpoint.parse(note.split("\n\n", maxsplit=1)[0] + "\n")
    other = dataclasses.replace(checkpoint, origin="esn/fleet/other")
    return signed(other, t.keys_of(store), time=1).content


def _other_size(store: Store, note: str) -> str:
    checkpoint = Checkpoint.parse(note.split("\n\n", maxsplit=1)[0] + "\n")
    return signed(dataclasses.replace(checkpoint, size=5), t.keys_of(store), time=1).content


def _extension(store: Store, note: str) -> str:
    text = note.split("\n\n", maxsplit=1)[0] + "\nextension\n"
    key = t.keys_of(store)[0]
    return f"{text}\n{key.sign(text, time=1).line}"


NOTES: dict[str, tuple[Callable[[Store, str], str], str]] = {
    "other origin": (_other_origin, "bad_checkpoint"),
    "other size": (_other_size, "bad_checkpoint"),
    "extension line": (_extension, "bad_checkpoint"),
    "CRLF": (lambda _, note: note.replace("\n", "\r\n"), "bad_checkpoint"),
    "no blank line": (lambda _, note: note.replace("\n\n", "\n"), "bad_checkpoint"),
    "leading zero": (
        lambda _, note: note.replace(f"\n{t.LAST}\n", f"\n0{t.LAST}\n"),
        "bad_checkpoint",
    ),
    "plus sign": (
        lambda _, note: note.replace(f"\n{t.LAST}\n", f"\n+{t.LAST}\n"),
        "bad_checkpoint",
    ),
    "malformed line": (lambda _, note: note + "- nobody AAAA\n", "bad_checkpoint"),
    "line of padding": (lambda _, note: note + "— nobody ====\n", "bad_checkpoint"),
    "no last line's end": (lambda _, note: note[:-1], "bad_checkpoint"),
    "no signature": (lambda _, note: note.split("\n\n")[0] + "\n\n", "bad_checkpoint"),
    "empty": (lambda _, _note: "", "bad_checkpoint"),
    "other root": (
        lambda _, note: note.replace(note.split("\n")[2], "A" * 43 + "="),
        "bad_signature",
    ),
}


@pytest.mark.parametrize("what", NOTES)
def test_a_note_that_was_replaced_is_refused(store: Store, what: str) -> None:
    change, kind = NOTES[what]
    note = t.checkpoints_of(store)[-1].content
    t.put_note(store, t.LAST, change(store, note))
    report = t.verified(store)
    assert (report.verdict, report.n_findings > 0) == ("invalid", True)
    assert kind in t.kinds(report)
    assert t.kinds(report) <= {kind, "bad_root"}


def test_a_note_of_another_size_of_the_same_log_is_refused(store: Store) -> None:
    t.put_note(store, t.LAST, t.checkpoints_of(store)[-2].content)
    report = t.verified(store)
    assert (report.verdict, t.kinds(report)) == ("invalid", {"bad_checkpoint"})


def test_a_signature_of_an_unknown_key_means_nothing(store: Store) -> None:
    note = t.checkpoints_of(store)[-1].note()
    stranger = new_keys("esn/stranger", KINDS)[0].sign(note.text, time=1)
    same_name = new_keys(ORIGIN, KINDS)[0].sign(note.text, time=1)
    t.put_note(store, t.LAST, note.signed_also(stranger, same_name).content)
    report = t.verified(store)
    assert (report.verdict, report.n_findings) == ("unwitnessed", 0)


def test_a_log_without_its_newest_checkpoint_is_unsigned(store: Store) -> None:
    c = schema.ledger_checkpoints.c
    t.run(store, sa.delete(schema.ledger_checkpoints).where(c.size == t.LAST))
    is_found(store, "unsigned", t.LAST - 1, None)


def rewrite(store: Store, keys: Keys) -> None:
    """Make the log say something else of a window whose row is gone, and sign it all again."""
    t.put(store, t.EXPIRED, t.forged(t.leaves(store)[t.EXPIRED], t.EXPIRED))
    t.put_tiles(store)
    t.sign_again(store, keys)


def swap_keys(store: Store) -> Keys:
    """Put other keys in place of the fleet's."""
    place = KeyStore.of(store, fw.CONFIG)
    place.path.unlink()
    return place.create()


# Witnesses


def witness_key(name: str = "witness.example", kind: Kind = WITNESS_KINDS[0]) -> SigningKey:
    [key] = new_keys(name, (kind,))
    return key


def watched_by(*keys: SigningKey) -> FleetConfig:
    """Return the fleet with witnesses, all of which must vouch."""
    witnesses = tuple(
        LedgerWitness(name=k.name, url="http://127.0.0.1:1", key=k.verifier.vkey) for k in keys
    )
    settings = LedgerSettings(witnesses=witnesses, quorum=len(keys))
    return fw.CONFIG.model_copy(update={"ledger": settings})


def vouch(store: Store, key: SigningKey, size: int = t.LAST) -> Signature:
    """Attach a witness's cosignature of a checkpoint."""
    [stored] = [c for c in t.checkpoints_of(store) if c.size == size]
    signature = key.sign(stored.note().text, time=1_800_000_000)
    t.log_of(store).attach(size, key.name, signature)
    return signature


@pytest.mark.parametrize("kind", WITNESS_KINDS)
def test_a_witness_makes_it_valid(store: Store, kind: Kind) -> None:
    key = witness_key(kind=kind)
    config = watched_by(key)
    assert t.verified(store, config).verdict == "unwitnessed"
    vouch(store, key, t.SIZES[2])
    report = t.verified(store, config)
    assert (report.verdict, report.witnessed_size) == ("unwitnessed", t.SIZES[2])
    vouch(store, key)
    report = t.verified(store, config)
    assert (report.verdict, report.witnessed_size, list(report.witnesses or ())) == (
        "valid",
        t.LAST,
        [key.name],
    )


@pytest.mark.parametrize("kind", WITNESS_KINDS)
def test_a_history_rewritten_with_the_own_key_does_not_fit_what_a_witness_saw(
    store: Store, kind: Kind
) -> None:
    key = witness_key(kind=kind)
    vouch(store, key)
    rewrite(store, t.keys_of(store))
    report = t.verified(store, watched_by(key))
    assert (report.verdict, t.kinds(report)) == ("invalid", {"bad_signature"})
    t.run(store, sa.delete(schema.ledger_cosignatures))
    report = t.verified(store, watched_by(key))
    assert (report.verdict, report.witnessed_size) == ("unwitnessed", 0)


@pytest.mark.parametrize("kind", WITNESS_KINDS)
def test_a_cosignature_of_another_size_is_not_valid(store: Store, kind: Kind) -> None:
    key = witness_key(kind=kind)
    replayed = vouch(store, key, t.SIZES[2])
    t.log_of(store).attach(t.LAST, key.name, replayed)
    report = t.verified(store, watched_by(key))
    assert (report.verdict, t.kinds(report), report.n_findings) == ("invalid", {"bad_signature"}, 1)


@pytest.mark.parametrize("kind", WITNESS_KINDS)
def test_a_cosignature_of_another_log_is_not_valid(store: Store, kind: Kind) -> None:
    key = witness_key(kind=kind)
    checkpoint = Checkpoint.parse(t.checkpoints_of(store)[-1].note().text)
    other = dataclasses.replace(checkpoint, origin="esn/fleet/other")
    t.log_of(store).attach(t.LAST, key.name, key.sign(other.text, time=1))
    report = t.verified(store, watched_by(key))
    assert (report.verdict, t.kinds(report), report.n_findings) == ("invalid", {"bad_signature"}, 1)


@pytest.mark.parametrize("kind", WITNESS_KINDS)
def test_a_wrong_key_does_not_count_for_a_witness(store: Store, kind: Kind) -> None:
    key, wrong = witness_key(kind=kind), witness_key(kind=kind)
    vouch(store, wrong)
    report = t.verified(store, watched_by(key))
    assert (report.verdict, report.witnessed_size, report.n_findings) == ("unwitnessed", 0, 0)
    signature = vouch(store, wrong)
    borrowed = dataclasses.replace(signature, key_id=key.verifier.key_id)
    t.log_of(store).attach(t.LAST, key.name, borrowed)
    assert t.kinds(t.verified(store, watched_by(key))) == {"bad_signature"}


@pytest.mark.parametrize("name", ["witness.example", ORIGIN])
@pytest.mark.parametrize("which", [0, 1])
def test_the_log_is_no_witness_of_itself(store: Store, name: str, which: int) -> None:
    own = t.keys_of(store)[which]
    key = SigningKey(name, WITNESS_KINDS[which], own.private)
    vouch(store, key)
    report = t.verified(store, watched_by(key))
    assert (report.verdict, report.witnessed_size, report.n_findings) == ("unwitnessed", 0, 0)


def test_keys_that_the_log_was_handed_over_from_are_no_witness_of_it(store: Store) -> None:
    old = t.keys_of(store)[0]
    key = SigningKey("witness.example", WITNESS_KINDS[0], old.private)
    t.rotate(store)
    vouch(store, key, t.LAST + 1)
    assert t.verified(store, watched_by(key)).verdict == "unwitnessed"


def test_a_witness_may_name_any_time(store: Store) -> None:
    key = witness_key()
    text = t.checkpoints_of(store)[-1].note().text
    t.log_of(store).attach(t.LAST, key.name, key.sign(text, time=(1 << 63) - 1))
    report = t.verified(store, watched_by(key))
    assert report.verdict == "valid"
    assert report.witnesses is not None
    assert report.witnesses[key.name].year == 9999


def test_cosignatures_behind_the_end_tell_that_it_was_cut_off(store: Store) -> None:
    key = witness_key()
    vouch(store, key)
    cut_off(store, GOOD, checkpoints=True, cursor=True)
    report = t.verified(store)
    assert (report.verdict, t.kinds(report)) == ("invalid", {"beyond"})


# Rows


@pytest.mark.parametrize("health", [0.9, float("nan"), float("inf")])
def test_an_edited_row_is_not_the_one_recorded(own_lake: Store, health: float) -> None:
    t.drop_rows(own_lake, 60, 61)
    t.put_rows(own_lake, {60: health})
    is_found(own_lake, "row_edited", 145, 60)


def test_an_edited_row_is_not_about_to_be_recorded_because_the_appender_was_set_back(
    own_lake: Store,
) -> None:
    """Nor does reading all again record it: what it was stays what the ledger says."""
    t.drop_rows(own_lake, 100, 101)
    t.put_rows(own_lake, {100: 0.9})
    t.run(own_lake, sa.update(schema.cursors).values(position=0))
    is_found(own_lake, "row_edited", 100, 100)
    assert t.append(own_lake) == 1  # the removal is told again
    is_found(own_lake, "row_edited", 100, 100)


def test_a_removed_row_leaves_its_entry(own_lake: Store) -> None:
    t.drop_rows(own_lake, 100, 102)
    report = t.verified(own_lake)
    assert report.verdict == "invalid"
    assert [t.placed(f) for f in report.findings] == [
        ("entry_without_row", 100, 100),
        ("entry_without_row", 101, 101),
    ]


def test_a_removed_row_is_not_about_to_be_recorded_because_the_appender_was_set_back(
    own_lake: Store,
) -> None:
    t.drop_rows(own_lake, 100, 101)
    t.run(own_lake, sa.update(schema.cursors).values(position=0))
    is_found(own_lake, "entry_without_row", 100, 100)


def test_a_row_put_in_has_no_entry(own_lake: Store) -> None:
    t.put_rows(own_lake, {400: 0.5})
    is_found(own_lake, "row_without_entry", None, 400)


def test_a_second_row_of_a_window_has_no_entry(own_lake: Store) -> None:
    t.put_rows(own_lake, {100: 0.5})
    is_found(own_lake, "row_without_entry", None, 100)


def test_a_row_brought_back_after_its_retention_has_no_entry_of_its_own(own_lake: Store) -> None:
    """The row that was recorded, put back into a day that was removed, is what the ledger says it was: nothing is hidden."""
    t.put_rows(own_lake, {t.EXPIRED: 0.5})
    assert t.verified(own_lake).verdict == "unwitnessed"
    t.put_rows(own_lake, {t.EXPIRED + 1: 0.9})
    is_found(own_lake, "row_edited", t.EXPIRED + 1, t.EXPIRED + 1)


def test_what_was_written_and_removed_since_is_pending(own_lake: Store) -> None:
    fw.write(own_lake, {60: 0.9}, fw.span(60, 61))
    fw.write(own_lake, dict.fromkeys(range(312, 320), 0.5), fw.span(312, 320))
    fw.expire(own_lake, 0)
    report = t.verified(own_lake)
    assert (report.verdict, report.n_pending) == ("unwitnessed", 1 + 8 + 24)
    assert t.append(own_lake) == 1 + 8 + 1 + 1
    report = t.verified(own_lake)
    assert (report.verdict, report.n_pending, report.n_expired) == ("unwitnessed", 0, 48)


# Rare entries


def removal(number: int, **changes: object) -> Leaf:
    content = {
        "seq": 9,
        "recorded_at": "2026-01-01T00:00:00Z",
        "from": "2026-01-03T00:00:00Z",
        "to": "2026-01-04T00:00:00Z",
        "n_rows": 24,
    }
    return RareEntry(t.FLEET, RETENTION, content | changes).at(number)


def test_a_forged_removal_is_unsigned(own_lake: Store) -> None:
    t.put_all(own_lake, [*t.leaves(own_lake), removal(t.LAST)])
    t.drop_rows(own_lake, 48, 72)
    is_found(own_lake, "unsigned", t.LAST, None)


@pytest.mark.parametrize(
    "changes",
    [
        {"from": None},
        {"from": "yesterday"},
        {"from": "2026-01-05T00:00:00Z"},
        {"to": "2026-01-03T00:00:00Z"},
        {"to": "2026-01-04"},
        {"to": 5},
    ],
)
def test_a_removal_that_says_nothing_is_malformed(store: Store, changes: dict[str, object]) -> None:
    t.put_all(store, [*t.leaves(store), removal(t.LAST, **changes)])
    t.sign_again(store, t.keys_of(store), extra=[t.LAST + 1])
    is_found(store, "malformed", t.LAST, None)


def hand_over(store: Store, content: dict[str, object], signers: Keys) -> None:
    """Append an entry that hands the log over, and sign it."""
    leaf = RareEntry(t.FLEET, "key_rotation", content).at(t.LAST)
    t.put_all(store, [*t.leaves(store), leaf])
    own = t.keys_of(store)
    t.sign_again(store, own)
    head = t.checkpoints_of(store)
    t.sign_again(store, signers, extra=[t.LAST + 1])
    for stored in head:
        t.put_note(store, stored.size, stored.content)


def test_a_rotation_that_the_old_keys_did_not_sign_is_refused(store: Store) -> None:
    own, thief, other = t.keys_of(store), new_keys(ORIGIN, KINDS), new_keys(ORIGIN, KINDS)
    content = dict(rotation_entry(t.FLEET, other, thief).content)
    content["old"] = [k.verifier.vkey for k in own]
    hand_over(store, content, thief)
    is_found(store, "bad_rotation", t.LAST, None)


def test_a_rotation_from_keys_that_are_not_the_logs_is_refused(store: Store) -> None:
    thief, other = new_keys(ORIGIN, KINDS), new_keys(ORIGIN, KINDS)
    hand_over(store, dict(rotation_entry(t.FLEET, other, thief).content), thief)
    is_found(store, "bad_rotation", t.LAST, None)


def test_a_rotation_of_another_fleet_is_refused(store: Store) -> None:
    own, new = t.keys_of(store), new_keys(ORIGIN, KINDS)
    hand_over(store, dict(rotation_entry("other", own, new).content), new)
    is_found(store, "bad_rotation", t.LAST, None)


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"old": [], "new": [], "signatures": []},
        {"old": [["x"]], "new": [{}], "signatures": [None, 5]},
        {"old": "x", "new": 5, "signatures": "AAAA"},
    ],
)
def test_a_rotation_that_says_nothing_is_refused(store: Store, content: dict[str, object]) -> None:
    hand_over(store, content, t.keys_of(store))
    is_found(store, "bad_rotation", t.LAST, None)


def test_an_altered_imprint_is_found_and_not_recorded(own_lake: Store) -> None:
    table = schema.imprints
    t.run(own_lake, sa.update(table).values(document='{"code_version":"0"}'))
    is_found(own_lake, "bad_imprint", 144, None)
    fw.write(own_lake, {320: 0.5}, fw.span(320, 321))
    with pytest.raises(LedgerError, match="not the one that its digest was taken of"):
        t.append(own_lake)
    assert t.log_of(own_lake).newest_checkpoint() is not None
    assert len(t.leaves(own_lake)) == t.LAST


# Files


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_keys_that_others_may_read_are_refused(store: Store, mode: int) -> None:
    t.pin_of(store).with_name("log.pem").chmod(mode)
    with pytest.raises(LedgerError, match=f"mode is {mode:04o}, expected 0600"):
        t.verified(store)
    with pytest.raises(LedgerError, match=f"mode is {mode:04o}, expected 0600"):
        t.append(store)


def test_a_folder_of_keys_that_others_may_enter_is_refused(store: Store) -> None:
    t.pin_of(store).parent.chmod(0o750)
    with pytest.raises(LedgerError, match="mode is 0750, expected 0700"):
        t.verified(store)


@pytest.mark.parametrize("content", [b"", b"nothing\n", b"\xff\n\n", b"a\n1\nb\n\n"])
def test_a_pin_that_is_none_is_refused(pinned: Store, content: bytes) -> None:
    t.pin_of(pinned).write_bytes(content)
    with pytest.raises(LedgerError, match="it is no checkpoint"):
        t.verified(pinned)
    assert t.pin_of(pinned).read_bytes() == content


def test_a_pin_of_another_ledger_is_told(pinned: Store) -> None:
    note = t.pin_of(pinned).read_text()
    t.pin_of(pinned).write_text(_other_origin(pinned, note))
    report = t.verified(pinned)
    assert (report.verdict, t.kinds(report)) == ("invalid", {"bad_pin"})
    assert report.first_bad is not None
    assert "of another ledger" in report.first_bad.problem


# Tiles


@pytest.mark.parametrize(
    ("level", "number", "first", "window"), [(0, 0, 0, 0), (0, 1, 256, 253), (1, 0, 0, 0)]
)
def test_a_damaged_tile_is_found(
    store: Store, level: int, number: int, first: int, window: int
) -> None:
    """Tiles follow from the entries, but proofs and the next root are made of them."""
    tiles = _tiles(store)
    for damaged in (b"\0" + tiles[level, number][1:], tiles[level, number][:-1], b""):
        _put_tiles(store, tiles | {(level, number): damaged})
        is_found(store, "bad_tile", first, window)
    _put_tiles(store, {k: v for k, v in tiles.items() if k != (level, number)})
    is_found(store, "bad_tile", first, window)


def test_a_tile_too_many_is_found(store: Store) -> None:
    _put_tiles(store, _tiles(store) | {(2, 0): bytes(32)})
    is_found(store, "bad_tile", None, None)


def _tiles(store: Store) -> dict[tuple[int, int], bytes]:
    return t.log_of(store).stored_tiles()


def _put_tiles(store: Store, tiles: dict[tuple[int, int], bytes]) -> None:
    rows = [
        {"fleet": t.FLEET, "level": level, "number": number, "hashes": hashes}
        for (level, number), hashes in tiles.items()
    ]
    with store.control.transaction() as tx:
        tx.execute(sa.delete(schema.ledger_tiles))
        tx.execute(sa.insert(schema.ledger_tiles), rows)


# Any byte


def test_any_flipped_byte_is_noticed(store: Store) -> None:
    _flip(store, n=16, seed=20_261_123)


@pytest.mark.slow
def test_many_flipped_bytes_are_noticed(store: Store) -> None:
    _flip(store, n=800, seed=7)


def _flip(store: Store, *, n: int, seed: int) -> None:
    """Flip one bit of one stored thing, again and again: a ledger that was valid never stays so."""
    rng, keys = np.random.default_rng(seed), [witness_key(kind=kind) for kind in WITNESS_KINDS]
    for i, key in enumerate(keys):
        vouch(store, SigningKey(f"w{i}.example", key.kind, key.private))
    named = [SigningKey(f"w{i}.example", key.kind, key.private) for i, key in enumerate(keys)]
    config = watched_by(*named)
    assert t.verified(store, config).verdict == "valid"
    things = (
        (schema.ledger_entries, "entry"),
        (schema.ledger_tiles, "hashes"),
        (schema.ledger_checkpoints, "note"),
        (schema.ledger_cosignatures, "line"),
    )
    for i in range(n):
        table, column = things[i % len(things)]
        _flip_one(store, config, table, column, rng)
    assert t.verified(store, config).verdict == "valid"


def _flip_one(
    store: Store, config: FleetConfig, table: sa.Table, column: str, rng: np.random.Generator
) -> None:
    keys = list(table.primary_key.columns)
    with store.control.reading() as tx:
        rows = tx.execute(sa.select(*keys, table.c[column])).all()
    row = rows[int(rng.integers(len(rows)))]
    before = row[-1]
    at = int(rng.integers(len(before)))
    bit = 1 << int(rng.integers(7))
    if isinstance(before, str):
        after: object = before[:at] + chr(ord(before[at]) ^ bit) + before[at + 1 :]
    else:
        after = before[:at] + bytes([before[at] ^ bit]) + before[at + 1 :]
    same = [c == value for c, value in zip(keys, row[:-1], strict=True)]
    t.run(store, sa.update(table).where(*same).values({column: after}))
    report = t.verified(store, config)
    expected = {"invalid", "unwitnessed"} if table is schema.ledger_cosignatures else {"invalid"}
    assert report.verdict in expected, (table.name, row[:-1], at, bit)
    t.run(store, sa.update(table).where(*same).values({column: before}))
