"""A member's wallet: which of their coupons, in which order, and what it all comes to."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

import msgspec

from api import lookups, ranking, wire
from api.ranking import Rank, terms_of
from api.routes import Call, Id, Page, Reply, decode_cursor, encode_cursor, route
from api.storefront import coupon_reply
from engine.books import counter
from engine.definitions import Campaign, parse_time
from engine.errors import InvalidRequest
from engine.lots import worth
from engine.records import Terms
from engine.rules import DAY_MS
from engine.views import CouponView, Wallet

_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
EXPIRING_MS = 7 * DAY_MS  # what ends within it is "expiring" in a summary


class WalletQuery(Page, kw_only=True):
    """What of a wallet is asked for. ``usable_on``: a local date, or a moment."""

    status: str | None = None  # one or several, by comma
    store_id: Id | None = None
    channel: Id | None = None
    usable_on: str | None = None
    category: str | None = None
    scene: str | None = None
    sort: Literal["expiring", "usable_today", "hot", "near"] = "expiring"
    lat: Annotated[float, msgspec.Meta(ge=-90, le=90)] | None = None
    lng: Annotated[float, msgspec.Meta(ge=-180, le=180)] | None = None
    expand: Literal["terms"] | None = None


_STATUSES = frozenset(
    {"issued", "held", "redeemed", "expired", "voided", "refunded", "transferred"}
)


@route(
    "GET",
    "/v1/users/{id}/coupons",
    roles={"storefront", "desk", "user"},
    query=WalletQuery,
    reply=wire.CouponList,
    summary="A user's coupons as of now: the next to expire, usable today, hot or near ones first.",
    tags=("storefront",),
)
async def wallet(call: Call) -> Reply:
    query: WalletQuery = call.query
    statuses = _statuses(query)
    _check_place(query)
    engine = call.tenant.engine
    found = await engine.wallet(engine.handle_of(call.path["id"]), now=call.now)
    views = [found.view(serial) for serial in found.coupons]
    if query.usable_on:
        views = _usable_on(call, found, views, query.usable_on)
    chosen = [
        view for view in views if view.status in statuses and _fits(terms_of(found, view), query)
    ]
    if query.category or query.scene:
        bodies = await lookups.bodies(call.tenant, {_issued_under(view) for view in chosen})
        chosen = [view for view in chosen if _is_about(bodies.get(_issued_under(view)), query)]
    rank = await _rank(call, found, chosen)
    page, next_cursor = _page(chosen, rank, query)
    items = [coupon_reply(view, terms_of(found, view)) for view in page]
    if query.sort == "near":
        for item, view in zip(items, page, strict=True):
            away = rank(view)[0]
            item.distance = None if away == ranking.NOWHERE else away
    if query.expand:
        await lookups.explain(call, items)
    return Reply(wire.CouponList(items=items, next_cursor=next_cursor))


def _check_place(query: WalletQuery) -> None:
    """sort=near needs ``lat`` and ``lng``; whoever knows where they are may always say so."""
    for name in ("lat", "lng"):
        if getattr(query, name) is None and query.sort == "near":
            raise InvalidRequest(name, "sort=near needs it.", "sort=near 需要此参数。")


def _statuses(query: WalletQuery) -> frozenset[str]:
    if query.status is None:
        return _STATUSES
    asked = frozenset(query.status.split(","))
    if not asked <= _STATUSES:
        raise InvalidRequest("status", f"Use some of {', '.join(sorted(_STATUSES))}.")
    return asked


def _issued_under(view: CouponView) -> tuple[str, int]:
    return view.record.campaign_id, view.record.terms_revision


def _fits(terms: Terms | None, query: WalletQuery) -> bool:
    """Whether a coupon may be used in the store and channel asked for."""
    if terms is None:
        return True
    stores, channels = terms.stores, terms.channels
    return (query.store_id is None or stores is None or query.store_id in stores) and (
        query.channel is None or channels is None or query.channel in channels
    )


def _is_about(campaign: Campaign | None, query: WalletQuery) -> bool:
    return (
        campaign is not None
        and query.category in (None, campaign.category)
        and query.scene in (None, campaign.scene)
    )


def _usable_on(call: Call, found: Wallet, views: list[CouponView], text: str) -> list[CouponView]:
    """Coupons that nothing but the basket could keep from being used at some moment of it."""
    start, end, offset = _moments(call, text)
    return [
        view for view in views if ranking.usable_between(found, view, start, (start, end), offset)
    ]


def _moments(call: Call, text: str) -> tuple[int, int, int]:
    """(start, end, offset from UTC) of a local date or of one moment, ms."""
    engine = call.tenant.engine
    try:
        if len(text) == len("2026-01-31"):
            local = (date.fromisoformat(text).toordinal() - _EPOCH_ORDINAL) * DAY_MS
            offset = engine.offset(local)
            return local - offset, local - offset + DAY_MS, offset
        moment = parse_time(text)
    except ValueError:
        raise InvalidRequest("usable_on", "A date (2026-01-31) or an RFC 3339 time.") from None
    return moment, moment + 1, engine.offset(moment)


async def _rank(call: Call, found: Wallet, views: list[CouponView]) -> Rank:
    query: WalletQuery = call.query
    if query.sort == "usable_today":
        return ranking.usable_today(call, found)
    if query.sort == "hot":
        return await ranking.hot(call, views)
    if query.sort == "near" and query.lat is not None and query.lng is not None:
        return await ranking.near(call, found, query.lat, query.lng)
    return ranking.expiring


def _page(
    views: list[CouponView], rank: Rank, query: WalletQuery
) -> tuple[list[CouponView], str | None]:
    """What comes after the cursor, which names the sort and the last one shown."""
    placed = sorted((ranking.placed(view, rank), view) for view in views)
    if query.cursor is not None:
        sort, *last = decode_cursor(query.cursor, tuple[str, int, int, int, str])
        if sort != query.sort:
            raise InvalidRequest("cursor", "It is of another sort.", "该游标属于另一种排序。")
        placed = [one for one in placed if one[0] > tuple(last)]
    page = placed[: query.limit]
    more = len(placed) > len(page)
    cursor = encode_cursor(query.sort, *page[-1][0]) if more else None
    return [view for _, view in page], cursor


# ---- what it all comes to ----------------------------------------------------------------------


@route(
    "GET",
    "/v1/users/{id}/summary",
    roles={"storefront", "desk", "user"},
    reply=wire.SummaryReply,
    summary="What a member has: coupons to use, those about to expire, points, and what was saved.",
    tags=("storefront",),
)
async def summary(call: Call) -> Reply:
    tenant, user_id = call.tenant, call.path["id"]
    found = await tenant.engine.wallet(tenant.engine.handle_of(user_id), now=call.now)
    saved, complete = await counter.saved(tenant.books, tenant.id, user_id)
    ends = [
        view.valid_until
        for view in map(found.view, found.coupons)
        if view.status == "issued"
        and not (found.user and found.user.frozen)
        and not ranking.is_frozen(found, view)
        and view.valid_from <= found.now
    ]
    purse = await tenant.engine.points.purse(user_id, now=call.now)
    balance, per_yuan = purse.record.balance, tenant.settings.points_per_yuan
    reply = wire.SummaryReply(
        user_id=user_id,
        usable=len(ends),
        expiring=sum(0 < end - found.now <= EXPIRING_MS for end in ends),
        points=balance,
        points_value=max(0, worth(balance, per_yuan)),
        saved=saved,
        complete_until=wire.moment_or_none(complete or 0),
    )
    return Reply(reply)
