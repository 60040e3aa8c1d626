"""The worked examples of parking payments in docs/RULES.md, run on three cells and reconciled."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine import keys
from engine.books import definitions_parking
from engine.definitions import Lot, Tariff
from engine.outbox import open_client
from engine.outcomes import Outcome
from engine.parking.payments import Bill, Help, Payer, Payment, Shown
from engine.parking.tariff import worth
from engine.reconcile import reconcile
from tests.engine.harness import ANN, WHO, Running, open_mall, reconciled
from tests.unit.rules_language import OFFSET, campaign, ms

RULES = Path(__file__).parents[2] / "docs" / "RULES.md"
ENTERED = ms("2026-01-05 10:00")
MINUTE_MS = 60_000
SAID = {"merchant": "shop", "manual": "booth"}


@dataclass
class Example:
    """One person, one stay, what is known of it."""

    mall: Running
    name: str
    tariff: Tariff | None = None
    coupons: dict[str, str] = field(default_factory=dict)  # id -> name in the example
    given: list[tuple[str, str, int, int, str, str]] = field(default_factory=list)
    tiers: list[tuple[str, int, int, int]] = field(default_factory=list)
    caps: dict[str, int] = field(default_factory=dict)
    points: bool = False

    @property
    def user(self) -> str:
        return f"user-{self.name}"

    async def line(self, text: str) -> list[str]:
        """Play a line; what a payment answers."""
        verb, *words = text.split()
        told = dict(word.split("=") for word in words if "=" in word)
        engine = self.mall.engine
        match verb:
            case "tariff":
                first, unit = told.pop("first", None), told.pop("unit").split(":")
                body: dict[str, Any] = {name: int(value) for name, value in told.items()}
                body |= {"unit_minutes": int(unit[0]), "unit_fee": int(unit[1])}
                if first:
                    minutes, fee = map(int, first.split(":"))
                    body["first"] = {"minutes": minutes, "fee": fee}
                self.tariff = msgspec.convert(body, Tariff)
            case "coupon":
                await self._coupon(words[0], words[1], told)
            case "tier":
                await engine.set_profile(user_id=self.user, who=WHO, tier="gold")
                self.tiers = [("gold", int(told.get("minutes", 0)), int(told.get("amount", 0)), -1)]
            case "shop":
                minutes, amount = int(told.get("minutes", 0)), int(told.get("amount", 0))
                self.given.append(("merchant", "K1", minutes, amount, "merchant:m2", ""))
            case "booth":
                self.given.append(("manual", "O1", 0, int(words[0]), "redeeming", ""))
            case "caps":
                self.caps = {name: int(value) for name, value in told.items()}
            case "points":
                self.points = True
                await engine.points.credit(
                    user_id=self.user, kind="earn", points=int(words[0]), key=self.name, who=WHO
                )
            case _:
                return await self._pay(verb, words)
        return []

    async def _coupon(self, name: str, benefit: str, told: dict[str, str]) -> None:
        kind = told.pop("kind", "parking")
        stacking = {"order": 100 + len(self.coupons)}
        body: dict[str, Any] = {"type": benefit, **{k: int(v) for k, v in told.items()}}
        campaign_id = f"{self.name}-{name}"
        made = campaign(benefit, id=campaign_id, kind=kind, benefit=body, stacking=stacking)
        await self.mall.publish(made)
        claimed = await self.mall.engine.claim(
            user_id=self.user, campaign_id=campaign_id, channel="app", key=name, who=WHO
        )
        assert claimed.value
        self.coupons[claimed.value.id] = name

    async def _pay(self, mode: str, words: list[str]) -> list[str]:
        """``hold f1 120 min 2000 paid 500 vendor a:900``."""
        fee_id, minutes, _, fee, *rest = words
        options = dict(zip(rest[::2], rest[1::2], strict=True))
        as_of = ENTERED + int(minutes) * MINUTE_MS
        table = worth(self.tariff, ENTERED, as_of, OFFSET) if self.tariff else None
        named = {name: coupon_id for coupon_id, name in self.coupons.items()}
        pairs = [pair.split(":") for pair in options.get("vendor", "").split(",") if pair]
        answer = await self.mall.engine.payments.pay(
            mode,
            Payer(self.mall.engine.handle_of(self.user), self.user),
            Bill("P1", f"s-{self.name}", fee_id, "m1", int(fee), int(options.get("paid", 0)),
                 as_of, 0, table),
            Help(
                given=self.given, tiers=self.tiers, points=self.points,
                caps=(self.caps.get("coupons", -1), self.caps.get("minutes", -1),
                      self.caps.get("amount", -1), self.caps.get("points", -1)),
            ),
            Shown([(coupon_id, 0, False) for coupon_id in self.coupons]),
            who=WHO,
            hold_seconds=900,
            vendor=[(named.get(name, name), int(fen)) for name, fen in pairs]
            if "vendor" in options else None,
        )  # fmt: skip
        if answer.value is None:
            return [answer.outcome.code]
        return self._shown(answer.value)

    def _shown(self, found: Payment) -> list[str]:
        record, payment = found.record, found.payment
        lines = []
        for d in record.deductions:
            name = SAID.get(d.type, d.type)
            if d.type == "coupon":
                name = self.coupons[f"C{found.handle}{d.id}"]
            minutes = f"{d.minutes} min " if d.minutes else ""
            lines.append(f"{name} {minutes}{d.amount}")
        for skip in record.skipped:
            name = self.coupons[f"C{found.handle}{skip.serial}"]
            lines.append(f"{name}: {Outcome(skip.outcome).code}")
        if payment.already_deducted:
            lines.append(f"deducted before {payment.already_deducted}")
        off = record.discount + sum(tender.amount for tender in record.tenders)
        left = payment.fee_total - payment.already_paid - payment.already_deducted - off
        return [*lines, f"pay {max(0, left)}"]


@pytest.fixture
async def mall(redis_url: str, tenant: str, books_file: Path) -> AsyncIterator[Running]:
    """Three cells on the session's server, one lot of m1."""
    async with open_mall(tenant, redis_url, books_file, cells=3) as running:
        await running.store("s1")
        lot = Lot(name="P1", merchant_id="m1")
        await definitions_parking.put_lot(running.books, running.id, ANN, "P1", lot)
        await running.control.publish_lot("P1")
        yield running


