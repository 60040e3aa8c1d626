"""What a gate goes by while it cannot ask: public keys, doors, and the tickets that are spent.

Its codes are those of ``GET /v1/coupons/{id}/code?form=offline`` (engine/fastpath/_sign_py.py says
how they are read). The list is signed with the same key (JWS, EdDSA, RFC 8037).
"""

from __future__ import annotations

import base64
from typing import Annotated, Any

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import Meta

from api import lookups
from api import wire_checkins as shapes
from api.checkins import event_of
from api.problems import Refused
from api.routes import Call, Reply, decode_cursor, encode_cursor, route
from api.routes import moment as time_of
from api.wire import moment, moment_or_none, ticket_event
from engine.books import tickets
from engine.codes import ticket_seed
from engine.definitions import Campaign
from engine.definitions.events import compile_event
from engine.fastpath import event_tag
from engine.outcomes import Outcome

KEY_ID = 1  # that signs


class GateQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """``after``: only what was spent at or after that time; ``cursor``: the rest of a long list.

    What is good again (a reversed entry) shows in a whole list alone.
    """

    after: str | None = None
    cursor: str | None = None
    limit: Annotated[int, Meta(ge=1, le=10_000)] = 10_000


@route(
    "GET",
    "/v1/events/{event}/gate",
    roles={"gate", "terminal"},
    query=GateQuery,
    reply=shapes.GateReply,
    summary="Public keys, doors and spent tickets of an event, for gates that verify alone.",
    tags=("gates",),
)
async def gate(call: Call) -> Reply:
    tenant, query = call.tenant, call.query
    event_id = event_of(call, call.path["event"])
    bodies = await tickets.campaigns_of(tenant.books, tenant.id, event_id)
    if not bodies:
        raise Refused(Outcome.NOT_FOUND)
    complete = await lookups.held_until(tenant)
    after = (time_of("after", query.after) - 1, "~") if query.after else (-1, "")
    if query.cursor:
        after = decode_cursor(query.cursor, tuple[int, str])
    found = await tickets.spent(tenant.books, tenant.id, list(bodies), after, query.limit + 1)
    page = found[: query.limit]
    last = page[-1] if page else tickets.Spent("", "", 0)
    event = msgspec.json.decode(next(iter(bodies.values())), type=Campaign).event
    assert event is not None
    reply = shapes.GateReply(
        event=ticket_event(compile_event(event)),
        tag=event_tag(event_id).hex(),
        issued_at=moment(call.clock()),
        complete_until=moment_or_none(complete or 0),
        keys=[_jwk(key_id, key) for key_id, key in tenant.codes.public_keys.items()],
        tickets=[shapes.GateTicket(one.coupon_id, one.state, moment(one.at)) for one in page],
        next_cursor=encode_cursor(last.at, last.coupon_id) if len(found) > len(page) else None,
        signed="",
    )
    reply.signed = _signed(call, event_id, reply)
    return Reply(reply)


def _jwk(key_id: int, key: bytes) -> dict[str, str]:
    x = base64.urlsafe_b64encode(key).rstrip(b"=").decode()
    return {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": str(key_id), "alg": "EdDSA"}


def _signed(call: Call, event_id: str, reply: shapes.GateReply) -> str:
    told: dict[str, Any] = msgspec.to_builtins(reply)
    del told["keys"], told["signed"]
    claims = {"iss": call.tenant.id, "sub": event_id, "iat": call.clock() // 1000, **told}
    seed = ticket_seed(call.tenant.secret, call.tenant.id, KEY_ID)
    key = Ed25519PrivateKey.from_private_bytes(seed)
    return jwt.encode(claims, key, algorithm="EdDSA", headers={"kid": str(KEY_ID)})
