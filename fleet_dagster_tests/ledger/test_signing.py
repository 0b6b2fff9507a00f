import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet_dagster.ledger.note import Checkpoint, Note, Signature
from fleet_dagster.ledger.signing import Kind, SigningKey, VerifierKey, signed, time_of
from fleet_dagster.model.errors import LedgerError
from fleet_dagster_tests.ledger.keys import CHECKPOINT, NOW, ORIGIN, key

VECTORS = Path(__file__).parent / "vectors"
TEXT = CHECKPOINT.text
KINDS = list(Kind)
NOTES = {
    "golang.org/x/mod, package sumdb/note": (
        "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        (
            "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n"
            "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
        ),
    ),
    "c2sp.org/signed-note, section Verifier keys": (
        "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        (
            "This is an example message.\n\n"
            "— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
        ),
    ),
    "c2sp.org/tlog-checkpoint, whose example the Go checksum database signed": (
        "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8",
        (
            "go.sum database tree\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
            "— sum.golang.org Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
        ),
    ),
}
"""Keys and notes that were published, by where."""


def vector(name: str) -> dict[str, Any]:  # Any: JSON
    found: dict[str, Any] = json.loads((VECTORS / f"{name}.json").read_text())
    return found


def published() -> list[tuple[VerifierKey, Note]]:
    """Return every published key with a note that it signed."""
    pairs = list(NOTES.values())
    for name in ("litewitness", "arche", "markovian"):
        case = vector(name)
        pairs += [(vkey, case["note"]) for vkey in case["vkeys"]]
    return [(VerifierKey.parse(vkey), Note.parse(note)) for vkey, note in pairs]


PUBLISHED = published()
IDS = [f"{key.name}-{key.kind:#04x}" for key, _ in PUBLISHED]


def by(verifier: VerifierKey, note: Note) -> Signature:
    (found,) = (s for s in note.signatures if verifier.made(s))
    return found


def test_what_others_signed_is_of_every_kind() -> None:
    assert {verifier.kind for verifier, _ in PUBLISHED} == set(Kind)
    assert sum(verifier.kind is Kind.ED25519_COSIGNATURE for verifier, _ in PUBLISHED) == 4
    assert sum(verifier.kind is Kind.MLDSA44_COSIGNATURE for verifier, _ in PUBLISHED) == 2


@pytest.mark.parametrize(("verifier", "note"), PUBLISHED, ids=IDS)
def test_what_others_signed_is_valid(verifier: VerifierKey, note: Note) -> None:
    assert verifier.verifies(note.text, by(verifier, note))


@pytest.mark.parametrize(("verifier", "note"), PUBLISHED, ids=IDS)
def test_what_others_signed_is_not_valid_with_any_byte_of_the_text_changed(
    verifier: VerifierKey, note: Note
) -> None:
    signature, text = by(verifier, note), note.text
    for at, letter in enumerate(text):
        for other in {chr(ord(letter) ^ 1), chr(ord(letter) ^ 2), "", f"{letter}{letter}", "\n"}:
            changed = text[:at] + other + text[at + 1 :]
            if changed != text:
                assert not verifier.verifies(changed, signature), (at, other)
    assert not verifier.verifies(f"{text}more\n", signature)
    assert not verifier.verifies("", signature)


@pytest.mark.parametrize(("verifier", "note"), PUBLISHED, ids=IDS)
def test_what_others_signed_is_not_valid_with_a_bit_of_the_signature_changed(
    verifier: VerifierKey, note: Note
) -> None:
    good = by(verifier, note)
    n_bits = len(good.value) * 8
    for bit in range(0, n_bits, 1 if n_bits < 1000 else 61):
        byte, mask = bit // 8, 1 << bit % 8
        value = good.value[:byte] + bytes([good.value[byte] ^ mask]) + good.value[byte + 1 :]
        assert not verifier.verifies(note.text, Signature(good.name, good.key_id, value)), bit
    for value in (good.value[:-1], good.value + b"\0", b"\0", good.value[8:], b"\0" * 8):
        assert not verifier.verifies(note.text, Signature(good.name, good.key_id, value))