def examples() -> list[tuple[int, str]]:
    """(line number, block) of each ``parking`` block."""
    text = RULES.read_text(encoding="utf-8")
    return [
        (text.count("\n", 0, match.start()) + 1, match[1])
        for match in re.finditer(r"```parking\n(.*?)```", text, re.DOTALL)
    ]


async def test_examples_hold(mall: Running, redis_url: str) -> None:
    assert len(examples()) >= 10
    for number, block in examples():
        example, got, expected = Example(mall, f"e{number}"), [], []
        for line in block.strip().splitlines():
            if line.startswith("-> "):
                expected.append(line[3:].strip())
            else:
                got += await example.line(line)
        assert got == expected, f"docs/RULES.md:{number}"
    await reconciled(mall.books, redis_url, mall.id)


async def test_each_coupon_once_whoever_pays_at_once(mall: Running, redis_url: str) -> None:
    """Six drivers on three cells, each with one coupon at four gates, each payment sent thrice."""
    payments, tariff = mall.engine.payments, Tariff(unit_minutes=60, unit_fee=1000)
    as_of = ENTERED + 120 * MINUTE_MS
    table = worth(tariff, ENTERED, as_of, OFFSET)
    benefit = {"type": "parking_minutes", "minutes": 60}
    await mall.publish(campaign("parking_minutes", id="hour", kind="parking", benefit=benefit))
    acts = []
    for n in range(6):
        claimed = await mall.engine.claim(
            user_id=f"u{n}", campaign_id="hour", channel="app", key="k", who=WHO
        )
        assert claimed.value
        shown = Shown([(claimed.value.id, 0, False)])
        payer = Payer(mall.engine.handle_of(f"u{n}"), f"u{n}")
        for gate in range(4):
            bill = Bill("P1", f"s{n}-{gate}", "f", "m1", 2000, 0, as_of, 0, table)
            acts += [
                payments.pay(mode, payer, bill, Help(), shown, who=WHO, hold_seconds=900)
                for mode in ("hold", "commit", "commit")
            ]
    answers = await asyncio.gather(*acts)
    found = [answer.value for answer in answers if answer.value]
    assert len(found) == len(acts)
    made = {one.redemption_id: one.record for one in found if one.redemption_id}
    used = [used.serial for record in made.values() for used in record.coupons]
    assert len(used) == len(set(used)) == 6
    assert len(made) == 24
    await reconciled(mall.books, redis_url, mall.id)
    # A payment that Redis has forgotten is named.
    handle = mall.engine.handle_of("u3")
    serial = payments.use_serial(handle, "P1", "s3-1")
    client = await open_client(redis_url)
    await client.delete(keys.stay_use_key(mall.engine.tag_of(handle), handle, serial))
    report = await reconcile(mall.books, client, mall.id)
    await client.aclose()
    assert [(one.what, one.where) for one in report.differences] == [
        ("payment of a stay", "s3-1/f")
    ]
