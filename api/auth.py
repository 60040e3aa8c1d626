"""Who asks: keys of a mall's systems, and end users with a JWT.

A key reads ``hx_<key id>_<secret>``. Its text is derived from the signing secret, so that a
repeated POST /v1/keys can show it again without anybody storing it; the books keep its SHA-256.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from api.tenants import Tenant


@dataclass(slots=True, frozen=True, eq=False)
class Key:
    """Who asks. ``role`` "user" is an end user with a JWT, and ``user_id`` their subject."""

    tenant: Tenant
    id: str
    role: str
    label: str
    store_id: str = ""  # bindings: "" = bound to none
    lot_id: str = ""
    merchant_id: str = ""
    event_id: str = ""
    user_id: str = ""
    expires: float = 0.0  # Unix seconds; 0 = never
    who: str = field(init=False)  # the start of the fact's `who` JSON, without the closing brace

    def __post_init__(self) -> None:
        head = {"key": self.id, "label": self.label, "role": self.role}
        object.__setattr__(self, "who", orjson.dumps(head).decode()[:-1])


def key_text(secret: bytes, tenant_id: str, key_id: str) -> str:
    """The text of a key: 192 bits of HMAC-SHA-256 over tenant and key id, under the secret."""
    mac = hmac.digest(secret, f"hexiao key v1|{tenant_id}|{key_id}".encode(), "sha256")
    return f"hx_{key_id}_{base64.urlsafe_b64encode(mac[:24]).decode()}"


def digest_of(text: str) -> str:
    """What the books keep of a key (column ``keys.digest``)."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
