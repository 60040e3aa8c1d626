"""Who and what a request names: codes, ids, member codes and user ids become one wallet's handle.

Judged here, before any I/O: forged and foreign codes, coupons of different people, and terminals
that name coupons they have not been shown. A stale code goes on to the script, marked stale.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from api.problems import Refused
from api.wire_redemptions import points_of
from engine.errors import InvalidRequest
from engine.fastpath import INVALID, MEMBER, STALE
from engine.keys import split_id
from engine.outcomes import Outcome

if TYPE_CHECKING:
    from api.routes import Call
    from api.wire_redemptions import RedemptionRequest


class NamesPerson(Protocol):
    """A body with ``user_id`` and ``member_code``, one of which names the person."""

    @property
    def user_id(self) -> str | None: ...

    @property
    def member_code(self) -> str | None: ...


@dataclass(slots=True)
class Member:
    """A member code that was read: whose, of which 30 s step, and whether it is too old."""

    handle: str
    step: int
    stale: bool


@dataclass(slots=True)
class Named:
    """The coupons of one request, all of one wallet."""

    handle: str = ""
    coupons: list[tuple[str, int, bool]] = field(default_factory=list)  # (id, step, stale)
    invalid: list[int] = field(default_factory=list)  # positions of codes that are none of ours
    member: Member | None = None


def member_of(call: Call, code: str) -> Member:
    """The member that a scanned code names; ``code_invalid`` when it names none."""
    scan = call.tenant.codes.read(code, call.clock())
    if scan.status == INVALID or scan.form != MEMBER:
        raise Refused(Outcome.CODE_INVALID, field="member_code")
    return Member(scan.handle, scan.step, scan.status == STALE)


async def person_of(call: Call, body: NamesPerson) -> str:
    """The user id of the person a body names by ``user_id``, ``member_code`` or their own token.

    A member code alone costs a look at the wallet: ``not_found`` when that person is not known.
    """
    user_id = body.user_id or call.key.user_id
    if body.member_code is None:
        if not user_id:
            raise InvalidRequest("user_id", "Name the person.", "请指明用户。")
        return user_id
    engine = call.tenant.engine
    member = member_of(call, body.member_code)
    if user_id and engine.handle_of(user_id) != member.handle:
        raise Refused(Outcome.DIFFERENT_OWNERS)
    if member.stale and not await _repeats(call, member):
        raise Refused(Outcome.CODE_EXPIRED, field="member_code")
    if user_id:
        return user_id
    wallet = await engine.wallet(member.handle, now=call.now)
    if wallet.user is None:
        raise Refused(Outcome.NOT_FOUND, field="member_code")
    return wallet.user.user_id


async def _repeats(call: Call, member: Member) -> bool:
    """The receipt comes before the code's age: an act sent again finds its first answer."""
    key, engine = call.idempotency_key, call.tenant.engine
    if call.route.path.startswith("/v1/purchases"):
        known = await engine.points.purchase_of(call.path.get("id") or call.body.transaction_id)
        return known is not None and engine.handle_of(known.user_id) == member.handle
    if not key:
        return False
    if call.route.path.startswith("/v1/points/"):
        return await engine.points.has_entry(member.handle, key, now=call.now)
    if call.route.path == "/v1/orders":
        return await engine.orders.has_order(member.handle, key, now=call.now)
    if call.route.path.endswith(("/accept", "/take")):
        return await engine.gifts.has_asked(member.handle, key, now=call.now)
    if call.route.path == "/v1/campaigns/{id}/waitlist":
        campaign_id = call.path["id"]
        return await engine.waiting.has_joined(member.handle, key, campaign_id, now=call.now)
    if call.route.path == "/v1/parking/validations":
        return await engine.parking.has_given(member.handle, key, now=call.now)
    return await engine.has_claimed(member.handle, key, now=call.now)