@pytest.mark.parametrize(("verifier", "note"), PUBLISHED, ids=IDS)
def test_a_key_is_written_as_it_was_read(verifier: VerifierKey, note: Note) -> None:
    assert VerifierKey.parse(verifier.vkey) == verifier
    assert by(verifier, note).name == verifier.name


def test_times_of_cosignatures_are_those_of_the_witnesses() -> None:
    note = Note.parse(vector("arche")["note"])
    times = {s.name: time_of(s) for s in note.signatures if len(s.value) == 72}
    assert set(times.values()) == {0x6A122120}
    assert len(times) == 4


@pytest.mark.parametrize("case", vector("mldsa44")["cases"], ids=lambda case: case["count"])
def test_known_answers_of_ml_dsa_44(case: dict[str, str]) -> None:
    pk, msg, ctx, sig = (bytes.fromhex(case[name]) for name in ("pk", "msg", "ctx", "sig"))
    public = MLDSA44PublicKey.from_public_bytes(pk)
    public.verify(sig, msg, ctx)
    for at in (0, 31, 32, 1200, 2335, 2336, 2415, 2416, 2419):
        with pytest.raises(InvalidSignature):
            public.verify(sig[:at] + bytes([sig[at] ^ 1]) + sig[at + 1 :], msg, ctx)
    for wrong in ((msg[:-1], ctx), (msg, b""), (msg + b"\0", ctx), (msg, ctx[:-1])):
        with pytest.raises(InvalidSignature):
            public.verify(sig, *wrong)
    for changed in (sig[:-1], sig + b"\0", b""):
        with pytest.raises(InvalidSignature):
            public.verify(changed, msg, ctx)


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_key_signs_its_public_half_verifies_and_no_other_key_does(kind: Kind) -> None:
    signer = key(ORIGIN, kind)
    signature = signer.sign(TEXT, time=NOW)
    assert signer.verifier.made(signature)
    assert signer.verifier.verifies(TEXT, signature)
    for other in (key(ORIGIN, kind, 1), *(key(ORIGIN, k) for k in KINDS if k != kind)):
        assert not other.verifier.made(signature)
        assert not other.verifier.verifies(TEXT, signature)


def test_a_note_is_signed_with_each_key() -> None:
    keys = [key(ORIGIN, kind) for kind in KINDS]
    note = signed(CHECKPOINT, keys, time=NOW)
    assert Note.parse(note.content) == note
    assert [k.verifier.made(s) for k, s in zip(keys, note.signatures, strict=True)] == [True] * 3
    assert all(
        k.verifier.verifies(note.text, s) for k, s in zip(keys, note.signatures, strict=True)
    )
    assert [time_of(s) for s in note.signatures[1:]] == [NOW, NOW]


@pytest.mark.parametrize("kind", [Kind.ED25519_COSIGNATURE, Kind.MLDSA44_COSIGNATURE])
def test_the_time_is_signed(kind: Kind) -> None:
    signer = key(ORIGIN, kind)
    good = signer.sign(TEXT, time=NOW)
    later = Signature(good.name, good.key_id, (NOW + 1).to_bytes(8, "big") + good.value[8:])
    assert not signer.verifier.verifies(TEXT, later)


@pytest.mark.parametrize("kind", [Kind.ED25519_COSIGNATURE, Kind.MLDSA44_COSIGNATURE])
@pytest.mark.parametrize(("time", "is_valid"), [(0, True), (2**63 - 1, True), (2**63, False)])
def test_a_time_has_63_bits(kind: Kind, time: int, *, is_valid: bool) -> None:
    signer = key(ORIGIN, kind)
    assert signer.verifier.verifies(TEXT, signer.sign(TEXT, time=time)) is is_valid


