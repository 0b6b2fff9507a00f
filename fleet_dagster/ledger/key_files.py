"""Files of private keys: PKCS#8 PEM, one block after the other, readable by their owner alone.

Formats: S. Turner, "Asymmetric Key Packages", RFC 5958, 2010 (doi:10.17487/RFC5958); S. Josefsson, S. Leonard, "Textual
Encodings of PKIX, PKCS, and CMS Structures", RFC 7468, section 10, 2015 (doi:10.17487/RFC7468).
"""

import os
import re
import stat
import tempfile
from collections.abc import Sequence
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from fleet_dagster.ledger.signing import Kind, PrivateKey, SigningKey
from fleet_dagster.model.errors import LedgerError
from fleet_dagster.storage.durable import flush

FILE_MODE, FOLDER_MODE = 0o600, 0o700
MAX_BYTES = 1 << 16
_LABEL = "PRIVATE KEY"
_BEGIN = re.compile(r"-----BEGIN ([A-Z0-9 ]{1,40})-----")
_BLOCK = re.compile(r"-----BEGIN PRIVATE KEY-----[A-Za-z0-9+/=\s]+-----END PRIVATE KEY-----\s*")
_FOR_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_EXPECTED = "Expected PKCS#8 PEM blocks, unencrypted, as they were written; put the file back from its safe copy"


def new_keys(name: str, kinds: Sequence[Kind]) -> tuple[SigningKey, ...]:
    """Make a key of each kind."""
    return tuple(SigningKey(name, kind, _algorithm(kind).generate()) for kind in kinds)


def write_private(path: Path, keys: Sequence[SigningKey]) -> None:
    """Write keys into a new file, which appears whole or not at all and survives a power cut.

    Raises
    ------
    LedgerError
        There is such a file already, or others may enter its folder.
    """
    path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    _refuse_others(path.parent, path.parent.stat(), FOLDER_MODE)
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")  # mode 0600, O_EXCL
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(b"".join(_pem(key.private) for key in keys))
            out.flush()
            os.fsync(out.fileno())
        os.link(part, path)
    except FileExistsError:
        raise LedgerError(
            str(path),
            "there is a file of keys already, and keys are never overwritten",
            "Name another file; or, if nobody knows these keys, move the old one away first",
        ) from None
    finally:
        Path(part).unlink(missing_ok=True)
    flush(path.parent)
    flush(path.parent.parent)


def read_private(path: Path, name: str, *, kinds: Sequence[Kind]) -> tuple[SigningKey, ...]:
    """Read the keys of a file, see `parse_private`.

    Raises
    ------
    LedgerError
        There is no such file, it may not be read, others than its owner may use it or its folder, or it holds something else.
    """
    real = path.resolve()
    try:
        with real.open("rb") as file:
            _refuse_others(path, os.fstat(file.fileno()), FILE_MODE)
            _refuse_others(real.parent, real.parent.stat(), FOLDER_MODE)
            content = file.read(MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise LedgerError(
            str(path), "there is no such file of keys", "Check the path, or put the file back"
        ) from None
    except PermissionError:
        raise LedgerError(
            str(path), "you may not read it", "Run the same as the owner of the keys"
        ) from None
    if len(content) > MAX_BYTES:
        raise LedgerError(str(path), f"it has more than {MAX_BYTES} bytes", _EXPECTED)
    return parse_private(content.decode("ascii", "replace"), name, what=str(path), kinds=kinds)


def parse_private(
    pem: str, name: str, *, what: str, kinds: Sequence[Kind]
) -> tuple[SigningKey, ...]:
    """Read PEM blocks: one key or more, none of a kind twice, in the order of `kinds`.

    An Ed25519 key may be a log's or a witness's: it is of whichever kind `kinds` has. No error shows a key.

    Raises
    ------
    LedgerError
        There is no key, text besides keys, a block that is torn or encrypted, or a key of no such kind.
    """
    for label in _BEGIN.findall(pem):
        if label != _LABEL:
            raise LedgerError(what, f"found a PEM block {label!r}", _EXPECTED)
    blocks = _BLOCK.findall(pem)
    if not blocks or _BLOCK.sub("", pem).strip():
        raise LedgerError(what, "found no key, a torn one, or something besides keys", _EXPECTED)
    found: dict[Kind, SigningKey] = {}
    for block in blocks:
        key = _key(block, name, what=what, kinds=kinds)
        if key.kind in found:
            raise LedgerError(
                what, f"found two keys of the kind {key.kind:#04x}", "Keep one of each"
            )
        found[key.kind] = key
    return tuple(found[kind] for kind in kinds if kind in found)


def _algorithm(kind: Kind) -> type[Ed25519PrivateKey] | type[MLDSA44PrivateKey]:
    return MLDSA44PrivateKey if kind is Kind.MLDSA44_COSIGNATURE else Ed25519PrivateKey


def _pem(private: PrivateKey) -> bytes:
    return private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _key(block: str, name: str, *, what: str, kinds: Sequence[Kind]) -> SigningKey:
    try:
        private = serialization.load_pem_private_key(block.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):  # its words could quote the key
        raise LedgerError(what, "found a key that cannot be read", _EXPECTED) from None
    for kind in kinds:
        if isinstance(private, Ed25519PrivateKey | MLDSA44PrivateKey) and isinstance(
            private, _algorithm(kind)
        ):
            return SigningKey(name, kind, private)
    expected = ", ".join(f"{k.name} ({k:#04x})" for k in kinds)
    raise LedgerError(
        what, f"found a {type(private).__name__}, expected keys for {expected}", _EXPECTED
    )


def _refuse_others(path: Path, found: os.stat_result, mode: int) -> None:
    """Refuse a file or folder that anybody but its owner may use."""
    if found.st_mode & _FOR_OTHERS:
        raise LedgerError(
            str(path),
            f"its mode is {stat.S_IMODE(found.st_mode):04o}, expected {mode:04o}: others may get at private keys",
            f"If nobody did, run: chmod {mode:o} {path}. Otherwise make new keys",
        )
