"""Codes that a gate verifies with a public key alone, in pure Python: the twin of `_sign_c.pyx`.

A code is 94 bytes, spelled as 151 base32 characters with three zero bits at the end:

    byte 0       version (2 bits, = 1) | form (2 bits, = 3) | key id (4 bits)
    bytes 1-10   handle of the person
    bytes 11-17  serial of the ticket, top bit 0; never 0
    bytes 18-25  tag of the event (`event_tag`)
    bytes 26-29  Unix seconds at which it ends, big-endian; 0 = it has no end
    bytes 30-93  Ed25519 signature (RFC 8032) over b"hexiao ticket v1|" || bytes 0..29
"""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from engine.fastpath._code_py import INVALID, OK, b32_encode, part, unpack

SIGNED_LENGTH: Final = 151
OFFLINE: Final = 3  # the form
EVENT_BYTES: Final = 8
KEY_BYTES: Final = 32

Signed = tuple[int, str, str, bytes, int]

_PREFIX = b"hexiao ticket v1|"
_VERSION_FORM = 0b0111
_HEAD = 30
_REFUSED: Signed = (INVALID, "", "", b"", 0)


def event_tag(event_id: str) -> bytes:
    """What stands for an event in a code: 64 bits of BLAKE2b (RFC 7693) of its id."""
    return blake2b(event_id.encode(), digest_size=EVENT_BYTES).digest()


class Signer:
    """Makes codes with a key of one's own.

    `seed`: 32 bytes, the private key of RFC 8032. ValueError: another length, or a key id that is
    not in 0..15.
    """

    def __init__(self, key_id: int, seed: bytes) -> None:
        _check_key(key_id, seed)
        self._key_id = key_id
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    def encode(self, handle: str, serial: str, event: bytes, until: int) -> str:
        """The code of a ticket. `until`: Unix seconds, 0 = no end. ValueError: out of range."""
        serial_value = part(serial, 11, "serial")
        if not isinstance(event, bytes):
            raise TypeError("an event's tag is bytes")
        if not isinstance(until, int):
            raise TypeError("until is an int")
        if serial_value == 0 or len(event) != EVENT_BYTES or not 0 <= until < 1 << 32:
            raise ValueError("serial 0, no tag of an event, or a time out of range")
        head = (
            bytes((_VERSION_FORM << 4 | self._key_id,))
            + part(handle, 16, "handle").to_bytes(10, "big")
            + serial_value.to_bytes(7, "big")
            + event
            + until.to_bytes(4, "big")
        )
        packed = head + self._key.sign(_PREFIX + head)
        return b32_encode(int.from_bytes(packed, "big") << 3, SIGNED_LENGTH)


class Verifier:
    """Knows public keys only: key id (0 to 15) -> 32 bytes. ValueError: anything else."""

    def __init__(self, keys: Mapping[int, bytes]) -> None:
        for key_id, key in keys.items():
            _check_key(key_id, key)
        self._keys = {k: Ed25519PublicKey.from_public_bytes(key) for k, key in keys.items()}

    def verify(self, code: str | bytes) -> Signed:
        """Judge a scanned code: (status, handle, serial, tag of the event, until).

        OK: authentic, whenever it ends. INVALID: anything else, with the same empty answer
        whatever the cause. No text raises; TypeError: `code` is none.
        """
        raw = unpack(code, SIGNED_LENGTH)
        if raw is None or raw[0] >> 4 != _VERSION_FORM:
            return _REFUSED
        key = self._keys.get(raw[0] & 15)
        serial = int.from_bytes(raw[11:18], "big")
        if key is None or serial == 0 or serial >> 55:
            return _REFUSED
        try:
            key.verify(raw[_HEAD:], _PREFIX + raw[:_HEAD])
        except InvalidSignature:
            return _REFUSED
        handle = b32_encode(int.from_bytes(raw[1:11], "big"), 16)
        until = int.from_bytes(raw[26:_HEAD], "big")
        return OK, handle, b32_encode(serial, 11), raw[18:26], until

    def verify_many(self, codes: Sequence[str | bytes]) -> list[Signed]:
        """`verify` for each, in their order (the compiled twin: without the GIL)."""
        return [self.verify(code) for code in codes]


def _check_key(key_id: int, key: bytes) -> None:
    if not isinstance(key, bytes):
        raise TypeError("a key is bytes")
    if not 0 <= key_id <= 15 or len(key) != KEY_BYTES:
        raise ValueError("a key has 32 bytes and an id in 0..15")


def _signature(seed: bytes, message: bytes) -> bytes:
    """The primitive alone, for the known-answer tests (RFC 8032)."""
    return Ed25519PrivateKey.from_private_bytes(seed).sign(message)


def _verified(public: bytes, message: bytes, signature: bytes) -> bool:
    """The same: whether a signature is good."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except InvalidSignature:
        return False
    return True
