"""Keys that sign checkpoints, and keys that verify them.

Formats: C2SP, "Signed note" (0x01) and "Transparency log cosignatures" (c2sp.org/tlog-cosignature: 0x04, 0x06), v1.0.0.
Signatures: Ed25519 (RFC 8032, 2017, doi:10.17487/RFC8032) and ML-DSA-44 (FIPS 204, 2024, doi:10.6028/NIST.FIPS.204).
"""

import base64
import hashlib
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey

from fleet_dagster.ledger.note import ID_BYTES, Checkpoint, Note, Signature, parse_base64
from fleet_dagster.model.errors import LedgerError

PrivateKey = Ed25519PrivateKey | MLDSA44PrivateKey
TIME_BYTES = 8
MAX_NAME_BYTES = 255
"""Bytes of an origin, or of a signer's name, that ML-DSA-44 signs."""
_LABEL = b"subtree/v1\n\x00"
_NAME = re.compile(r"[^\s+\x00-\x1f\ud800-\udfff]+")
_NOT_SIGNED = "ML-DSA-44 does not sign them; whoever reads them would take them for signed"
_VKEY = "Expected NAME+ID+KEY as c2sp.org/signed-note has it"


class Kind(IntEnum):
    """What a key signs, and how."""

    ED25519 = 0x01
    """The note's text."""
    ED25519_COSIGNATURE = 0x04
    """The note's text, with a time: a witness."""
    MLDSA44_COSIGNATURE = 0x06
    """Origin, size and root, with a time and the signer's name, safe from quantum computers."""

    @property
    def public_bytes(self) -> int:
        """Bytes that the public key has."""
        return 1312 if self is Kind.MLDSA44_COSIGNATURE else 32

    @property
    def has_time(self) -> bool:
        """Whether its signatures carry the time at which they were made."""
        return self is not Kind.ED25519


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key, the name it signs under, and what it signs."""

    name: str
    kind: Kind
    public: bytes

    @classmethod
    def parse(cls, vkey: str) -> "VerifierKey":
        """Read a key as C2SP writes it: name, ID and key, joined with `+`.

        Raises
        ------
        LedgerError
            A part is missing, the kind is not one of ours, or the ID is another key's.
        """
        what = f"key {vkey[:60]!r}"
        name, _, rest = vkey.partition("+")
        key_id, _, encoded = rest.partition("+")
        if not _NAME.fullmatch(name) or not encoded:
            raise LedgerError(what, "found no name, ID and key", _VKEY)
        raw = parse_base64(encoded, what)
        try:
            kind = Kind(raw[0])
        except ValueError:
            known = ", ".join(f"{k:#04x}" for k in Kind)
            raise LedgerError(
                what, f"found the signature type {raw[0]:#04x}, expected {known}", _VKEY
            ) from None
        found = cls(name, kind, raw[1:])
        if len(found.public) != kind.public_bytes:
            raise LedgerError(
                what, f"it has {len(found.public)} bytes, expected {kind.public_bytes}", _VKEY
            )
        if found.key_id.hex() != key_id:
            raise LedgerError(
                what, f"its ID is {found.key_id.hex()}, but {key_id[:8]!r} was found", _VKEY
            )
        return found

    @property
    def key_id(self) -> bytes:
        """The four bytes that name it in a signature line."""
        content = self.name.encode() + b"\n" + bytes([self.kind]) + self.public
        return hashlib.sha256(content).digest()[:ID_BYTES]

    @property
    def vkey(self) -> str:
        """The key as C2SP writes it."""
        encoded = base64.b64encode(bytes([self.kind]) + self.public).decode()
        return f"{self.name}+{self.key_id.hex()}+{encoded}"

    def made(self, signature: Signature) -> bool:
        """Tell whether a signature line names this key."""
        return signature.name == self.name and signature.key_id == self.key_id

    def verifies(self, text: str, signature: Signature) -> bool:
        """Tell whether a signature of this key over a checkpoint's text is valid."""
        value, time_bytes = signature.value, TIME_BYTES * self.kind.has_time
        if len(value) <= time_bytes or (self.kind.has_time and time_of(signature) >= 1 << 63):
            return False
        try:
            message = _message(self.kind, self.name, text, value[:time_bytes])
        except LedgerError:  # nobody can have signed that with a key of this kind
            return False
        try:
            public_key(self).verify(value[time_bytes:], message)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True, repr=False)
class SigningKey:
    """A private key, the name it signs under, and what it signs. It is never shown."""

    name: str
    kind: Kind
    private: PrivateKey

    @property
    def verifier(self) -> VerifierKey:
        """The public half."""
        return VerifierKey(self.name, self.kind, self.private.public_key().public_bytes_raw())

    def sign(self, text: str, *, time: int) -> Signature:
        """Sign a checkpoint's text at a POSIX time [s]. Signing twice gives two different signatures.

        Raises
        ------
        LedgerError
            ML-DSA-44 cannot sign it: it is no checkpoint, has extension lines, or a name has more than 255 bytes.
        """
        stamp = struct.pack(">Q", time) if self.kind.has_time else b""
        value = self.private.sign(_message(self.kind, self.name, text, stamp))
        return Signature(self.name, self.verifier.key_id, stamp + value)


def signed(checkpoint: Checkpoint, keys: Sequence[SigningKey], *, time: int) -> Note:
    """Return a checkpoint's note, signed with each key."""
    text = checkpoint.text
    return Note(text, tuple(key.sign(text, time=time) for key in keys))


def public_key(key: VerifierKey) -> Ed25519PublicKey | MLDSA44PublicKey:
    """Return the key as the library that verifies knows it."""
    if key.kind is Kind.MLDSA44_COSIGNATURE:
        return MLDSA44PublicKey.from_public_bytes(key.public)
    return Ed25519PublicKey.from_public_bytes(key.public)


def time_of(signature: Signature) -> int:
    """Return the POSIX time at which a cosignature was made [s]."""
    return int.from_bytes(signature.value[:TIME_BYTES], "big")


def _message(kind: Kind, name: str, text: str, stamp: bytes) -> bytes:
    """Return the bytes that are signed."""
    if kind is Kind.ED25519:
        return text.encode()
    if kind is Kind.ED25519_COSIGNATURE:
        return f"cosignature/v1\ntime {int.from_bytes(stamp, 'big')}\n{text}".encode()
    checkpoint = Checkpoint.parse(text)
    if checkpoint.extensions:
        problem = f"it has {len(checkpoint.extensions)} extension lines"
        raise LedgerError(f"checkpoint of {checkpoint.origin!r}", problem, _NOT_SIGNED)
    return b"".join(
        (
            _LABEL,
            _counted(name),
            stamp,
            _counted(checkpoint.origin),
            struct.pack(">QQ", 0, checkpoint.size),
            checkpoint.root,
        )
    )


def _counted(name: str) -> bytes:
    """Return a name after the number of its bytes."""
    content = name.encode()
    if len(content) > MAX_NAME_BYTES:
        problem = f"it has {len(content)} bytes, expected up to {MAX_NAME_BYTES}"
        raise LedgerError(f"name {name[:60]!r}", problem, "ML-DSA-44 signs no longer names")
    return bytes([len(content)]) + content
