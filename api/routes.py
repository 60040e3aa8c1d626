"""The typed route layer: what a route is, what a handler gets and what it gives back.

::

    @route("POST", "/v1/claims", roles={"storefront", "user"}, body=ClaimBody, reply=CouponOut,
           status=201, summary="Claim one coupon of a campaign for a user.")
    async def claim(call: Call) -> Reply:
        body: ClaimBody = call.body
        ...
        return Reply(coupon_json, replayed=answer.outcome is Outcome.REPEATED)

The frame (api/app.py) has judged all that comes before a handler, in the contract's order: key,
role, media type, size, Idempotency-Key, query, body. ``operator`` may use every route; ``user``
in ``roles`` opens it to end users with a JWT, who act for themselves only (see ``Call.own``).
The same registry makes /openapi.json.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import msgspec
import orjson
from aiohttp import web

from api.problems import PROBLEM, Refused, plain, problem
from engine.definitions import Id as Id  # handlers and wire take it from here
from engine.definitions import parse_time
from engine.errors import InvalidRequest
from engine.outcomes import Outcome

if TYPE_CHECKING:
    from api.auth import Key
    from api.frame import Gate
    from api.tenants import Tenant

ROLES = (
    "operator",
    "storefront",
    "payments",
    "terminal",
    "desk",
    "gate",
    "parking",
    "merchant",
    "finance",
    "user",  # an end user with a JWT, not a key
)
# Roles whose screen a person stands in front of: their refusals carry `say`.
SAYING = frozenset({"terminal", "gate", "parking"})

MIB = 1 << 20
Handler = Callable[["Call"], Awaitable["Reply"]]


class Page(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Query of every list; a list's own filters are a subclass."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=200)] = 50
    cursor: str | None = None


class ShortPage(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Query of a list that is short by its nature: all of it unless ``limit`` says less."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=200)] | None = None
    cursor: str | None = None

    def part(self, items: list[Any]) -> tuple[list[Any], str | None]:
        """The items asked for, and the cursor of what follows."""
        start = max(0, decode_cursor(self.cursor, tuple[int])[0]) if self.cursor else 0
        end = len(items) if self.limit is None else start + self.limit
        return items[start:end], encode_cursor(end) if end < len(items) else None


class NoQuery(msgspec.Struct, forbid_unknown_fields=True):
    """A route without query parameters."""


@dataclass(slots=True)
class Reply:
    """What a handler answers.

    ``body``: dict, list or msgspec Struct (sent as JSON), bytes (sent as they are, name
    ``content_type``) or None (no body). ``status`` 0 = the route's own.
    """

    body: Any = None
    status: int = 0
    replayed: bool = False
    content_type: str = "application/json"
    headers: Mapping[str, str] | None = None
    code: str = ""  # of a problem, for the metrics


class Begun(NamedTuple):
    """An answer that waits for one thing only, and then is made at once, without a task.

    ``finish`` gets what the future brought; where that is not the last word, it is a coroutine.
    """

    future: asyncio.Future[Any]
    finish: Callable[[Any], Reply | Coroutine[Any, Any, Reply]]


@dataclass(slots=True, frozen=True)
class Route:
    """One route, as the frame serves it and OpenAPI shows it."""

    method: str
    path: str
    handler: Handler
    roles: frozenset[str]
    summary: str
    body: Any = None  # a Struct type; None = takes no body
    query: type[msgspec.Struct] = NoQuery
    reply: Any = None  # a type for OpenAPI; None = no body
    status: int = 200
    idempotent: bool = False  # asks for Idempotency-Key
    max_body: int = MIB
    tags: tuple[str, ...] = ()
    public: bool = False  # no key asked: health, documentation
    say: bool = False  # refusals carry `say` whoever asks
    attempts: str = ""  # what its refused tries are kept as (redeem, park, scan, verify), "" = not
    produces: tuple[str, ...] = ("application/json",)  # the first is the default
    accepts: tuple[str, ...] = ("application/json",)
    errors: tuple[Outcome, ...] = ()  # refusals beyond those of every route, for OpenAPI
    hidden: bool = False  # not in OpenAPI
    short: bool = False  # the short way though its path has parameters (express.py)
    sheds: bool = False  # gives out: turned away first when the process is full
    at_once: Callable[[Call], Reply | None] | None = None  # a reply that needs no waiting
    begun: Callable[[Call], Begun | None] | None = None  # else; None = as the handler does it
    extra: Mapping[str, Any] = field(default_factory=dict)  # merged into the OpenAPI operation


REGISTRY: list[Route] = []


def route(
    method: str,
    path: str,
    *,
    roles: Iterable[str] = (),
    summary: str,
    idempotent: bool | None = None,
    **options: Any,
) -> Callable[[Handler], Handler]:
    """Register a handler. ``roles`` besides operator; ``idempotent`` defaults to POST's True.

    Say ``idempotent=False`` for a POST that changes nothing (quotes, verify, offers).
    """
    allowed = frozenset(roles) | {"operator"}
    unknown = allowed - set(ROLES)
    if unknown:
        raise ValueError(f"{method} {path}: unknown roles {sorted(unknown)}")

    def register(handler: Handler) -> Handler:
        REGISTRY.append(
            Route(
                method=method,
                path=path,
                handler=handler,
                roles=allowed,
                summary=summary,
                idempotent=method == "POST" if idempotent is None else idempotent,
                **options,
            )
        )
        return handler

    return register


class Call:
    """One request after the frame has judged it; a handler's only argument."""

    __slots__ = (
        "actor",
        "body",
        "deadline",
        "gate",
        "idempotency_key",
        "key",
        "language",
        "now",
        "path",
        "query",
        "request",
        "request_id",
        "route",
        "say",
        "tenant",
    )

    request: web.Request
    gate: Gate  # what all endpoints of the process share
    route: Route
    tenant: Tenant
    key: Key  # who asks: id, role, label, bindings; for an end user role "user", user_id = sub
    body: Any  # an instance of route.body, or None
    query: Any  # an instance of route.query; None for NoQuery
    path: Mapping[str, str]
    idempotency_key: str  # "" where none is asked
    language: str  # en | zh-CN
    now: int  # 0 = the server's clock; on a rehearsal server the last Hexiao-Now seen (ms)
    request_id: str
    actor: str  # who the audit names: Hexiao-Actor, else the key's label
    say: bool  # refusals carry `say`
    deadline: float | None  # loop.time() by which it must have begun, by Hexiao-Deadline-Ms

    def who(self, *, staff: str = "", terminal: str = "") -> str:
        """JSON for the fact: key, label, role, and actor, staff, terminal, request where known."""
        text = self.key.who
        if self.actor != self.key.label:
            text += ',"actor":' + orjson.dumps(self.actor).decode()
        if staff:
            text += ',"staff":' + orjson.dumps(staff).decode()
        if terminal:
            text += ',"terminal":' + orjson.dumps(terminal).decode()
        if self.request.headers.get("X-Request-Id") == self.request_id:
            text += ',"request":' + orjson.dumps(self.request_id).decode()
        return text + "}"

    def clock(self) -> int:
        """The moment of this call in ms: Hexiao-Now where given, else the server's clock."""
        return self.now or self.tenant.engine.clock()

    def own(self, user_id: str) -> str:
        """``user_id``, unless an end user asks for someone else: then ``forbidden``.

        The frame has called it for ``/v1/users/{id}`` paths and for ``user_id`` in a body.
        """
        if self.key.role == "user" and user_id != self.key.user_id:
            raise Refused(Outcome.FORBIDDEN)
        return user_id

    def own_handle(self, handle: str) -> str:
        """``handle``, unless an end user asks for someone else's wallet: then ``not_found``.

        The frame has called it for ``/v1/coupons/{id}`` paths. Handlers call it for whatever
        else names a person: a member code, a scanned code, a redemption id.
        """
        if self.key.role == "user" and handle != self.tenant.engine.handle_of(self.key.user_id):
            raise Refused(Outcome.NOT_FOUND)
        return handle

    def bound_store(self, store_id: str | None) -> str:
        """The store of this act: the key's own where it is bound to one, else the one named.

        Another store than the key's: ``forbidden``. "" when neither names one.
        """
        return _bound(self.key.store_id, store_id)

    def bound_merchant(self, merchant_id: str | None) -> str:
        """The same for a merchant's key."""
        return _bound(self.key.merchant_id, merchant_id)

    def bound_lot(self, lot_id: str | None) -> str:
        """The same for a key of a lot."""
        return _bound(self.key.lot_id, lot_id)

    def wants(self, *types: str) -> str:
        """The media type to answer with, by Accept; the first one where nothing else fits."""
        accept = self.request.headers.get("Accept", "")
        return preferred(accept, types)


