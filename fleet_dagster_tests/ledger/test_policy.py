from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_dagster.ledger.note import Note, Signature
from fleet_dagster.ledger.policy import NO_QUORUM, Group, Policy, policy_of
from fleet_dagster.ledger.signing import Kind, SigningKey
from fleet_dagster.model.errors import LedgerError
from fleet_dagster.model.ledger import LedgerSettings, LedgerWitness
from fleet_dagster_tests.ledger.keys import CHECKPOINT, LOG, NOW, OLD_LOG, ORIGIN, WITNESSES, key

W1, W2, W3 = WITNESSES
TEXT = CHECKPOINT.text
SIX = {
    name: key(f"{name.lower()}.example", Kind.ED25519_COSIGNATURE, 10 + number)
    for number, name in enumerate(("X1", "X2", "X3", "Y1", "Y2", "Y3"))
}
TWO_LEVELS = f"""
log {LOG.verifier.vkey}

witness X1 {SIX["X1"].verifier.vkey}
witness X2 {SIX["X2"].verifier.vkey}
witness X3 {SIX["X3"].verifier.vkey}
group X-witnesses 2 X1 X2 X3

witness Y1 {SIX["Y1"].verifier.vkey}
witness Y2 {SIX["Y2"].verifier.vkey}
witness Y3 {SIX["Y3"].verifier.vkey}
group Y-witnesses any Y1 Y2 Y3

group X-and-Y all X-witnesses Y-witnesses
quorum X-and-Y
"""
"""The example of c2sp.org/tlog-policy, section "Example policy", with keys."""
LINES = (
    f"log {LOG.verifier.vkey}\n"
    f"witness a {W1.verifier.vkey}\n"
    f"witness b {W2.verifier.vkey}\n"
    "group both all a b\n"
)


def note(*keys: SigningKey, text: str = TEXT, time: int = NOW) -> Note:
    return Note(text, tuple(k.sign(text, time=time) for k in keys))


def policy(*, quorum: int = 2, logs: Sequence[SigningKey] = (LOG, OLD_LOG)) -> Policy:
    """Return a policy with three witnesses, some of which have to vouch."""
    lines = [f"log {k.verifier.vkey}" for k in logs]
    lines += [f"witness {name} {k.verifier.vkey}" for name, k in zip("abc", WITNESSES, strict=True)]
    lines += [f"group some {quorum} a b c", "quorum some"]
    return Policy.parse("".join(f"{line}\n" for line in lines))


def spoilt(signature: Signature) -> Signature:
    return replace(signature, value=signature.value[:-1] + bytes([signature.value[-1] ^ 1]))


@pytest.mark.parametrize(
    ("vouched", "is_reached"),
    [
        (("X1", "X2", "Y1"), True),
        (("X2", "X3", "Y3"), True),
        (("X1", "X2", "X3", "Y1", "Y2", "Y3"), True),
        (("X1", "Y1"), False),
        (("X1", "X2", "X3"), False),
        (("X1", "Y1", "Y2", "Y3"), False),
        ((), False),
    ],
)
def test_the_example_of_the_specification_counts_groups_of_groups(
    vouched: tuple[str, ...], *, is_reached: bool
) -> None:
    found = Policy.parse(TWO_LEVELS).judged(note(LOG, *(SIX[name] for name in vouched)))
    assert found.has_quorum is is_reached
    assert found.witnesses == dict.fromkeys(vouched, NOW)
    assert found.logs == (LOG.verifier,)
    assert found.checkpoint == CHECKPOINT


