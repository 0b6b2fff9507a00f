import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fleet_dagster.ledger.key_files import new_keys, parse_private, read_private, write_private
from fleet_dagster.ledger.keystore import KeyStore
from fleet_dagster.ledger.note import Checkpoint
from fleet_dagster.ledger.pin import read_pin
from fleet_dagster.ledger.signing import Kind, PrivateKey
from fleet_dagster.model.errors import LedgerError

LOG = (Kind.ED25519, Kind.MLDSA44_COSIGNATURE)
WITNESS = (Kind.ED25519_COSIGNATURE, Kind.MLDSA44_COSIGNATURE)
NAME = "example.org/log"
NOBODY = 65534
"""User who owns nothing."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of a file of a log's two keys."""
    path = tmp_path / "keys" / "log.pem"
    write_private(path, new_keys(NAME, LOG))
    return path


def test_keys_are_read_as_they_were_written(tmp_path: Path) -> None:
    path, keys = tmp_path / "keys" / "log.pem", new_keys(NAME, LOG)
    write_private(path, keys)
    found = read_private(path, NAME, kinds=LOG)
    assert [k.verifier for k in found] == [k.verifier for k in keys]
    text = Checkpoint(NAME, 0, bytes(32)).text
    assert keys[1].verifier.verifies(text, found[1].sign(text, time=1))


def test_only_the_owner_may_use_the_file_and_its_folder(path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_the_caller_says_what_an_ed25519_key_signs(path: Path) -> None:
    assert [k.kind for k in read_private(path, "w", kinds=WITNESS)] == list(WITNESS)
    assert [k.kind for k in read_private(path, "w", kinds=LOG[::-1])] == list(LOG[::-1])


def test_keys_are_never_overwritten(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(LedgerError, match="never overwritten"):
        write_private(path, new_keys(NAME, LOG))
    assert path.read_bytes() == before
    assert len(list(path.parent.iterdir())) == 1


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644, 0o601])
def test_a_file_that_others_may_use_is_refused(path: Path, mode: int) -> None:
    path.chmod(mode)
    with pytest.raises(LedgerError, match=rf"mode is {mode:04o}, expected 0600.*chmod 600"):
        read_private(path, NAME, kinds=LOG)


def test_a_folder_that_others_may_enter_is_refused(path: Path) -> None:
    path.parent.chmod(0o750)
    with pytest.raises(LedgerError, match=r"mode is 0750, expected 0700.*chmod 700"):
        read_private(path, NAME, kinds=LOG)
    with pytest.raises(LedgerError, match="mode is 0750"):
        write_private(path.with_name("new.pem"), new_keys(NAME, LOG))
    assert not path.with_name("new.pem").exists()


def test_the_folder_of_what_a_link_points_to_is_what_counts(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.pem"
    link.symlink_to(path)
    assert len(read_private(link, NAME, kinds=LOG)) == 2
    path.parent.chmod(0o755)
    with pytest.raises(LedgerError, match="mode is 0755"):
        read_private(link, NAME, kinds=LOG)


def test_a_missing_file_is_told(path: Path) -> None:
    for missing in (path.with_name("other.pem"), path / "below", path.parent):
        with pytest.raises(LedgerError, match="no such file of keys"):
            read_private(missing, NAME, kinds=LOG)


def test_what_is_no_key_of_ours_is_refused_and_never_shown(path: Path) -> None:
    pem = path.read_text()
    first, second = (block + "-----\n" for block in pem.split("-----\n-----BEGIN", 1))
    second = "-----BEGIN" + second.removesuffix("-----\n")
    curve = _pem(ec.generate_private_key(ec.SECP256R1()), serialization.NoEncryption())
    locked = _pem(
        new_keys(NAME, LOG)[0].private, serialization.BestAvailableEncryption(b"password")
    )
    assert len(parse_private(second + first, NAME, what="keys", kinds=LOG)) == 2
    for content, words in (
        ("", "no key"),
        ("secret " + pem, "something besides keys"),
        (pem[:-40], "torn"),
        (first.replace("\nM", "\nA", 1), "cannot be read"),
        (curve, "ECPrivateKey, expected keys for ED25519"),
        (locked, "ENCRYPTED PRIVATE KEY"),
        (first + first, "two keys of the kind 0x01"),
    ):
        with pytest.raises(LedgerError, match=words) as caught:
            parse_private(content, NAME, what="keys", kinds=LOG)
        secret = "".join(content.splitlines()[1:-1])
        assert all(secret[at : at + 12] not in str(caught.value) for at in range(len(secret) - 12))
        assert caught.value.__cause__ is None


def test_a_file_that_is_too_long_is_not_read(path: Path) -> None:
    path.write_bytes(path.read_bytes() * 400)
    with pytest.raises(LedgerError, match="more than 65536 bytes"):
        read_private(path, NAME, kinds=LOG)


def _pem(
    private: ec.EllipticCurvePrivateKey | PrivateKey,
    encryption: serialization.KeySerializationEncryption,
) -> str:
    pkcs8 = serialization.PrivateFormat.PKCS8
    return private.private_bytes(serialization.Encoding.PEM, pkcs8, encryption).decode()


@contextmanager
def as_somebody_else() -> Iterator[None]:
    """Be a user who owns nothing, where the tests run as root, who may read everything."""
    own = os.geteuid()
    if own == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(own)


def test_whoever_may_not_read_keys_or_a_pin_is_told_so(path: Path) -> None:
    pin = path.with_name("pin")
    pin.write_text("a checkpoint")
    path.parent.chmod(0)
    try:
        with as_somebody_else():
            with pytest.raises(LedgerError, match="you may not read it"):
                read_private(path, NAME, kinds=LOG)
            with pytest.raises(LedgerError, match="with --pin"):
                read_pin(pin)
            assert KeyStore(path.parent, NAME).is_there()
    finally:
        path.parent.chmod(0o700)
