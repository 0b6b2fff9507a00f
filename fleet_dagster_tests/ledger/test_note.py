import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_dagster.ledger.note import (
    MAX_BYTES,
    MAX_SIGNATURES,
    Checkpoint,
    Note,
    Signature,
    parse_signatures,
)
from fleet_dagster.model.errors import LedgerError

POEM = """Ognuno sta solo sul cuor della terra
trafitto da un raggio di sole:

ed è subito sera.

— quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=
"""
"""The example of c2sp.org/signed-note, section "Note": a text with an empty line."""
COSIGNED = """example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==
"""
"""The example of c2sp.org/tlog-cosignature, section "Introduction"."""
LINE = "— a.example AAAAAAA=\n"
ROOT = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="

LETTERS = st.characters(codec="utf-8", exclude_categories=["Cc"])
TEXTS = st.lists(st.text(LETTERS, max_size=9), min_size=1).map(
    lambda lines: "\n".join(lines) + "\n"
)
NAMES = st.text(LETTERS, min_size=1, max_size=9).filter(
    lambda name: "+" not in name and not any(c.isspace() for c in name)
)
SIGNATURES = st.builds(
    Signature, NAMES, st.binary(min_size=4, max_size=4), st.binary(min_size=1, max_size=80)
)
NOTES = st.builds(Note, TEXTS, st.lists(SIGNATURES, min_size=1, max_size=5).map(tuple))


def test_a_text_may_have_empty_lines() -> None:
    read = Note.parse(POEM)
    assert read.text == POEM[: POEM.index("\n—")]
    assert read.text.count("\n") == 4
    (signature,) = read.signatures
    assert (signature.name, signature.key_id.hex()) == ("quasimodo.example/salvatore", "367ba04b")
    assert len(signature.value) == 64
    assert read.content == POEM
    assert Note.parse(POEM.encode()) == read


def test_a_cosigned_checkpoint_has_both_signatures() -> None:
    read = Note.parse(COSIGNED)
    checkpoint = Checkpoint.parse(read.text)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20852163)
    assert checkpoint.root.hex()[:8] == "0ac5186a"
    assert checkpoint.extensions == ()
    assert checkpoint.text == read.text
    names = [(s.name, s.key_id.hex(), len(s.value)) for s in read.signatures]
    assert names == [
        ("example.com/behind-the-sofa", "033de0ae", 64),
        ("witness.example.com/w1", "8d66cf3f", 72),
    ]


@given(NOTES)
def test_a_note_that_is_written_is_read_as_it_was(note: Note) -> None:
    assert Note.parse(note.content) == note
    assert Note.parse(note.content.encode()) == note
    assert parse_signatures("".join(s.line for s in note.signatures)) == note.signatures


@given(NOTES, st.data())
def test_a_changed_note_is_refused_or_is_written_as_it_was_read(
    note: Note, data: st.DataObject
) -> None:
    """No two contents are the same note, so what is stored and passed on cannot differ from what was verified."""
    content = bytearray(note.content.encode())
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        read = Note.parse(bytes(content))
    except LedgerError:
        return
    assert read.content.encode() == content


@pytest.mark.parametrize(
    ("note", "problem"),
    [
        ("", "no blank line"),
        ("text\n", "no blank line"),
        (f"text\n{LINE}", "no blank line"),
        (f"\n{LINE}", "no blank line"),
        ("text\n\n", "its last line does not end"),
        (f"text\n\n{LINE}"[:-1], "its last line does not end"),
        (f"text\n\n{LINE}\n", "its last line does not end"),
        (f"text\n\n{LINE}and more\n", "found the signature line 'and more'"),
        (f"text\r\n\r\n{LINE}", "control character"),
        (f"text\n\n{LINE}".replace("\n", "\r\n"), "control character"),
        (f"text\n\n{LINE[:-1]}\r\n", "control character"),
        *((f"te{chr(code)}xt\n\n{LINE}", "control character") for code in (0, 9, 11, 12, 27, 31)),
        ("text\n\n- a.example AAAAAAA=\n", "found the signature line"),
        ("text\n\n—a.example AAAAAAA=\n", "found the signature line"),
        ("text\n\n—  a.example AAAAAAA=\n", "found the signature line"),
        ("text\n\n— a.example  AAAAAAA=\n", "found the signature line"),
        ("text\n\n— a.example AAAAAAA= \n", "found the signature line"),
        ("text\n\n— a.example\n", "found the signature line"),
        ("text\n\n— a.example \n", "found the signature line"),
        ("text\n\n— AAAAAAA=\n", "found the signature line"),
        ("text\n\n— a+b AAAAAAA=\n", "found the signature line"),
        ("text\n\n— a\N{NO-BREAK SPACE}b AAAAAAA=\n", "found the signature line"),
        ("text\n\n— a\N{LINE SEPARATOR}b AAAAAAA=\n", "found the signature line"),
        ("text\n\n— a\x85b AAAAAAA=\n", "found the signature line"),
        ("text\n\n— a b AAAAAAA=\n", "found the signature line"),
        ("text\n\n— a.example AAAA-AA=\n", "found the signature line"),
        ("text\n\n— a.example AAAAAAB=\n", "expected base64"),
        ("text\n\n— a.example AAAAAAA\n", "expected base64"),
        ("text\n\n— a.example AAAAAAA==\n", "expected base64"),
        ("text\n\n— a.example AAAA=AAA\n", "found the signature line"),
        ("text\n\n— a.example AAAAAA==\n", "signature of a.example is empty"),
        ("text\n\n— a.example AAAA\n", "signature of a.example is empty"),
        ("te\udcffxt\n\n" + LINE, "it is not UTF-8"),
    ],
)
def test_what_departs_from_the_format_is_refused_in_words(note: str, problem: str) -> None:
    with pytest.raises(LedgerError, match=problem):
        Note.parse(note)