def test_blanks_tabs_comments_and_addresses_may_stand_between() -> None:
    read = Policy.parse(
        f"# who\n\t \n  log\t {OLD_LOG.verifier.vkey} https://log.example/ \n"
        f" \t# more\nwitness a\t{W1.verifier.vkey}  https://w1.example/w\nquorum a\t\n"
    )
    assert read.logs == (OLD_LOG.verifier,)
    assert read.witnesses == {"a": W1.verifier}
    assert read.groups == {}
    assert read.quorum == "a"
    assert read.urls == {
        OLD_LOG.verifier: "https://log.example/",
        W1.verifier: "https://w1.example/w",
    }


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ("", "found no quorum"),
        (LINES, "found no quorum"),
        (f"{LINES}quorum both\nquorum a\n", "line 6: found a second quorum"),
        (f"{LINES}quorum none\nquorum none\n", "second quorum"),
        (f"{LINES}quorum c\n", "nothing before it is called 'c'"),
        (f"quorum both\n{LINES}", "nothing before it is called 'both'"),
        (f"{LINES}quorum both", "its last line does not end"),
        (f"{LINES}quorum both extra\n", "found 2 items, expected quorum NAME"),
        (f"{LINES}quorum\n", "found 0 items"),
        (f"{LINES}group c any a\nquorum c\n", "'a' is a member twice"),
        (f"log {LOG.verifier.vkey} u v\nquorum none\n", "found 3 items, expected log"),
        (f"log {LOG.verifier.vkey}\nlog {LOG.verifier.vkey}\nquorum none\n", "is there twice"),
        (f"{LINES}witness c {W1.verifier.vkey}\nquorum both\n", "a witness counts once"),
        (
            f"{LINES}witness c {key('other', Kind.ED25519_COSIGNATURE, 1).verifier.vkey}\nquorum a\n",
            "the key of 'other' is there twice",
        ),
        (f"{LINES}witness both {W3.verifier.vkey}\nquorum both\n", "the name 'both' is taken"),
        (f"{LINES}witness a {W3.verifier.vkey}\nquorum both\n", "the name 'a' is taken"),
        (f"witness none {W3.verifier.vkey}\nquorum none\n", "the name 'none' is taken"),
        (f"witness a {W3.verifier.vkey}\ngroup none any a\nquorum none\n", "'none' is taken"),
        (f"witness a {W3.verifier.vkey}\ngroup g any none\nquorum g\n", "is called 'none'"),
        (f"witness a {W3.verifier.vkey}\ngroup g any g\nquorum g\n", "is called 'g'"),
        (f"witness a {W3.verifier.vkey}\ngroup g any a a\nquorum g\n", "'a' is a member twice"),
        (f"witness a {W3.verifier.vkey}\ngroup g any\nquorum g\n", "found 2 items"),
        *(
            (f"witness a {W3.verifier.vkey}\ngroup g {count} a\nquorum g\n", f"found {count!r}")
            for count in (
                "0",
                "2",
                "01",
                "-1",
                "+1",
                "ALL",
                "none",
                "1.0",
                "\N{ARABIC-INDIC DIGIT ONE}",
            )
        ),
        (f"witness a {OLD_LOG.verifier.vkey}\nquorum a\n", "has the type 0x01, expected 0x04"),
        (f"log {W1.verifier.vkey}\nquorum none\n", "has the type 0x04, expected 0x01"),
        ("log nothing\nquorum none\n", "found no name, ID and key"),
        ("logs x\nquorum none\n", "line 1: found 'logs', expected one of log, witness"),
        ("Quorum none\n", "found 'Quorum'"),
        ("\N{NO-BREAK SPACE}quorum none\n", "expected one of log"),
        ("quorum none\r\n", "control character"),
        ("quorum none\x0b\n", "control character"),
        ("quorum none\x7f\n", "control character"),
        ("# \x00\nquorum none\n", "control character"),
        (
            f"log {LOG.verifier.vkey} https://a\nwitness w {LOG.verifier.vkey} https://b\nquorum w\n",
            "two addresses",
        ),
    ],
)
def test_what_is_no_policy_is_refused_in_words(lines: str, problem: str) -> None:
    with pytest.raises(LedgerError) as error:
        Policy.parse(lines)
    assert problem in str(error.value)


def test_names_are_bytes_and_need_not_be_text() -> None:
    lines = (
        b"witness \xff\xfe " + W1.verifier.vkey.encode() + b"\n"
        b"witness \xe2\x84\xaa " + W2.verifier.vkey.encode() + b"\n"
        b"witness K " + W3.verifier.vkey.encode() + b" https://\xff/\n"
        b"group g 2 \xff\xfe \xe2\x84\xaa\nquorum g\n"
    )
    read = Policy.parse(lines)
    assert list(read.witnesses) == ["\udcff\udcfe", "\N{KELVIN SIGN}", "K"]
    assert read.text.encode("utf-8", "surrogateescape") == lines
    assert Policy.parse(read.text) == read


def test_a_key_whose_name_is_no_text_is_refused() -> None:
    vkey = W1.verifier.vkey.encode().replace(b"w1", b"w\xff")
    with pytest.raises(LedgerError, match="found no name, ID and key"):
        Policy.parse(b"witness a " + vkey + b"\nquorum a\n")


