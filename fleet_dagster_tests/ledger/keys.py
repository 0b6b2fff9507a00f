"""Keys for tests, made from a number: the same number gives the same key."""

import hashlib

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from fleet_dagster.ledger.note import Checkpoint
from fleet_dagster.ledger.signing import Kind, SigningKey

ORIGIN = "example.com/fleet/north"
NOW = 1_790_000_000
"""When tests sign [POSIX s]."""


def key(name: str, kind: Kind, number: int = 0) -> SigningKey:
    """Return the key of a number under a name."""
    seed = hashlib.sha256(f"test key {number}".encode()).digest()
    if kind is Kind.MLDSA44_COSIGNATURE:
        return SigningKey(name, kind, MLDSA44PrivateKey.from_seed_bytes(seed))
    return SigningKey(name, kind, Ed25519PrivateKey.from_private_bytes(seed))


LOG = key(ORIGIN, Kind.MLDSA44_COSIGNATURE)
OLD_LOG = key(ORIGIN, Kind.ED25519)
WITNESSES = (
    key("w1.example", Kind.ED25519_COSIGNATURE, 1),
    key("w2.example", Kind.MLDSA44_COSIGNATURE, 2),
    key("w3.example", Kind.ED25519_COSIGNATURE, 3),
)
CHECKPOINT = Checkpoint(ORIGIN, 7, hashlib.sha256(b"root").digest())
