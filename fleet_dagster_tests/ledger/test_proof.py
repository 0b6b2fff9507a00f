from dataclasses import replace

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_dagster.ledger.merkle import leaf_hash
from fleet_dagster.ledger.note import Checkpoint, Note
from fleet_dagster.ledger.policy import Policy
from fleet_dagster.ledger.proof import HEADER, Proof, make_proof, verify
from fleet_dagster.ledger.signing import signed
from fleet_dagster.model.errors import LedgerError
from fleet_dagster.storage.control import schema
from fleet_dagster.storage.control.engine import Control
from fleet_dagster_tests.ledger import definition
from fleet_dagster_tests.ledger.keys import LOG, NOW, OLD_LOG, ORIGIN, WITNESSES, key
from fleet_dagster_tests.ledger.logs import entry, grow, log_of, vouch

W1, W2, W3 = WITNESSES
TRUSTED = Policy.parse(f"log {OLD_LOG.verifier.vkey}\nquorum none\n")
WITNESSED = Policy.parse(
    f"log {LOG.verifier.vkey}\nlog {OLD_LOG.verifier.vkey}\n"
    + "".join(f"witness {w.name} {w.verifier.vkey}\n" for w in WITNESSES)
    + f"group two 2 {' '.join(w.name for w in WITNESSES)}\nquorum two\n"
)
NOTE = signed(Checkpoint(ORIGIN, 1, leaf_hash(b"only")), [OLD_LOG], time=NOW)


def proof_of(index: int, size: int, policy_note: Note | None = None) -> Proof:
    """Return a proof straight from the definition."""
    every = [entry(number) for number in range(size)]
    note = policy_note or signed(
        Checkpoint(ORIGIN, size, definition.mth(every)), [OLD_LOG], time=NOW
    )
    return Proof(entry(index), index, tuple(definition.path(index, every)), note)


PROOFS = st.builds(
    Proof,
    st.none() | st.binary(max_size=50),
    st.integers(0, 10**19 - 1),
    st.lists(st.binary(min_size=32, max_size=32), max_size=63).map(tuple),
    st.just(NOTE),
)


@given(PROOFS)
def test_a_proof_that_is_written_is_read_as_it_was(proof: Proof) -> None:
    assert Proof.parse(proof.content) == proof
    assert Proof.parse(proof.content.encode()) == proof


@given(PROOFS, st.data())
def test_a_changed_proof_is_refused_or_is_written_as_it_was_read(
    proof: Proof, data: st.DataObject
) -> None:
    content = bytearray(proof.content.encode())
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        read = Proof.parse(bytes(content))
    except LedgerError:
        return
    assert read.content.encode() == content


def test_a_proof_is_written_as_the_specification_has_it() -> None:
    proof = proof_of(1, 3)
    lines = proof.content.split("\n")
    assert lines[:3] == ["c2sp.org/tlog-proof@v1", "extra ZW50cnkgMQ==", "index 1"]
    assert len(lines[3:5]) == len(proof.hashes)
    assert lines[5] == ""
    assert "\n".join(lines[6:]) == proof.note.content
    assert replace(proof, extra=None).content.split("\n")[1] == "index 1"


HASH = "gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ="