WORDS = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc"], exclude_characters=" \x7f"),
    min_size=1,
    max_size=8,
).filter(lambda word: word != NO_QUORUM)


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """Any policy, with groups of groups."""
    names = draw(st.lists(WORDS, min_size=2, max_size=9, unique=True))
    n_witnesses = draw(st.integers(0, min(6, len(names) - 1)))
    keys = [one.verifier for one in SIX.values()]
    witnesses = dict(zip(names[:n_witnesses], keys, strict=False))
    free, groups = list(witnesses), {}
    for name in names[n_witnesses:]:
        members = draw(st.lists(st.sampled_from(free), min_size=1, unique=True)) if free else []
        if members:
            needed = draw(st.integers(1, len(members)))
            groups[name] = Group(name, needed, tuple(members))
            free = [one for one in free if one not in members] + [name]
    logs = draw(st.lists(st.sampled_from([LOG.verifier, OLD_LOG.verifier]), unique=True))
    urls = (
        draw(st.dictionaries(st.sampled_from([*logs, *keys[:n_witnesses]]), WORDS)) if logs else {}
    )
    quorum = draw(st.sampled_from([NO_QUORUM, *witnesses, *groups]))
    return Policy(tuple(logs), witnesses, groups, quorum, urls)


@given(policies())
def test_a_policy_that_is_written_is_read_as_it_was(written: Policy) -> None:
    read = Policy.parse(written.text)
    assert read == written
    assert read.text == written.text
    assert list(read.groups) == list(written.groups)


def reached(name: str, policy: Policy, vouched: set[str]) -> bool:
    """Tell by the definition whether a witness or a group vouched."""
    if name not in policy.groups:
        return name in vouched
    group = policy.groups[name]
    return sum(reached(member, policy, vouched) for member in group.members) >= group.needed


@given(policies(), st.sets(st.sampled_from(list(SIX.values()))))
def test_a_quorum_is_reached_as_it_is_defined(written: Policy, signers: set[SigningKey]) -> None:
    trusting = replace(written, logs=(OLD_LOG.verifier,))
    found = trusting.judged(note(OLD_LOG, *signers))
    keys = {one.verifier for one in signers}
    vouched = {name for name, k in written.witnesses.items() if k in keys}
    assert set(found.witnesses) == vouched
    assert found.has_quorum is (
        written.quorum == NO_QUORUM or reached(written.quorum, written, vouched)
    )


def test_a_judgement_says_which_keys_of_the_log_signed_and_when_each_witness_did() -> None:
    signed = note(LOG, W1).signed_also(W2.sign(TEXT, time=NOW + 60), OLD_LOG.sign(TEXT, time=NOW))
    found = policy().judged(signed)
    assert found.logs == (LOG.verifier, OLD_LOG.verifier)
    assert found.witnesses == {"a": NOW, "b": NOW + 60}
    assert found.has_quorum


def test_a_witness_that_vouches_twice_counts_once_with_its_last_time() -> None:
    signed = note(LOG, W1).signed_also(*(W1.sign(TEXT, time=NOW + t) for t in (60, 30)))
    found = policy().judged(signed)
    assert found.witnesses == {"a": NOW + 60}
    assert not found.has_quorum


@pytest.mark.parametrize("signer", [LOG, OLD_LOG, *WITNESSES], ids=lambda k: f"{k.name}-{k.kind}")
def test_a_signature_of_a_known_key_that_is_not_valid_makes_the_note_refused(
    signer: SigningKey,
) -> None:
    good = note(LOG, *WITNESSES)
    bad = good.signed_also(spoilt(signer.sign(TEXT, time=NOW)))
    assert policy().judged(good).has_quorum
    with pytest.raises(LedgerError) as error:
        policy().judged(bad)
    assert f"signature of {signer.name}+{signer.verifier.key_id.hex()} is not valid" in str(
        error.value
    )


def test_signatures_of_unknown_keys_mean_nothing_even_under_a_known_name() -> None:
    stranger = key("w3.example", Kind.ED25519_COSIGNATURE, 99).sign(TEXT, time=NOW)
    nonsense = Signature(W3.name, b"\0\0\0\0", b"nonsense")
    borrowed = Signature("somebody.example", W3.verifier.key_id, b"nonsense")
    found = policy().judged(note(LOG, W1).signed_also(stranger, nonsense, borrowed))
    assert found.witnesses == {"a": NOW}
    assert not found.has_quorum


def test_a_cosignature_of_another_checkpoint_is_refused() -> None:
    other = replace(CHECKPOINT, size=8).text
    with pytest.raises(LedgerError, match=r"signature of w1\.example"):
        policy().judged(note(LOG).signed_also(W1.sign(other, time=NOW)))


def test_what_no_trusted_log_signed_is_refused() -> None:
    with pytest.raises(LedgerError, match="no trusted log signed it"):
        policy().judged(note(*WITNESSES))
    with pytest.raises(LedgerError, match="no trusted log signed it"):
        policy(logs=[OLD_LOG]).judged(note(LOG, *WITNESSES))


