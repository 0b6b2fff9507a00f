"""Handing a ledger over to new keys: an entry of the log, signed with the old keys and the new ones."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from cryptography.exceptions import InvalidSignature

from fleet_dagster.ledger.entries import KEY_ROTATION, RareEntry, canonical
from fleet_dagster.ledger.signing import SigningKey, VerifierKey, public_key

_LABEL = b"fleet-dagster/key-rotation/v1\n"


def rotation_entry(fleet: str, old: Sequence[SigningKey], new: Sequence[SigningKey]) -> RareEntry:
    """Return the entry that hands a log over."""
    content: dict[str, Any] = {  # Any: what JSON can hold
        "old": [key.verifier.vkey for key in old],
        "new": [key.verifier.vkey for key in new],
    }
    message = _message(fleet, content)
    content["signatures"] = [
        base64.b64encode(key.private.sign(message)).decode() for key in (*old, *new)
    ]
    return RareEntry(fleet, KEY_ROTATION, content)


def is_rightful(fleet: str, content: Mapping[str, Any]) -> bool:  # Any: what JSON can hold
    """Tell whether a log was handed over by the old keys, and accepted by the new ones."""
    try:
        old, new = content["old"], content["new"]
        keys = [VerifierKey.parse(vkey) for vkey in (*old, *new)]
        signatures = [base64.b64decode(s, validate=True) for s in content["signatures"]]
        message = _message(fleet, {"old": old, "new": new})
        for key, signature in zip(keys, signatures, strict=True):
            public_key(key).verify(signature, message)
    except (KeyError, TypeError, ValueError, AttributeError, InvalidSignature):
        return False
    return bool(old) and bool(new)


def _message(fleet: str, content: Mapping[str, Any]) -> bytes:  # Any: what JSON can hold
    return _LABEL + canonical({"fleet": fleet, "new": content["new"], "old": content["old"]})
