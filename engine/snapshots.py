"""Reading live state: one ``no-writes`` script at one moment, outside the write batches."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
from redis.exceptions import RedisError

from engine import keys
from engine.errors import Unavailable
from engine.outcomes import Outcome
from engine.records import (
    CouponRecord,
    Issue,
    PointsRecord,
    RedemptionRecord,
    Terms,
    UserRecord,
)
from engine.server import Server
from engine.views import CampaignShare, Live, Offer, QuotaLeft, Redemption, RoomView, Wallet

if TYPE_CHECKING:
    from engine.engine import Engine

LIVE_SECONDS = 1.0
_MOST_LAPSED = 10_000

_pack = msgspec.msgpack.encode
_redemption = msgspec.msgpack.Decoder(RedemptionRecord).decode
_issue = msgspec.msgpack.Decoder(Issue).decode


class _Snapshot(msgspec.Struct, array_like=True):
    now: int
    user: UserRecord | None
    coupons: list[tuple[str, CouponRecord]]
    counts: list[tuple[str, int]]
    shares: list[tuple[str, Issue, int | None, RoomView | None]]
    terms: list[tuple[str, int, Terms]]
    points: PointsRecord | None


class _Offers(msgspec.Struct, array_like=True):
    now: int
    offers: list[tuple[int, int, int | None, int, int, int] | None]


_snapshot = msgspec.msgpack.Decoder(_Snapshot).decode
_totals = msgspec.msgpack.Decoder(list[int]).decode
_offers = msgspec.msgpack.Decoder(_Offers).decode


class Snapshots:
    """Reads of one tenant."""

    def __init__(self, engine: Engine, server: Server) -> None:
        self._engine = engine
        self._server = server
        self._live: dict[str, tuple[float, Live | None]] = {}

    async def _read(self, handle: str, verb: str, request: object) -> bytes:
        return await self._engine.read_script(self._engine.cell_of(handle), verb, request)

    async def wallet(
        self, handle: str, serials: Sequence[str] | None, now: int, store_id: str = ""
    ) -> Wallet:
        """A wallet, whole or with some coupons only; ``store_id``: where uses are counted."""
        wanted = None if serials is None else list(serials)
        offset = self._engine.offset(now or self._engine.clock())
        request = [now, handle, wanted, store_id, offset]
        found = _snapshot(await self._read(handle, "snapshot", request))
        return Wallet(
            handle=handle,
            now=found.now,
            user=found.user,
            coupons=dict(found.coupons),
            counts=dict(found.counts),
            campaigns={
                name: CampaignShare(issue, left, room) for name, issue, left, room in found.shares
            },
            terms={(name, revision): terms for name, revision, terms in found.terms},
            points=found.points,
        )

    async def user(self, handle: str) -> Wallet:
        """A wallet without its coupons."""
        return await self.wallet(handle, [], 0)

    async def offers(
        self, user_id: str, campaign_ids: Sequence[str], channel: str | None, now: int
    ) -> tuple[int, list[Offer | None]]:
        """As ``Engine.offers``."""
        handle = self._engine.handle_of(user_id)
        offset = self._engine.offset(now or self._engine.clock())
        request = [now, handle, offset, channel, list(campaign_ids)]
        found = _offers(await self._read(handle, "offers", request))
        everywhere = await self._everywhere(campaign_ids, found, now)
        offers: list[Offer | None] = []
        for name, row in zip(campaign_ids, found.offers, strict=True):
            if row is None:
                offers.append(None)
                continue
            outcome, mine, left, opens, price, points = row
            if name in everywhere:
                left = everywhere[name]
                if outcome == Outcome.SOLD_OUT and left:
                    outcome = Outcome.DONE  # it comes from another cell when it is asked for
            opens = self._engine.opens(outcome, opens, found.now) or 0
            offers.append(Offer(name, Outcome(outcome), mine, left, opens, price, points))
        return found.now, offers

    async def _everywhere(
        self, campaign_ids: Sequence[str], found: _Offers, now: int
    ) -> dict[str, int]:
        """What is left of campaigns of limited stock in all cells, where there are several."""
        segments = self._engine.segments
        pairs = zip(campaign_ids, found.offers, strict=True)
        limited = [name for name, row in pairs if row is not None and row[2] is not None]
        if not limited or not segments.several:
            return {}
        totals = zip(limited, await segments.totals(limited, now), strict=True)
        return {name: total for name, total in totals if total is not None}

    async def redemption(self, redemption_id: str, now: int) -> Redemption | None:
        """As ``Engine.redemption``."""
        place = keys.split_id("R", redemption_id)
        if place is None:
            return None
        handle, serial = place
        key = keys.redemption_key(self._engine.tag_of(handle), handle, serial)
        try:
            packed = await self._server.get(key)
        except (RedisError, OSError) as error:
            raise Unavailable("Redis does not answer") from error
        if packed is None:
            return None
        moment = now or self._engine.clock()
        return Redemption(redemption_id, handle, _redemption(packed), moment)

    async def live(self, campaign_id: str) -> Live | None:
        """As ``Engine.live``."""
        known = self._live.get(campaign_id)
        if known and time.monotonic() - known[0] < LIVE_SECONDS:
            return known[1]
        try:
            rows = await asyncio.gather(
                *(
                    self._server.fields(
                        keys.campaign_key(tag, campaign_id),
                        "issued",
                        "redeemed",
                        "share",
                        "left",
                        "budget_left",
                        "aside",
                        "sent",
                        "received",
                        "codes",
                        "issue",
                    )
                    for tag in self._engine.tags
                )
            )
            lapsed = [
                await self._lapsed(tag, keys.pending_key(tag, campaign_id))
                if int(row[5] or 0)
                else 0
                for tag, row in zip(self._engine.tags, rows, strict=True)
            ]
            issue = next((_issue(row[9]) for row in rows if row[9]), None)
            quotas = await self._of(issue) if issue and issue.event else None
        except (RedisError, OSError) as error:
            raise Unavailable("Redis does not answer") from error
        live = _total(rows, sum(lapsed), self._engine.clock())
        if live and quotas is not None:
            room = [quota.left for quota in quotas]
            left = min(room if live.left is None else [live.left, *room], default=None)
            live = replace(live, left=left, quotas=quotas)
        self._live[campaign_id] = (time.monotonic(), live)
        return live

    def forget_live(self, campaign_id: str) -> None:
        """As ``Engine.forget_live``."""
        self._live.pop(campaign_id, None)

    async def _of(self, issue: Issue) -> tuple[QuotaLeft, ...]:
        """The quotas that a campaign's tickets count against."""
        known = {quota.id: quota for quota in await self.quotas(issue.event)}
        return tuple(known[name] for name in issue.quotas or [] if name in known)

    async def quotas(self, event_id: str) -> tuple[QuotaLeft, ...]:
        """As ``Engine.quotas``."""
        found: dict[str, QuotaLeft] = {}
        try:
            for tag in self._engine.tags:
                row = await self._server.all_fields(keys.quotas_key(tag, event_id))
                for name in sorted(name[1:].decode() for name in row if name[:1] == b"s"):
                    share, moved, used = (int(row.get(f"{one}{name}".encode(), 0)) for one in "smu")
                    free = await self._lapsed(tag, keys.lapsing_key(tag, event_id, name))
                    before = found.get(name, QuotaLeft(name, 0, 0))
                    left = before.left + share + moved - used + free
                    left += _on_its_way([[row.get(f"{one}{name}".encode()) for one in "oi"]], 0)
                    found[name] = QuotaLeft(name, before.total + share, left)
        except (RedisError, OSError) as error:
            raise Unavailable("Redis does not answer") from error
        return tuple(found.values())

    async def _lapsed(self, tag: str, key: str) -> int:
        """How many coupons are set aside in a cell by orders whose time has passed."""
        (told,) = await self._server.fields(keys.cell_key(tag), "clock")  # of a rehearsal
        now = int(told or 0) or self._engine.clock()
        names = await self._server.due(key, now, _MOST_LAPSED)
        return sum(int(name.split(b":")[1]) for name in names)


def _on_its_way(rows: list[list[bytes | None]], at: int = 6) -> int:
    """What cells have sent to each other and not received yet; ``at``: where the two totals are."""
    return sum(
        sum(_totals(row[at] or b"\x90")) - sum(_totals(row[at + 1] or b"\x90")) for row in rows
    )


def _total(rows: list[list[bytes | None]], lapsed: int, now: int) -> Live | None:
    """The counters of all cells together; None where no cell has the campaign."""
    known = [row for row in rows if row[0] is not None]
    if not known:
        return None
    aside = sum(int(row[5] or 0) for row in known) - lapsed
    lefts = [int(row[3]) for row in known if row[3] is not None]
    moving = _on_its_way(known)
    rooms = [sum(lefts) + lapsed + moving] if lefts else []
    codes = [int(row[8]) for row in known if row[8] is not None]
    if codes:  # what is set aside has a code each
        rooms.append(sum(codes) - aside + moving)
    return Live(
        left=min(rooms) if rooms else None,
        set_aside=aside,
        issued=sum(int(row[0] or 0) for row in known),
        redeemed=sum(int(row[1] or 0) for row in known),
        as_of=now,
        budget_left=sum(int(row[4] or 0) for row in known) if known[0][4] is not None else None,
    )