@pytest.mark.parametrize(
    ("proof", "problem"),
    [
        ("", "found no"),
        (f"{HEADER}\nindex 0\n", "found no"),
        (f"wrong\nindex 0\n\n{NOTE.content}", "found no"),
        (f"{HEADER}\n\n{NOTE.content}", "expected an index"),
        (f"{HEADER}\n\n\n{NOTE.content}", "expected an index"),
        (f"{HEADER}\nextra AAAA\n\n{NOTE.content}", "expected an index"),
        (f"{HEADER}\nextra\nindex 0\n\n{NOTE.content}", "expected an index"),
        (f"{HEADER}\nextra AAAA\nextra AAAA\nindex 0\n\n{NOTE.content}", "expected an index"),
        (f"{HEADER}\nindex 0\nextra AAAA\n\n{NOTE.content}", "expected base64"),
        (f"{HEADER}\nextra !!\nindex 0\n\n{NOTE.content}", "expected base64"),
        (f"{HEADER}\nextra AAAB=\nindex 0\n\n{NOTE.content}", "expected base64"),
        *(
            (f"{HEADER}\nindex {index}\n\n{NOTE.content}", "expected an index")
            for index in ("", "01", "-5", "+1", " 1", "1 ", "x", "0x1", "1" * 20)
        ),
        (f"{HEADER}\nindex 0\n{HASH[:-2]}B=\n\n{NOTE.content}", "expected base64"),
        (f"{HEADER}\nindex 0\nAAAA\n\n{NOTE.content}", "a hash has not 32 bytes"),
        (f"{HEADER}\nindex 0\n{HASH}{HASH}\n\n{NOTE.content}", "expected base64"),
        (f"{HEADER}\nindex 0\n {HASH}\n\n{NOTE.content}", "expected base64"),
        (f"{HEADER}\r\nindex 0\r\n\r\n{NOTE.content}", "found no"),
        (f"{HEADER}\nindex 0\r\n\n{NOTE.content}", "expected an index"),
        (f"{HEADER}\nindex 0\n" + f"{HASH}\n" * 64 + f"\n{NOTE.content}", "up to 63 hashes"),
        (f"{HEADER}\nindex 0\n\n{NOTE.text}", "found no blank line"),
        (f"{HEADER}\nindex 0\n\n{NOTE.content}\n", "its last line does not end|signature line"),
        (f"{HEADER}\nindex 0\n\n{NOTE.content}more", "its last line does not end"),
        (f"{HEADER}\nextra {'A' * (5 << 20)}\nindex 0\n\n{NOTE.content}", "more than"),
        (f"{HEADER}\nindex 0\n\n\udcff{NOTE.content}", "it is not UTF-8"),
    ],
    ids=range(32),
)
def test_what_departs_from_the_format_is_refused_in_words(proof: str, problem: str) -> None:
    with pytest.raises(LedgerError, match=problem):
        Proof.parse(proof)


def test_a_proof_shows_that_its_entry_is_in_the_log() -> None:
    found = verify(Proof.parse(proof_of(5, 9).content), None, TRUSTED)
    assert (found.entry, found.index) == (entry(5), 5)
    assert found.judgement.logs == (OLD_LOG.verifier,)
    assert found.judgement.checkpoint.size == 9


@settings(max_examples=30)
@given(st.data(), st.integers(1, 40))
def test_a_proof_of_anything_else_is_refused(data: st.DataObject, size: int) -> None:
    index = data.draw(st.integers(0, size - 1))
    good = proof_of(index, size)
    assert verify(good, None, TRUSTED).entry == entry(index)
    other = data.draw(st.integers(0, size).filter(lambda i: i != index))
    wrong = [
        replace(good, extra=entry(other)),
        replace(good, extra=b""),
        replace(good, index=other),
        replace(good, hashes=(*good.hashes, bytes(32))),
        replace(good, note=proof_of(0, size + 1).note),
        *([replace(good, hashes=good.hashes[:-1])] if size > 1 else []),
    ]
    for bad in wrong:
        with pytest.raises(LedgerError, match=f"is not number {bad.index} of the"):
            verify(bad, None, TRUSTED)


def test_an_entry_that_is_given_is_proven_whatever_the_proof_carries() -> None:
    good = proof_of(2, 4)
    for carried in (None, b"something", good.extra):
        assert verify(replace(good, extra=carried), entry(2), TRUSTED).entry == entry(2)
    with pytest.raises(LedgerError, match="is not number 2 of the 4"):
        verify(good, entry(1), TRUSTED)
    with pytest.raises(LedgerError, match="it carries no entry"):
        verify(replace(good, extra=None), None, TRUSTED)