def test_a_policy_without_logs_judges_nothing() -> None:
    with pytest.raises(LedgerError, match="trusts no log"):
        policy(logs=[]).judged(note(LOG, *WITNESSES))


def test_a_checkpoint_of_another_name_than_the_logs_is_refused() -> None:
    stranger = key("example.com/fleet/south", Kind.MLDSA44_COSIGNATURE, 4)
    with pytest.raises(LedgerError, match=r"'example.com/fleet/south' signed it"):
        policy(logs=[LOG, stranger]).judged(note(stranger))
    with pytest.raises(LedgerError, match=r"'example.com/fleet/south' signed it"):
        policy(logs=[LOG, stranger]).judged(note(LOG, stranger))


def test_one_log_of_several_is_enough() -> None:
    other = key("example.com/fleet/south", Kind.MLDSA44_COSIGNATURE, 4)
    assert policy(logs=[other, LOG], quorum=1).judged(note(LOG, W3)).has_quorum


@pytest.mark.parametrize(
    "listed",
    [
        LOG,
        key(ORIGIN, Kind.MLDSA44_COSIGNATURE, 77),
        key("honest.example", Kind.MLDSA44_COSIGNATURE),
        key("honest.example", Kind.ED25519_COSIGNATURE),
    ],
    ids=["its key", "its name", "its key as another", "its old key as another"],
)
def test_a_log_is_no_witness_of_itself(listed: SigningKey) -> None:
    trusting = Policy.parse(
        f"log {LOG.verifier.vkey}\nlog {OLD_LOG.verifier.vkey}\n"
        f"witness honest {listed.verifier.vkey}\nquorum honest\n"
    )
    found = trusting.judged(note(LOG).signed_also(listed.sign(TEXT, time=NOW)))
    assert found.logs == (LOG.verifier,)
    assert found.witnesses == {}
    assert not found.has_quorum


def test_extension_lines_are_refused() -> None:
    text = f"{TEXT}more\n"
    signed = Note(text, (OLD_LOG.sign(text, time=NOW),))
    with pytest.raises(LedgerError, match="extension line 'more'"):
        policy().judged(signed)


def test_a_note_that_is_no_checkpoint_is_refused() -> None:
    text = "good morning\n"
    with pytest.raises(LedgerError, match="expected origin, size and root"):
        policy().judged(Note(text, (OLD_LOG.sign(text, time=NOW),)))


def settings(*witnesses: SigningKey, quorum: int = 0) -> LedgerSettings:
    named = tuple(
        LedgerWitness(name=w.name, url=f"https://{w.name}/w", key=w.verifier.vkey)
        for w in witnesses
    )
    return LedgerSettings(origin=ORIGIN, witnesses=named, quorum=quorum)


@pytest.mark.parametrize(("quorum", "needed"), [(0, 2), (1, 1), (3, 3)])
def test_the_settings_ask_for_some_of_their_witnesses(quorum: int, needed: int) -> None:
    read = policy_of([LOG.verifier], settings(*WITNESSES, quorum=quorum))
    enough, too_few = WITNESSES[:needed], WITNESSES[: needed - 1]
    assert read.judged(note(LOG, *enough)).has_quorum
    assert not read.judged(note(LOG, *too_few)).has_quorum
    assert read.urls[W1.verifier] == "https://w1.example/w"
    assert Policy.parse(read.text) == read


def test_settings_without_witnesses_ask_for_nobody() -> None:
    read = policy_of([LOG.verifier, OLD_LOG.verifier], settings())
    assert read.quorum == NO_QUORUM
    assert read.judged(note(OLD_LOG)).has_quorum


def test_settings_with_a_broken_key_are_refused_in_words() -> None:
    broken = LedgerWitness(name="w1.example", url="https://w1", key="w1.example+00000000+AAAA")
    with pytest.raises(LedgerError, match="policy of the settings, line 2"):
        policy_of([LOG.verifier], LedgerSettings(witnesses=(broken,)))


@pytest.mark.parametrize(
    ("quorum", "n"),
    [("none", 0), ("X1", 1), ("X-witnesses", 2), ("Y-witnesses", 1), ("X-and-Y", 3)],
)
def test_a_policy_tells_how_many_witnesses_it_needs(quorum: str, n: int) -> None:
    parsed = Policy.parse(TWO_LEVELS.replace("quorum X-and-Y", f"quorum {quorum}"))
    assert parsed.n_needed == n
