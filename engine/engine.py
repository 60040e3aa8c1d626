"""The engine: one async method a verb. See docs/ARCHITECTURE.md."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine.records import Line
from engine.views import Answer, CouponView, Live, Offer, Redemption, Reversal, Wallet


class Engine:
    """All acts of one tenant. ``who`` is JSON for the fact; ``now`` 0 = the server's clock."""

    async def claim(
        self, *, user_id: str, campaign_id: str, channel: str, key: str, who: str,
        source: dict[str, Any] | None = None, metadata: dict[str, Any] | None = None, now: int = 0,
    ) -> Answer[CouponView]:
        raise NotImplementedError

    async def redeem(
        self, *, handle: str, coupons: Sequence[tuple[str, int, bool]], store_id: str, key: str,
        who: str, amount: int, lines: Sequence[Line], user_id: str = "", member_step: int = 0,
        member_stale: bool = False, terminal_id: str = "", staff_id: str = "", channel: str = "",
        order_ref: str = "", hold_seconds: int = 0, best_effort: bool = False, now: int = 0,
    ) -> Answer[Redemption]:
        """``coupons``: (coupon id, step of its rotating code or 0, stale)."""
        raise NotImplementedError

    async def commit(
        self, *, redemption_id: str, key: str, who: str, store_id: str = "", now: int = 0
    ) -> Answer[Redemption]:
        """``store_id``: the store the caller is bound to, "" = to none (other stores: FORBIDDEN)."""
        raise NotImplementedError

    async def release(
        self, *, redemption_id: str, key: str, who: str, store_id: str = "", now: int = 0
    ) -> Answer[Redemption]:
        raise NotImplementedError

    async def reverse(
        self, *, redemption_id: str, key: str, who: str, reason: str,
        lines: Sequence[tuple[str, int]] | None = None, restore: bool = True, store_id: str = "",
        now: int = 0,
    ) -> Answer[Reversal]:
        raise NotImplementedError

    async def void(
        self, *, coupon_id: str, key: str, who: str, reason: str, now: int = 0
    ) -> Answer[CouponView]:
        raise NotImplementedError

    async def set_profile(
        self, *, user_id: str, who: str, tier: str | None = None, tier_until: int | None = None,
        frozen: bool | None = None, now: int = 0,
    ) -> Answer[Wallet]:
        raise NotImplementedError

    async def set_members(
        self, *, audience_id: str, add: Sequence[str], remove: Sequence[str], who: str, now: int = 0
    ) -> Answer[int]:
        """``value``: how many memberships changed."""
        raise NotImplementedError

    async def wallet(self, handle: str, *, now: int = 0) -> Wallet:
        """All coupons of a person (a ``no-writes`` script); an empty wallet when unknown."""
        raise NotImplementedError

    async def coupon(self, coupon_id: str, *, now: int = 0) -> Wallet | None:
        """A wallet snapshot with just that coupon; None when there is none."""
        raise NotImplementedError

    async def redemption(self, redemption_id: str, *, now: int = 0) -> Redemption | None:
        raise NotImplementedError

    async def offers(
        self, *, user_id: str, campaign_ids: Sequence[str], channel: str | None = None, now: int = 0
    ) -> tuple[int, list[Offer | None]]:
        """(server time, one a campaign in the order asked; None = no such campaign)."""
        raise NotImplementedError

    async def live(self, campaign_id: str) -> Live | None:
        """Counters over all cells; touches Redis at most once a second a campaign."""
        raise NotImplementedError

    def handle_of(self, user_id: str) -> str:
        raise NotImplementedError

    def clock(self) -> int:
        """The Redis server's clock now (ms), by this process's last known offset to it."""
        raise NotImplementedError