@pytest.mark.parametrize("bad", [b"\xff", b"\xed\xa0\x80", b"\xc0\xaf", b"\xc3"])
def test_what_is_not_utf8_is_refused(bad: bytes) -> None:
    with pytest.raises(LedgerError, match="it is not UTF-8"):
        Note.parse(b"te" + bad + b"xt\n\n" + LINE.encode())


def test_a_note_has_at_most_so_many_signatures() -> None:
    assert len(Note.parse("text\n\n" + LINE * MAX_SIGNATURES).signatures) == 100
    with pytest.raises(LedgerError, match="found 101 signature lines, expected 1 to 100"):
        Note.parse("text\n\n" + LINE * (MAX_SIGNATURES + 1))
    with pytest.raises(LedgerError, match="found 0 signature lines"):
        parse_signatures("")


def test_a_note_has_at_most_a_mebibyte_however_many_bytes_a_letter_has() -> None:
    end = f"\n\n{LINE}"
    room = MAX_BYTES - len(end.encode())
    assert len(Note.parse("x" * room + end).text) == room + 1
    for text in ("x" * (room + 1), "è" * (room // 2 + 1)):
        for note in (text + end, (text + end).encode()):
            with pytest.raises(LedgerError, match="more than 1048576 bytes"):
                Note.parse(note)


def test_a_signature_that_is_there_already_is_not_added() -> None:
    note = Note.parse(COSIGNED)
    log, witness = note.signatures
    other = Signature("w2.example", b"\1\2\3\4", b"value")
    assert note.signed_also(witness, log) == note
    assert note.signed_also(other, witness).signatures == (log, witness, other)
    assert Note(note.text, (log,)).signed_also(witness) == note


def test_a_note_may_repeat_a_line() -> None:
    note = f"text\n\n{LINE}{LINE}"
    assert len(Note.parse(note).signatures) == 2
    assert Note.parse(note).content == note


CHECKPOINTS = st.builds(
    Checkpoint,
    st.text(LETTERS, min_size=1, max_size=30),
    st.integers(0, 10**19 - 1),
    st.binary(min_size=32, max_size=32),
    st.lists(st.text(LETTERS, min_size=1, max_size=9), max_size=2).map(tuple),
)


@given(CHECKPOINTS)
def test_a_checkpoint_that_is_written_is_read_as_it_was(checkpoint: Checkpoint) -> None:
    assert Checkpoint.parse(checkpoint.text) == checkpoint


@given(CHECKPOINTS, st.data())
def test_a_changed_checkpoint_is_refused_or_is_written_as_it_was_read(
    checkpoint: Checkpoint, data: st.DataObject
) -> None:
    text = list(checkpoint.text)
    text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.sampled_from("0+ aA=\n1é"))
    try:
        read = Checkpoint.parse("".join(text))
    except LedgerError:
        return
    assert read.text == "".join(text)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "found 0 lines"),
        (f"a\n1\n{ROOT}", "found 2 lines"),
        ("a\n1\n", "found 2 lines"),
        (f"\n1\n{ROOT}\n", "expected origin, size and root"),
        (f"a\n\n{ROOT}\n", "expected origin, size and root"),
        (f"a\n1\n{ROOT}\n\n", "expected origin, size and root"),
        (f"a\n1\n{ROOT}\n\nmore\n", "expected origin, size and root"),
        (f"a\n1\n{ROOT}\nmore", "found 3 lines"),
        *(
            (f"a\n{size}\n{ROOT}\n", "expected a number without leading zeros")
            for size in ("01", "00", "-1", "+1", " 1", "1 ", "1_0", "1.0", "x", "1" * 20)
        ),
        (f"a\n\N{ARABIC-INDIC DIGIT ONE}\n{ROOT}\n", "expected a number without leading zeros"),
        ("a\n1\nAAAA\n", "its root has 3 bytes, expected 32"),
        (f"a\n1\n{ROOT[:-2]}J=\n", "expected base64"),
        (f"a\n1\n{ROOT[:-1]}\n", "expected base64"),
        (f"a\n1\n{base64.b64encode(bytes(33)).decode()}\n", "its root has 33 bytes, expected 32"),
    ],
)
def test_what_is_no_checkpoint_is_refused_in_words(text: str, problem: str) -> None:
    with pytest.raises(LedgerError, match=problem):
        Checkpoint.parse(text)
