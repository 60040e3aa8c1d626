"""Buying: orders, their payment notices, cancellation; refunds of what was bought."""

from __future__ import annotations

from typing import Any

from api import naming, wire
from api import wire_orders as shapes
from api.problems import Refused
from api.ranking import terms_of
from api.routes import Call, Page, Reply, decode_cursor, encode_cursor, refusal, route
from api.storefront import CLAIM_REFUSALS, coupon_reply
from engine import untold
from engine.books import feeds_orders
from engine.errors import InvalidRequest
from engine.keys import make_id, split_id
from engine.orders import MOST, Order
from engine.outcomes import Outcome
from engine.views import Wallet

TAGS = ("orders",)
PAY_REFUSALS = (Outcome.ORDER_EXPIRED, Outcome.ORDER_CANCELLED, Outcome.AMOUNT_MISMATCH)


def _own(call: Call, order_id: str) -> str:
    """``order_id``, if there can be such an order and the caller may know of it."""
    place = split_id("O", order_id)
    if place is None:
        raise Refused(Outcome.NOT_FOUND)
    call.own_handle(place[0])
    return order_id


@route(
    "POST",
    "/v1/orders",
    roles={"storefront", "user"},
    body=shapes.OrderRequest,
    reply=shapes.OrderReply,
    status=201,
    summary="Order coupons: stock and limits are set aside until they are paid.",
    tags=TAGS,
    errors=(*CLAIM_REFUSALS, Outcome.POINTS_INSUFFICIENT),
)
async def place(call: Call) -> Reply:
    body: shapes.OrderRequest = call.body
    _check(call, body)
    answer = await call.tenant.engine.orders.place(
        user_id=await naming.person_of(call, body),
        items=[(item.campaign_id, item.quantity) for item in body.items],
        channel=body.channel,
        key=call.idempotency_key,
        who=call.who(),
        hold_seconds=body.hold_seconds,
        source=body.source,
        now=call.now,
    )
    if answer.value is None:
        return refusal(call, answer.outcome, answer.details)
    reply = shapes.order(answer.value, status="pending")
    return Reply(reply, replayed=answer.outcome is Outcome.REPEATED)


def _check(call: Call, body: shapes.OrderRequest) -> None:
    most = call.tenant.settings.max_hold_seconds
    if body.hold_seconds > most:
        raise InvalidRequest("hold_seconds", f"At most {most}.", f"最多 {most} 秒。")
    if len({item.campaign_id for item in body.items}) < len(body.items):
        raise InvalidRequest("items", "A campaign is named twice.", "同一活动出现了两次。")
    if sum(item.quantity for item in body.items) > MOST:
        raise InvalidRequest("items", f"At most {MOST} coupons in all.", f"合计最多 {MOST} 张。")


@route(
    "POST",
    "/v1/orders/{id}/pay",
    roles={"payments"},
    body=shapes.PayRequest,
    reply=shapes.OrderReply,
    summary="A payment notice: the order's coupons are issued. Sent again: as before.",
    tags=TAGS,
    errors=PAY_REFUSALS,
)
async def pay(call: Call) -> Reply:
    body: shapes.PayRequest = call.body
    answer = await call.tenant.engine.orders.pay(
        order_id=call.path["id"],
        payment_ref=body.payment_ref,
        paid_amount=body.paid_amount,
        key=call.idempotency_key,
        who=call.who(),
        now=call.now,
    )
    if answer.value is None:
        return refusal(call, answer.outcome, answer.details)
    found = answer.value
    wallet = await _coupons(call, found)
    coupons = [wire.claimed(wallet.view(serial)) for serial in found.record.coupons]
    reply = shapes.order(found, status="paid", coupons=coupons)
    return Reply(reply, replayed=answer.outcome is Outcome.REPEATED)


async def _coupons(call: Call, found: Order) -> Wallet:
    engine, handle = call.tenant.engine, found.place[0]
    return await engine.some_coupons(handle, found.record.coupons, now=call.now)


@route(
    "POST",
    "/v1/orders/{id}/cancel",
    roles={"storefront", "user"},
    body=shapes.CancelRequest,
    reply=shapes.OrderReply,
    summary="Cancel an order that is not paid: what it set aside is free again.",
    tags=TAGS,
    errors=(Outcome.ORDER_EXPIRED, Outcome.ORDER_CANCELLED, Outcome.NOT_REFUNDABLE),
)
async def cancel(call: Call) -> Reply:
    answer = await call.tenant.engine.orders.cancel(
        order_id=_own(call, call.path["id"]),
        key=call.idempotency_key,
        who=call.who(),
        now=call.now,
    )
    if answer.value is None:
        details: dict[str, Any] = {}
        if answer.outcome is Outcome.NOT_REFUNDABLE:
            chinese = call.language.startswith("zh")
            details["detail"] = (
                "订单已支付,请对券申请退款。"
                if chinese
                else "The order is paid: refund its coupons instead."
            )
        return refusal(call, answer.outcome, details)
    reply = shapes.order(answer.value, status="cancelled")
    return Reply(reply, replayed=answer.outcome is Outcome.REPEATED)


