"""Who asks: keys of a mall's systems, and end users with a JWT.

A key reads ``hx_<key id>_<secret>``. Its text is derived from the signing secret, so that a
repeated POST /v1/keys can show it again without anybody storing it; the books keep its SHA-256.
All keys of all malls are in memory; who asked once is known by the header alone. A change in the
books empties that memory within half a second, so a revoked key is refused within a second.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import jwt
import orjson
from sqlalchemy import RowMapping, select

from engine.books import schema
from engine.config import ID_PATTERN

if TYPE_CHECKING:
    from api.tenants import Tenant
    from engine.books.db import Books

KNOWN = 50_000  # headers remembered
STRANGERS = 10_000  # wrong headers remembered, so that guessing costs no look-up
STRANGER_SECONDS = 1.0
LOOK_UPS_PER_SECOND = 100  # in the books, for keys that another process made a moment ago


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


def key_of(row: RowMapping, tenant: Tenant) -> Key:
    """A row of table ``keys``."""
    return Key(
        tenant,
        row["id"],
        row["role"],
        row["label"],
        store_id=row["store_id"] or "",
        lot_id=row["lot_id"] or "",
        merchant_id=row["merchant_id"] or "",
        event_id=row["event_id"] or "",
    )


class Auth:
    """Finds the key behind an Authorization header."""

    def __init__(self, books: Books, operator_key: str | None) -> None:
        self._books = books
        self._operator = digest_of(operator_key) if operator_key else ""
        self._tenants: Mapping[str, Tenant] = {}
        self._by_digest: dict[str, Key] = {}
        self._known: dict[str, Key] = {}
        self._strangers: dict[str, float] = {}
        self._asking: dict[str, asyncio.Task[Key | None]] = {}
        self._generation = 0  # how often the keys were taken anew
        self._second = 0
        self._look_ups = 0

    def known(self, header: str | None) -> Key | None:
        """The key of a header that was seen before: one look-up, no hashing."""
        key = self._known.get(header)  # type: ignore[arg-type]
        if key is None or (key.expires and key.expires <= time.time()):
            return None
        return key

    def replace(
        self, tenants: Mapping[str, Tenant], rows: Iterable[RowMapping], home: Tenant | None
    ) -> None:
        """Take all keys anew; ``home`` is the tenant of HEXIAO_OPERATOR_KEY."""
        self._tenants = tenants
        self._by_digest = {
            row["digest"]: key_of(row, tenants[row["tenant"]])
            for row in rows
            if row["tenant"] in tenants
        }
        if self._operator and home is not None:
            self._by_digest[self._operator] = Key(home, "operator", "operator", "operator")
        self._generation += 1
        self._known.clear()
        self._strangers.clear()

    async def find(self, header: str | None) -> Key | None:
        """The key of a header that is not known; None when it names none (401)."""
        scheme, _, token = (header or "").partition(" ")
        token = token.strip()
        if header is None or scheme.lower() != "bearer" or not 8 <= len(token) <= 8192:
            return None
        generation = self._generation
        if token.count(".") == 2 and not token.startswith("hx_"):
            key = self._end_user(token)
        else:
            key = self._by_digest.get(digest_of(token)) or await self._ask_books(header, token)
        if key is not None and generation == self._generation:  # else it may be revoked by now
            if len(self._known) >= KNOWN:
                self._known.clear()
            self._known[header] = key
        return key

    async def _ask_books(self, header: str, token: str) -> Key | None:
        """A key made a moment ago by another process; few look-ups, whoever guesses how fast."""
        asking = self._asking.get(header)
        if asking is None:  # else the answer is on its way: a new key's first requests share it
            now = time.monotonic()
            if not token.startswith("hx_") or self._strangers.get(header, 0) > now:
                return None
            if int(now) != self._second:
                self._second, self._look_ups = int(now), 0
            if self._look_ups >= LOOK_UPS_PER_SECOND:
                return None
            self._look_ups += 1
            asking = self._asking[header] = asyncio.create_task(self._look_up(header, token))
            asking.add_done_callback(lambda _: self._asking.pop(header))
        return await asyncio.shield(asking)

    async def _look_up(self, header: str, token: str) -> Key | None:
        query = select(schema.keys).where(
            schema.keys.c.digest == digest_of(token), schema.keys.c.revoked_ms.is_(None)
        )
        async with self._books.connect() as connection:
            row = (await connection.execute(query)).mappings().first()
        tenant = self._tenants.get(row["tenant"]) if row is not None else None
        if row is None or tenant is None:
            if len(self._strangers) >= STRANGERS:
                self._strangers.clear()
            self._strangers[header] = time.monotonic() + STRANGER_SECONDS
            return None
        return key_of(row, tenant)

    def _end_user(self, token: str) -> Key | None:
        """An end user's JWT, signed with a key of one mall's settings; None when it is not."""
        try:
            kid = jwt.get_unverified_header(token).get("kid")
        except (jwt.PyJWTError, ValueError, RecursionError):
            return None
        if not isinstance(kid, str):
            return None
        found = [
            key
            for tenant in self._tenants.values()
            if (entry := tenant.settings.jwt_keys.get(kid)) is not None
            and (key := _verified(token, kid, entry, tenant)) is not None
        ]
        # Two malls with the same key under the same id can't be told apart: nobody's then.
        return found[0] if len(found) == 1 else None


def _verified(token: str, kid: str, entry: Any, tenant: Tenant) -> Key | None:
    try:
        # The algorithm is the settings', never the token's own word.
        claims = jwt.decode(
            token,
            entry.key,
            algorithms=[entry.alg],
            options={"verify_aud": False, "verify_iat": False, "require": ["sub"]},
        )
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
        return None
    user_id = claims["sub"]
    if not isinstance(user_id, str) or not ID_PATTERN.fullmatch(user_id):
        return None
    expires = float(claims.get("exp", 0))
    return Key(tenant, f"jwt:{kid}"[:64], "user", user_id, user_id=user_id, expires=expires)
