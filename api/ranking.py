"""In which order a wallet is shown: soonest to expire, usable today, hot, near."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from api import lookups
from engine.errors import Unavailable
from engine.records import Terms
from engine.rules import DAY_MS, is_open
from engine.views import CouponView, Wallet

if TYPE_CHECKING:
    from api.routes import Call
    from api.tenants import Tenant

NO_END = 1 << 62  # sorts after every end
NOWHERE = 1 << 40  # metres: no store of the coupon says where it is
EARTH_METRES = 6_371_009

# (rank, rank within it, end, id): what sorts first is shown first.
Position = tuple[int, int, int, str]
Rank = Callable[[CouponView], tuple[int, int]]


def placed(view: CouponView, rank: Rank) -> Position:
    """Where a coupon stands in the list."""
    return (*rank(view), view.valid_until or NO_END, view.id)


def expiring(_: CouponView) -> tuple[int, int]:
    """All alike: their ends decide."""
    return 0, 0


def usable_today(call: Call, found: Wallet) -> Rank:
    """Those first that nothing but the basket keeps from being used between now and midnight."""
    offset = call.tenant.engine.offset(found.now)
    midnight = found.now - (found.now + offset) % DAY_MS
    frozen = bool(found.user and found.user.frozen)

    def rank(view: CouponView) -> tuple[int, int]:
        usable = not frozen and not is_frozen(found, view)
        usable = usable and usable_between(
            found, view, midnight, (found.now, midnight + DAY_MS), offset
        )
        return int(not usable), 0

    return rank


async def hot(call: Call, views: Sequence[CouponView]) -> Rank:
    """Campaigns that the mall has tagged ``hot`` first, then the more redeemed so far."""
    ids = sorted({view.record.campaign_id for view in views})
    tags = await lookups.tags(call.tenant, ids)
    counts = await asyncio.gather(*(_redeemed(call.tenant, one) for one in ids))
    ranks = {
        one: (int("hot" not in tags.get(one, ())), -count)
        for one, count in zip(ids, counts, strict=True)
    }
    return lambda view: ranks[view.record.campaign_id]


async def _redeemed(tenant: Tenant, campaign_id: str) -> int:
    """Redemptions so far, as of the last second; 0 while Redis can't be asked."""
    try:
        live = await tenant.engine.live(campaign_id)
    except Unavailable:
        return 0
    return live.redeemed if live else 0


async def near(call: Call, found: Wallet, lat: float, lng: float) -> Rank:
    """By metres to the nearest open store where a coupon may be used; unknown ones last."""
    stores = await lookups.all_stores(call.tenant)
    away = {
        ident: metres(lat, lng, store.lat, store.lng)
        for ident, store in stores.items()
        if not store.closed and store.lat is not None and store.lng is not None
    }
    nearest = min(away.values(), default=NOWHERE)  # of coupons that are good everywhere

    def rank(view: CouponView) -> tuple[int, int]:
        terms = terms_of(found, view)
        if terms is None or terms.stores is None:
            return nearest, 0
        return min((away[one] for one in terms.stores if one in away), default=NOWHERE), 0

    return rank


def metres(lat: float, lng: float, other_lat: float, other_lng: float) -> int:
    """Along the surface of a sphere (haversine formula), to the metre."""
    one, two = math.radians(lat), math.radians(other_lat)
    across = math.radians(other_lng - lng)
    part = math.sin((two - one) / 2) ** 2
    part += math.cos(one) * math.cos(two) * math.sin(across / 2) ** 2
    return round(2 * EARTH_METRES * math.asin(min(1.0, math.sqrt(part))))


# ---- what a snapshot of a wallet says of one coupon --------------------------------------------


def terms_of(wallet: Wallet, view: CouponView) -> Terms | None:
    """The terms that a coupon of this snapshot was issued under."""
    return wallet.terms.get((view.record.campaign_id, view.record.terms_revision))


def is_frozen(wallet: Wallet, view: CouponView) -> bool:
    """Whether the coupon's campaign is frozen."""
    share = wallet.campaigns.get(view.record.campaign_id)
    return share is not None and share.issue.status == "frozen"


def usable_between(
    wallet: Wallet, view: CouponView, start: int, asked: tuple[int, int], offset: int
) -> bool:
    """Whether it could be used at some moment of ``asked`` (from, to), whatever the basket.

    ``start``: local midnight before, or the one moment asked about; ``offset``: from UTC. All ms.
    """
    first, last = max(asked[0], view.valid_from), min(asked[1], view.valid_until or NO_END)
    if view.status not in ("issued", "held") or first >= last:
        return False
    terms = terms_of(wallet, view)
    return terms is None or _opens(terms, start, first, last, offset)


def _opens(terms: Terms, start: int, first: int, last: int, offset: int) -> bool:
    """Whether weekdays and hours leave a moment of [first, last) open.

    A time that is not open at ``first`` opens at the start of one of its hours, if at all.
    """
    opening = [start + minute * 60_000 for minute, _ in terms.hours or ()]
    moments = [first, *(at for at in opening if first <= at < last)]
    return any(is_open(terms.weekdays, terms.hours, at, offset) for at in moments)