def coupons_of(call: Call, body: RedemptionRequest, *, strict: bool) -> Named:
    """What a redemption or quote names, once all that needs no I/O has been judged.

    Refused: ``forbidden`` for a terminal naming ids it was not shown the owner's code for,
    ``code_invalid`` where ``strict`` (one bad code refuses the whole), ``different_owners``;
    InvalidRequest: a coupon named twice or not at all.
    """
    named = Named()
    handles: set[str] = set()
    _check_refs(call, body)
    _read_coupons(call, body, named, handles)
    if named.invalid and strict:
        raise bad_codes(named)
    if body.member_code is not None:
        named.member = member_of(call, body.member_code)
        handles.add(named.member.handle)
    user_id = body.user_id or call.key.user_id
    if user_id:
        handles.add(call.tenant.engine.handle_of(user_id))
    if len(handles) > 1:
        stale = any(stale for _, _, stale in named.coupons)
        raise Refused(Outcome.CODE_EXPIRED if stale else Outcome.DIFFERENT_OWNERS)
    if handles:
        named.handle = handles.pop()
    if points_of(body):
        _check_points(call, body, named)
    return named


def _check_points(call: Call, body: RedemptionRequest, named: Named) -> None:
    """A terminal spends points of somebody who is there.

    Their member code shows it, or a fresh picture of a coupon that refuses the whole when it fails:
    an old one may be anybody's photograph.
    """
    if not named.handle:
        raise InvalidRequest(
            "user_id", "Name the person whose points pay.", "请指明使用积分的会员。"
        )
    fresh = any(step and not stale for _, step, stale in named.coupons)
    shown = named.member is not None or (fresh and body.policy == "all")
    if call.key.role == "terminal" and not shown and not call.tenant.settings.terminal_ids:
        raise Refused(
            Outcome.FORBIDDEN,
            field="points",
            detail="收银端使用积分时请提供会员码。"
            if call.language.startswith("zh")
            else "A terminal spends points with the member's code.",
        )


def _check_refs(call: Call, body: RedemptionRequest) -> None:
    by_id = False
    for position, ref in enumerate(body.coupons or []):
        if (ref.code is None) == (ref.id is None):
            raise InvalidRequest(
                f"coupons[{position}]",
                "Name the coupon by code or by id.",
                "请用 code 或 id 指明券。",
            )
        by_id = by_id or ref.id is not None
    if not body.coupons and not points_of(body):
        raise InvalidRequest("coupons", "Name at least one coupon.", "请至少指明一张券。")
    shown = body.member_code is not None or call.tenant.settings.terminal_ids
    if by_id and call.key.role == "terminal" and not shown:
        raise Refused(
            Outcome.FORBIDDEN,
            field="coupons",
            detail="收银端请用券码,或同时提供会员码。"
            if call.language.startswith("zh")
            else "A terminal names coupons by code, or by id with the member's code.",
        )


def _read_coupons(call: Call, body: RedemptionRequest, named: Named, handles: set[str]) -> None:
    now, codes, seen = call.clock(), call.tenant.codes, set()
    for position, ref in enumerate(body.coupons or []):
        if ref.code is not None:
            scan = codes.read(ref.code, now)
            if scan.coupon_id is None:  # forged, foreign, or a member's code
                named.invalid.append(position)
                continue
            coupon_id, handle = scan.coupon_id, scan.handle
            presented = (coupon_id, scan.step, scan.status == STALE)
        else:
            assert ref.id is not None
            parts = split_id("C", ref.id)
            if parts is None:
                raise Refused(Outcome.NOT_FOUND, field=f"coupons[{position}].id")
            coupon_id, handle = ref.id, parts[0]
            presented = (coupon_id, 0, False)
        if coupon_id in seen:
            raise InvalidRequest(
                f"coupons[{position}]", "This coupon is named twice.", "同一张券出现两次。"
            )
        seen.add(coupon_id)
        handles.add(handle)
        named.coupons.append(presented)


def bad_codes(named: Named) -> Refused:
    """The refusal of a request for codes that are none of ours."""
    failed = [{"coupon_id": None, "outcome": Outcome.CODE_INVALID} for _ in named.invalid]
    return Refused(Outcome.CODE_INVALID, field=f"coupons[{named.invalid[0]}].code", failed=failed)