@route(
    "GET",
    "/v1/orders/{id}",
    roles={"storefront", "payments", "desk", "user"},
    reply=shapes.OrderReply,
    summary="One order as of now.",
    tags=TAGS,
)
async def read(call: Call) -> Reply:
    found = await call.tenant.engine.orders.read(_own(call, call.path["id"]), now=call.now)
    if found is None:
        raise Refused(Outcome.NOT_FOUND)
    if found.status != "paid":
        return Reply(shapes.order(found))
    wallet = await _coupons(call, found)
    views = [wallet.view(serial) for serial in found.record.coupons]
    coupons = [coupon_reply(view, terms_of(wallet, view)) for view in views]
    return Reply(shapes.order(found, coupons=coupons))


@route(
    "GET",
    "/v1/users/{id}/orders",
    roles={"storefront", "payments", "desk", "user"},
    query=Page,
    reply=shapes.OrderList,
    summary="A user's orders, the newest first; those that ended, as the books have them.",
    tags=TAGS,
)
async def of_user(call: Call) -> Reply:
    query: Page = call.query
    tenant, user_id = call.tenant, call.path["id"]
    after = decode_cursor(query.cursor, tuple[int, str]) if query.cursor else None
    handle = tenant.engine.handle_of(user_id)
    place = (0, 0)
    if after is None:
        place = await feeds_orders.told_of(tenant.books, tenant.id, tenant.engine.cell_of(handle))
    names = await feeds_orders.orders_of(tenant.books, tenant.id, user_id, after, query.limit + 1)
    if after is None:  # what was just ordered, cancelled or paid may not be in the books yet
        wallet = await tenant.engine.wallet(handle, now=call.now)
        coupons = sorted(wallet.coupons.values(), key=lambda one: -one.issued)
        paid = dict.fromkeys(make_id("O", handle, one.order) for one in coupons if one.order)
        fresh = [*await tenant.engine.orders.open_of(handle), *list(paid)[: query.limit]]
        tag = tenant.engine.tag_of(handle)
        fresh += await untold.orders_of(tenant.engine.server, tag, handle, *place)
        names = list(dict.fromkeys([*names, *fresh]))
    page: list[Order] = await tenant.engine.orders.read_all(names, now=call.now)
    page.sort(key=lambda one: (-one.record.at, one.id))
    last = page[query.limit - 1] if len(page) > query.limit else None
    return Reply(
        shapes.OrderList(
            items=[shapes.order(one) for one in page[: query.limit]],
            next_cursor=encode_cursor(last.record.at, last.id) if last else None,
        )
    )


# ---- refunds ---------------------------------------------------------------------------------


@route(
    "POST",
    "/v1/coupons/{id}/refund",
    roles={"payments"},
    body=shapes.RefundRequest,
    reply=shapes.RefundReply,
    summary="Send back what was paid for what is unused of a coupon.",
    tags=TAGS,
    errors=(
        Outcome.ALREADY_REDEEMED,
        Outcome.HELD,
        Outcome.REFUNDED,
        Outcome.TRANSFERRED,
        Outcome.EXPIRED,
        Outcome.NOT_REFUNDABLE,
    ),
)
async def refund(call: Call) -> Reply:
    body: shapes.RefundRequest = call.body
    answer = await call.tenant.engine.orders.refund(
        coupon_id=call.path["id"],
        reason=body.reason,
        refund_ref=body.refund_ref,
        key=call.idempotency_key,
        who=call.who(),
        now=call.now,
    )
    if answer.value is None:
        return refusal(call, answer.outcome, await _why_not(call, answer.outcome))
    reply = shapes.refunded(answer.value, failed=False)
    return Reply(reply, replayed=answer.outcome is Outcome.REPEATED)


NOTHING_PAID = ("Nothing was paid for it.", "该券为免费发放,没有可退款项。")
BY_ITS_RULES = ("By its campaign's rules it is not refunded.", "按活动规则,该券不可退款。")
WAS_A_GIFT = (
    "It was a gift: who bought it could have it refunded, until they gave it on.",
    "该券为受赠所得,转赠前仅购买者可退款。",
)
WENT_ALONG = (
    "It was given on, and what was paid for it went along.",
    "该券已转赠,款项随券转移,不再退款。",
)


async def _why_not(call: Call, outcome: Outcome) -> dict[str, Any]:
    """The sentence of a refusal that has several causes."""
    said = WENT_ALONG if outcome is Outcome.TRANSFERRED else None
    if outcome is Outcome.NOT_REFUNDABLE:
        wallet = await call.tenant.engine.coupon(call.path["id"], now=call.now)
        record = wallet and next(iter(wallet.coupons.values()))
        said = BY_ITS_RULES if record and record.order else NOTHING_PAID
        said = WAS_A_GIFT if record and record.came_from and record.paid else said
    return {"detail": said[call.language.startswith("zh")]} if said else {}


@route(
    "POST",
    "/v1/coupons/{id}/refunds/{ref}/fail",
    roles={"payments"},
    body=shapes.RefundFailedRequest,
    reply=shapes.RefundReply,
    summary="The money of a refund could not be sent: the coupon is its buyer's again.",
    tags=TAGS,
    errors=(Outcome.USER_LIMIT, Outcome.SOLD_OUT, Outcome.POINTS_INSUFFICIENT),
)
async def refund_failed(call: Call) -> Reply:
    answer = await call.tenant.engine.orders.refund_failed(
        coupon_id=call.path["id"],
        refund_ref=call.path["ref"],
        key=call.idempotency_key,
        who=call.who(),
        now=call.now,
    )
    if answer.value is None:
        return refusal(call, answer.outcome, answer.details)
    reply = shapes.refunded(answer.value, failed=True)
    return Reply(reply, replayed=answer.outcome is Outcome.REPEATED)