def _bound(own: str, named: str | None) -> str:
    if own and named and own != named:
        raise Refused(Outcome.FORBIDDEN)
    return own or named or ""


def refusal(call: Call, outcome: Outcome, details: Mapping[str, Any] | None = None) -> Reply:
    """The reply that tells a refusal; cheap, because a flash sale is mostly these."""
    if details:
        body = orjson.dumps(problem(outcome, call.language, say=call.say, **details))
    else:
        body = plain(outcome, call.language, call.say)
    return Reply(body, outcome.status, content_type=PROBLEM, code=outcome.code)


def preferred(accept: str, types: tuple[str, ...]) -> str:
    """The one of ``types`` that an Accept header likes best (RFC 9110 12.5.1); ties: the first."""
    if not accept or accept == "*/*":
        return types[0]
    best, best_rank = types[0], (0.0, -1)
    for part in accept.split(","):
        name, _, parameters = part.strip().partition(";")
        name = name.strip().lower()
        quality = 1.0
        for parameter in parameters.split(";"):
            key, _, value = parameter.partition("=")
            if key.strip().lower() == "q":
                try:
                    quality = float(value)
                except ValueError:
                    quality = 0.0
        for offered in types:
            if name == offered:
                rank = (quality, 2)
            elif name.endswith("/*") and offered.startswith(name[:-1]):
                rank = (quality, 1)
            elif name == "*/*":
                rank = (quality, 0)
            else:
                continue
            if quality > 0 and rank > best_rank:
                best, best_rank = offered, rank
    return best


def moment(field: str, text: str) -> int:
    """A time of a query or body in Unix ms, else InvalidRequest that names the field."""
    try:
        return parse_time(text)
    except ValueError:
        raise InvalidRequest(field, "It must be an RFC 3339 time.", "时间格式不正确。") from None


def encode_cursor(*position: Any) -> str:
    """An opaque cursor for a list that stopped at ``position`` (plain values)."""
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(position)).rstrip(b"=").decode()


def decode_cursor(cursor: str, types: Any, *, field: str = "cursor") -> Any:
    """The position in ``cursor`` as ``types`` (e.g. ``tuple[int, str]``), else InvalidRequest."""
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        return msgspec.msgpack.decode(raw, type=types)
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        raise InvalidRequest(field, "This is not a cursor that a list gave out.") from None
