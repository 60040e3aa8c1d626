"""The events feed over several cells: ordered by time, late facts told late, notices once."""

from __future__ import annotations

from pathlib import Path

from engine.books import events, notices
from tests.engine.harness import WHO, open_mall, reconciled
from tests.unit.rules_language import campaign, ms

HOUR = 3_600_000


async def test_order_over_cells_and_a_cell_that_is_late(
    tenant: str, redis_url: str, books_file: Path
) -> None:
    async with open_mall(tenant, redis_url, books_file, cells=3) as mall:
        await mall.publish(campaign("amount_off amount=100", id="c", issue={"per_user": None}))
        now = ms("2026-02-06 12:00")
        for n in range(30):
            answer = await mall.engine.claim(
                user_id=f"u{n}", campaign_id="c", channel="a", key=f"k{n}", who=WHO, now=now + n
            )
            assert answer.ok
        await reconciled(mall.books, redis_url, tenant)

        async def told(rehearsal: bool, position: events.Position | None = None) -> list[int]:
            times: list[int] = []
            while True:
                page = await events.feed(
                    mall.books, tenant, position, ["issued"], 7, rehearsal=rehearsal
                )
                times += [one.at for one in page.events]
                position = page.position
                if not page.more:
                    return times

        assert await told(True) == [now + n for n in range(30)]
        # No writer has told up to when cells are complete: with several, everything waits.
        assert await told(False) == []


async def test_a_coupon_that_expires_soon_is_told_once(
    tenant: str, redis_url: str, books_file: Path
) -> None:
    async with open_mall(tenant, redis_url, books_file) as mall:
        now = ms("2026-02-06 12:00")
        for name, hours in (("long", 240), ("short", 48)):
            validity = {"type": "relative", "minutes": hours * 60}
            await mall.publish(campaign("amount_off amount=100", id=name, validity=validity))
        ids = []
        for n, name in enumerate(["long", "long", "short", "long"]):
            answer = await mall.engine.claim(
                user_id=f"u{n}", campaign_id=name, channel="a", key="k", who=WHO, now=now + n
            )
            assert answer.value
            ids.append(answer.value.id)
        await mall.engine.void(coupon_id=ids[3], key="v", who=WHO, reason="r", now=now + 5)
        await reconciled(mall.books, redis_url, tenant)
        soon = now + 168 * HOUR
        counts = [
            await notices.expiring_soon(mall.books, tenant, at)
            for at in (now, soon - 1, soon, soon, soon + 1, soon + HOUR)
        ]
        assert counts == [0, 0, 1, 0, 1, 0]
        for _ in range(2):
            await notices.budget_alarm(
                mall.books, tenant, "long", mark=80, budget=100, left=20, now=soon
            )
        page = await events.feed(
            mall.books, tenant, None, list(events.NOTICES), 9, rehearsal=False
        )
        told = [(one.id, one.type, one.body.get("coupon_id")) for one in page.events]
        assert told == [
            ("n1", "expiring_soon", ids[0]), ("n2", "expiring_soon", ids[1]),
            ("n3", "budget_alarm", None),
        ]  # fmt: skip