def test_ml_dsa_signs_the_name_of_the_signer_and_ed25519_does_not() -> None:
    for kind, is_bound in ((Kind.MLDSA44_COSIGNATURE, True), (Kind.ED25519_COSIGNATURE, False)):
        one, other = key("one.example", kind), key("other.example", kind)
        made = one.sign(TEXT, time=NOW)
        renamed = Signature(other.name, other.verifier.key_id, made.value)
        assert other.verifier.verifies(TEXT, renamed) is not is_bound


def test_ml_dsa_signs_no_extension_lines_and_nothing_else_than_checkpoints() -> None:
    signer = key(ORIGIN, Kind.MLDSA44_COSIGNATURE)
    good = signer.sign(TEXT, time=NOW)
    assert not signer.verifier.verifies(f"{TEXT}more\n", good)
    with pytest.raises(LedgerError, match="1 extension lines"):
        signer.sign(f"{TEXT}more\n", time=NOW)
    with pytest.raises(LedgerError, match="expected origin, size and root"):
        signer.sign("good morning\n", time=NOW)


def test_ml_dsa_signs_names_of_up_to_255_bytes() -> None:
    longest, too_long = "ü" * 127 + "x", "ü" * 128
    for name, origin in ((longest, ORIGIN), (ORIGIN, longest)):
        text = Checkpoint(origin, 7, CHECKPOINT.root).text
        signer = key(name, Kind.MLDSA44_COSIGNATURE)
        assert signer.verifier.verifies(text, signer.sign(text, time=NOW))
    for name, origin in ((too_long, ORIGIN), (ORIGIN, too_long)):
        text = Checkpoint(origin, 7, CHECKPOINT.root).text
        signer = key(name, Kind.MLDSA44_COSIGNATURE)
        assert not signer.verifier.verifies(text, key(ORIGIN, signer.kind).sign(TEXT, time=NOW))
        with pytest.raises(LedgerError, match="it has 256 bytes, expected up to 255"):
            signer.sign(text, time=NOW)


@settings(max_examples=20)
@given(
    st.sampled_from(KINDS),
    st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=30),
)
def test_a_key_of_any_name_is_written_as_it_was_read(kind: Kind, name: str) -> None:
    verifier = key(name.replace("+", "-"), kind).verifier
    assert VerifierKey.parse(verifier.vkey) == verifier


GOOD = key("a.example", Kind.ED25519).verifier.vkey


@pytest.mark.parametrize(
    ("vkey", "problem"),
    [
        ("", "found no name, ID and key"),
        ("a.example", "found no name, ID and key"),
        ("a.example+00000000", "found no name, ID and key"),
        ("a.example+00000000+", "found no name, ID and key"),
        (f"+{GOOD}", "found no name, ID and key"),
        (f"a {GOOD}", "found no name, ID and key"),
        (f"a\N{NO-BREAK SPACE}{GOOD}", "found no name, ID and key"),
        (f"a\x01{GOOD}", "found no name, ID and key"),
        (f"\udcff{GOOD}", "found no name, ID and key"),
        (f"b{GOOD}", "its ID is"),
        (GOOD.replace("+A", "+B", 1), "expected 0x01, 0x04, 0x06"),
        (f"{GOOD}\n", "expected base64"),
        (f"{GOOD} ", "expected base64"),
        (f"{GOOD}+", "expected base64"),
        ("a.example+00000000+AQ==", "it has 0 bytes, expected 32"),
        ("a.example+00000000+BgAA", "it has 2 bytes, expected 1312"),
        ("a.example+00000000+====", "expected base64"),
    ],
)
def test_what_is_no_key_is_refused_in_words(vkey: str, problem: str) -> None:
    with pytest.raises(LedgerError, match=problem):
        VerifierKey.parse(vkey)


def test_a_key_never_shows_its_private_half() -> None:
    for kind in KINDS:
        signer = key(ORIGIN, kind)
        assert isinstance(signer, SigningKey)
        secret = signer.private.private_bytes_raw()
        for shown in (repr(signer), str(signer), f"{signer}"):
            assert secret.hex() not in shown
            assert repr(secret) not in shown
