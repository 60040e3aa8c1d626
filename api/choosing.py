"""``choose: "best"``: the coupons of a wallet that take most off, for quotes and redemptions.

The search stands on one snapshot; the script decides again for exactly the set that was found, and
refuses where it would take off anything else. Then the wallet has moved and is searched again, so
no answer is ever from two states of it. Under its Idempotency-Key the request counts as "the best",
not as the coupons that were found: sent again, it is answered as before, whatever the wallet holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from api import quotes
from api.naming import Member, member_of
from api.problems import Refused
from api.wire_redemptions import may_use, points_of
from engine.best import Choice, best
from engine.errors import InvalidRequest, Unavailable
from engine.outcomes import Outcome
from engine.records import Line
from engine.rules import Skipped
from engine.views import Answer, Redemption, Wallet

if TYPE_CHECKING:
    from api.routes import Call
    from api.wire_redemptions import RedemptionRequest

MOST_LEFT = 50  # coupons not picked that a record names
TRIES = 5  # searches before a wallet that never rests is given up

# Nothing can be done about these; a reason to look for something else comes first.
_OVER = frozenset(
    {Outcome.ALREADY_REDEEMED, Outcome.VOIDED, Outcome.REFUNDED, Outcome.TRANSFERRED,
     Outcome.EXPIRED}
)  # fmt: skip


@dataclass(slots=True, frozen=True)
class Person:
    """Whose wallet is searched."""

    handle: str
    member: Member | None


def person(call: Call, body: RedemptionRequest) -> Person:
    """The person whose best coupons are asked for.

    A terminal shows that they are there by their member code, unless the settings trust it with
    ids: otherwise ``forbidden``. ``different_owners`` where code and id are two people's.
    """
    if body.coupons:
        raise InvalidRequest("coupons", "With choose, name none.", "使用 choose 时请勿指明券。")
    engine = call.tenant.engine
    member = None if body.member_code is None else member_of(call, body.member_code)
    user_id = body.user_id or call.key.user_id
    if member is None and not user_id:
        raise InvalidRequest("user_id", "Name the person.", "请指明用户。")
    if member is None and call.key.role == "terminal" and not call.tenant.settings.terminal_ids:
        raise Refused(
            Outcome.FORBIDDEN,
            field="member_code",
            detail="收银端选优惠时请提供会员码。"
            if call.language.startswith("zh")
            else "A terminal shows the member's code to choose from their wallet.",
        )
    handle = engine.handle_of(user_id) if user_id else ""
    if member is not None:
        if handle and handle != member.handle:
            raise Refused(Outcome.DIFFERENT_OWNERS)
        handle = member.handle
    return Person(handle, member)


async def choose(
    call: Call, body: RedemptionRequest, whose: Person, store_id: str, lines: Sequence[Line]
) -> tuple[Wallet, Choice]:
    """Search one snapshot of the wallet.

    A terminal is told nothing of coupons that are not for its store.
    """
    wallet = await call.tenant.engine.wallet(whose.handle, store_id=store_id, now=call.now)
    scene = await quotes.scene_of(call, wallet, store_id, body.channel, whose.member)
    hold = None
    if body.mode == "hold":
        hold = await quotes.given_up(call, wallet, store_id, body.order_ref)
    named = [(f"C{wallet.handle}{serial}", 0, False) for serial in wallet.coupons]
    candidates, scene = await quotes.candidates_of(call, wallet, named, scene, hold)
    if call.key.role == "terminal":
        candidates = [c for c in candidates if c.terms.stores is None or store_id in c.terms.stores]
    purse = quotes.purse_of(call, points_of(body), wallet, scene)
    return wallet, best(candidates, lines, scene, use=may_use(body), purse=purse)


async def redeem(
    call: Call,
    body: RedemptionRequest,
    store_id: str,
    amount: int,
    lines: Sequence[Line],
    seconds: int,
) -> Answer[Redemption]:
    """Redeem or hold the best set there is; refused where nothing takes anything off.

    The refusal is that of the first coupon in order of application that is not over and done
    with, ``no_effect`` where there is none; ``failed`` names them all. Unavailable: the wallet
    changed at every try.
    """
    whose = person(call, body)
    member = whose.member
    for _ in range(TRIES):
        _, choice = await choose(call, body, whose, store_id, lines)
        answer = await call.tenant.engine.redeem(
            handle=whose.handle,
            coupons=[(coupon_id, 0, False) for coupon_id in choice.ids],
            store_id=store_id,
            key=call.idempotency_key,
            who=call.who(staff=body.staff_id or "", terminal=body.terminal_id or ""),
            amount=amount,
            lines=lines,
            member_step=member.step if member else 0,
            member_stale=member.stale if member else False,
            terminal_id=body.terminal_id or "",
            staff_id=body.staff_id or "",
            channel=body.channel or "",
            order_ref=body.order_ref or "",
            hold_seconds=seconds,
            asked=f"best {' '.join(sorted(set(may_use(body))))}",
            expected=(choice.judgement.discount, choice.judgement.tendered),
            points=points_of(body),
            skipped=_left(choice.judgement.skipped),
            now=call.now,
        )
        if answer.ok or answer.outcome is Outcome.IDEMPOTENCY_KEY_REUSED:
            return answer
        if any(not skip.id for skip in choice.judgement.skipped):  # the points that were named
            return answer
        if not choice.ids and not choice.judgement.tenders:
            return _nothing(choice.judgement.skipped)
    raise Unavailable("the wallet changed at every try")


def _left(skipped: Sequence[Skipped]) -> list[Skipped]:
    """What a record keeps of the coupons that were not picked: first those that are not over."""
    coupons = [skip for skip in skipped if skip.id]
    if len(coupons) > MOST_LEFT:
        coupons.sort(key=lambda skip: skip.outcome in _OVER)
    return coupons[:MOST_LEFT]


def _nothing(skipped: Sequence[Skipped]) -> Answer[Redemption]:
    """Why nothing was found."""
    if not skipped:
        return Answer(Outcome.NO_EFFECT)
    first = next((skip for skip in skipped if skip.outcome not in _OVER), None)
    details: dict[str, Any] = {
        "failed": [
            {"coupon_id": skip.id or None, "outcome": skip.outcome, "short_by": skip.short_by}
            for skip in skipped
        ]
    }
    if first is None:
        return Answer(Outcome.NO_EFFECT, details=details)
    details["coupon_id"] = first.id or None
    if first.short_by:
        details["short_by"] = first.short_by
    return Answer(first.outcome, details=details)