def test_a_proof_needs_the_quorum_and_valid_signatures() -> None:
    good = proof_of(2, 4)
    text = good.note.text
    one = replace(good, note=good.note.signed_also(W1.sign(text, time=NOW)))
    two = replace(good, note=one.note.signed_also(W2.sign(text, time=NOW)))
    assert set(verify(two, None, WITNESSED).judgement.witnesses) == {W1.name, W2.name}
    with pytest.raises(LedgerError, match=r"w1\.example vouched .* not enough"):
        verify(one, None, WITNESSED)
    with pytest.raises(LedgerError, match="nobody vouched"):
        verify(good, None, WITNESSED)
    stranger = Policy.parse(f"log {key(ORIGIN, LOG.kind, 9).verifier.vkey}\nquorum none\n")
    with pytest.raises(LedgerError, match="no trusted log signed it"):
        verify(two, None, stranger)


def test_every_entry_of_a_log_can_be_proven_by_its_newest_checkpoint(control: Control) -> None:
    log = log_of(control)
    grow(log, 3, 300)
    for number in (0, 2, 255, 256, 299):
        proof = make_proof(log, number)
        assert proof.hashes == tuple(definition.path(number, [entry(n) for n in range(300)]))
        found = verify(Proof.parse(proof.content), None, TRUSTED)
        assert (found.entry, found.judgement.checkpoint.size) == (entry(number), 300)


def test_the_newest_checkpoint_with_a_quorum_is_taken_that_covers_the_entry(
    control: Control,
) -> None:
    log = log_of(control)
    grow(log, 2, 4, 6, 8)
    vouch(log, 2, W1, W2, W3)
    vouch(log, 4, W1, W3)
    vouch(log, 6, W2)
    sizes = {}
    for number in (0, 1, 3, 5):
        proof = make_proof(log, number, WITNESSED)
        sizes[number] = Checkpoint.parse(proof.note.text).size
    assert sizes == {0: 4, 1: 4, 3: 4, 5: 8}
    assert verify(make_proof(log, 3, WITNESSED), None, WITNESSED).entry == entry(3)
    newest = make_proof(log, 3)
    assert Checkpoint.parse(newest.note.text).size == 8
    vouch(log, 8, W1)
    assert [s.name for s in make_proof(log, 3).note.signatures] == [ORIGIN, ORIGIN, W1.name]


def test_what_is_not_there_cannot_be_proven(control: Control) -> None:
    log = log_of(control)
    with pytest.raises(LedgerError, match="there is no entry 0: the ledger has 0 entries"):
        make_proof(log, 0)
    grow(log, 2)
    for number in (2, -1):
        with pytest.raises(LedgerError, match=f"there is no entry {number}: the ledger has 2"):
            make_proof(log, number)
    with control.transaction() as tx:
        tx.execute(sa.delete(schema.ledger_checkpoints))
    with pytest.raises(LedgerError, match="no checkpoint covers entry 1"):
        make_proof(log, 1)


def test_no_proof_is_made_of_what_was_tampered_with(control: Control) -> None:
    log = log_of(control)
    grow(log, 5)
    rewritten = sa.update(schema.ledger_entries).where(schema.ledger_entries.c.number == 3)
    with control.transaction() as tx:
        tx.execute(rewritten.values(entry=b"rewritten"))
    with pytest.raises(LedgerError, match="entry 3 does not lead to the root that was signed"):
        make_proof(log, 3)
    assert verify(make_proof(log, 2), None, TRUSTED).entry == entry(2)
    with control.transaction() as tx:
        gone = schema.ledger_entries.c.number == 3
        tx.execute(sa.delete(schema.ledger_entries).where(gone))
    with pytest.raises(LedgerError, match="there is no entry 3: it should be there"):
        make_proof(log, 3)
