"""The rules in Lua against the rules in Python: never a fen, a code or a line apart.

Cases are drawn first, then redeemed many at a time; HEXIAO_LONG=1 draws more of them.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, replace
from functools import cache
from random import Random
from typing import Any

import msgspec
import redis
from hypothesis import HealthCheck, Phase, given, settings

from engine import keys
from engine.arithmetic import back, split
from engine.outcomes import Outcome
from engine.records import (
    CouponHold,
    CouponRecord,
    CouponState,
    Line,
    PointsHold,
    PointsLot,
    PointsRecord,
    SettingsRecord,
    Terms,
    UserRecord,
    pack,
)
from engine.rules import Candidate, Judgement, Scene, calendar, is_open, judge
from engine.tenders import STORED_VALUE, many, purse_of
from tests.engine.harness import WHO, Running, mall_on
from tests.engine.test_lua import CELL, library
from tests.unit.rules_language import give_back
from tests.unit.rules_strategies import NOW, baskets, scenes, wallets

CASES = 100_000 if os.environ.get("HEXIAO_LONG") == "1" else 1_000
AT_ONCE = 4000  # more may not wait for one cell
OLD_HOLD = "0000000H01D"


@dataclass
class Case:
    """A wallet, a basket and a scene."""

    number: int
    wallet: list[Candidate]
    lines: list[Line]
    scene: Scene
    hold: bool
    all_or_nothing: bool
    points: PointsRecord
    asked: int

    @property
    def user(self) -> str:
        return f"u{self.number}"

    def judged(self) -> Judgement:
        purse = purse_of(self.asked, self.points, SettingsRecord(0), self.scene.now)
        return judge(self.wallet, self.lines, self.scene, purse=purse)


@cache
def cases() -> list[Case]:
    """The same ones each time. Drawing is slow, so what was drawn is put together many times."""
    coupons: list[Candidate] = []
    goods: list[list[Line]] = []
    places: list[Scene] = []

    @settings(
        max_examples=CASES // 12, derandomize=True, database=None, deadline=None,
        phases=[Phase.generate], suppress_health_check=list(HealthCheck),
    )
    @given(wallets(), baskets(), scenes())
    def draw(wallet: list[Candidate], lines: list[Line], scene: Scene) -> None:
        coupons.extend(wallet)
        goods.append(lines)
        places.append(scene)

    draw()
    dice = Random(CASES)

    drawn = []
    for number in range(CASES):
        scene = replace(
            dice.choice(places),
            now=NOW if dice.random() < 0.6 else dice.choice(places).now,
            user_frozen=dice.random() < 0.03,
            member_used=dice.random() < 0.03,
            member_stale=dice.random() < 0.03,
            store_closed=dice.random() < 0.03,
        )
        hold = dice.random() < 0.3
        wallet = _wallet(number, dice, coupons, hold, scene.now)
        lines = dice.choice(goods) or dice.choice(goods)  # few empty ones
        asked = dice.choice([0, 0, 0, -1, dice.randrange(1, 3000)])
        points = _points(dice, scene.now)
        drawn.append(
            Case(number, wallet, lines, scene, hold, dice.random() < 0.1, points, asked)
        )
    return drawn


def _points(dice: Random, now: int) -> PointsRecord:
    """Lots usable and not, ended and not, some set aside by a hold that is open or has lapsed."""

    def lot(n: int) -> PointsLot:
        ends = dice.choice([0, now + 1, now + 2, now])
        return PointsLot(f"{n:011}", dice.randrange(1, 2000), now + dice.choice([0, 0, 1]), ends)

    found = [lot(n) for n in range(dice.randrange(3))]
    lots = sorted(found, key=lambda one: one.expires or 1 << 60)
    hold = PointsHold("0000000000H", now + dice.randrange(2), 500, [lot(9)])
    holds = [hold] if dice.random() < 0.3 else []
    balance = sum(one.points for one in lots) + sum(h.parts[0].points for h in holds)
    return PointsRecord(balance, 0, lots, holds)


def _used(dice: Random, record: CouponRecord, terms: Terms, now: int) -> CouponRecord:
    """A coupon of several uses or stored value, partly used, with holds open and lapsed."""
    if not many(terms):
        return record
    stored = terms.benefit == STORED_VALUE
    total = terms.amount if stored else terms.uses
    taken = dice.choice([0, dice.randint(0, total), total]) if dice.random() < 0.5 else 0
    state = record.state if record.state == CouponState.VOIDED else CouponState.ISSUED
    holds: list[CouponHold] = []
    left = total - taken
    while left and dice.random() < 0.4:
        part = dice.randint(1, left) if stored else 1
        left -= part
        until = now + dice.randrange(-1, 2)
        size = (0, part) if stored else (1, 0)
        holds.append(CouponHold(f"{len(holds):011}", until, *size))
    return msgspec.structs.replace(
        record,
        state=CouponState.REDEEMED if taken == total else state,
        redemption="",
        **({"spent": taken} if stored else {"used": taken}),
        holds=holds,
    )


def _wallet(
    number: int, dice: Random, coupons: list[Candidate], hold: bool, now: int
) -> list[Candidate]:
    """With ids that Redis can hold, one status a campaign, one revision of terms a coupon."""
    statuses: dict[str, str] = {}
    wallet = []
    for n, candidate in enumerate(dice.sample(coupons, dice.randint(1, 7))):
        status = statuses.setdefault(candidate.record.campaign_id, candidate.campaign_status)
        own_hold = hold and (candidate.own_hold or dice.random() < 0.05)
        record = msgspec.structs.replace(
            candidate.record,
            campaign_id=f"{number}-{candidate.record.campaign_id}",
            terms_revision=n + 1,
            state=dice.randrange(4) if dice.random() < 0.1 else candidate.record.state,
            redemption=OLD_HOLD if own_hold else "",
        )
        terms = _terms(dice, dice.choice(coupons).terms)
        if terms.benefit not in (STORED_VALUE, "exchange") and dice.random() < 0.2:
            terms = msgspec.structs.replace(terms, kind="pass", uses=dice.randint(2, 4))
        wallet.append(
            replace(
                candidate, id=f"000000000{n:02}", record=_used(dice, record, terms, now),
                campaign_status=status, terms=terms, own_hold=own_hold and not many(terms),
            )
        )
    return wallet


def _terms(dice: Random, terms: Terms) -> Terms:
    """Half of them usable anywhere on anything, so that much is applied and not only refused;
    percentages that often come to half a fen."""
    if terms.basis_points and dice.random() < 0.5:
        terms = msgspec.structs.replace(terms, basis_points=dice.choice([50, 500, 1250, 5000]))
    if dice.random() < 0.5:
        return terms
    return msgspec.structs.replace(
        terms, stores=None, channels=None, weekdays=None, hours=None, include_categories=None,
        include_skus=None, exclude_categories=None,
    )


async def put(mall: Running, case: Case, pipe: Any) -> None:
    """The case's wallet and campaigns, as they would lie in Redis."""
    handle, tag = mall.engine.handle_of(case.user), mall.engine.tags[0]
    scene = case.scene
    wallet: dict[str, Any] = {
        "u": pack(UserRecord(case.user, frozen=int(scene.user_frozen), member_step=5)),
        f"h{scene.store_id}/order": OLD_HOLD,
        "p": pack(case.points),
    }
    for candidate in case.wallet:
        record = candidate.record
        wallet[f"C{candidate.id}"] = pack(record)
        campaign = keys.campaign_key(tag, record.campaign_id)
        issue = [1, candidate.campaign_status]  # all that a redemption reads of it
        pipe.hset(
            campaign,
            mapping={"issue": pack(issue), f"t{record.terms_revision}": pack(candidate.terms)},
        )
    pipe.hset(keys.wallet_key(tag, handle), mapping=wallet)


async def redeem(mall: Running, case: Case) -> Any:
    handle = mall.engine.handle_of(case.user)
    return await mall.engine.redeem(
        handle=handle,
        coupons=[(keys.make_id("C", handle, c.id), c.step, c.stale) for c in case.wallet],
        store_id=case.scene.store_id,
        key="r",
        who=WHO,
        amount=sum(line.amount for line in case.lines),
        lines=case.lines,
        member_step=5 if case.scene.member_used else 0,
        member_stale=case.scene.member_stale,
        channel=case.scene.channel,
        order_ref="order" if case.hold else "",
        hold_seconds=60 if case.hold else 0,
        best_effort=not case.all_or_nothing,
        points=case.asked,
        now=case.scene.now,
    )


def expected(case: Case) -> tuple[Outcome, list[Any], list[Any]]:
    """(outcome, applied, refused) by the rules in Python."""
    judgement = case.judged()
    refused = [(skip.id, skip.outcome, skip.short_by) for skip in judgement.skipped]
    nothing = not judgement.applied and not judgement.tenders
    if nothing or (refused and case.all_or_nothing):
        return judgement.skipped[0].outcome if refused else Outcome.NO_EFFECT, [], refused
    applied: list[Any] = [
        (c.id, c.discount, c.value, [(s.line, s.discount) for s in c.shares])
        for c in judgement.applied
    ]
    applied += [
        (t.id, t.amount, t.points, t.balance, [(s.line, s.discount) for s in t.shares])
        for t in judgement.tenders
    ]
    return Outcome.DONE, applied, refused


def found(answer: Any) -> tuple[Outcome, list[Any], list[Any]]:
    """The same of what the script answered."""
    if answer.value is None:
        failed = answer.details.get("failed", [])
        return answer.outcome, [], [
            ((item["coupon_id"] or "")[17:], item["outcome"], item["short_by"]) for item in failed
        ]
    record = answer.value.record
    assert record.discount == sum(used.discount for used in record.coupons)
    applied: list[Any] = [
        (used.serial, used.discount, used.value, [(s.line, s.discount) for s in used.lines])
        for used in record.coupons
    ]
    applied += [
        (t.serial, t.amount, t.points, t.balance, [(s.line, s.discount) for s in t.lines])
        for t in record.tenders
    ]
    return answer.outcome, applied, [
        (skip.serial, Outcome(skip.outcome), skip.short_by) for skip in record.skipped
    ]


async def test_redemptions_and_reversals_are_judged_alike(small_mall: Running) -> None:
    """One mall for each floor and each kind of store, one person for each case."""
    malls: dict[tuple[int, bool], Running] = {}
    pipe = small_mall.server._reading.pipeline(transaction=False)
    for case in cases():
        place = case.scene.payable_floor, case.scene.store_closed
        if place not in malls:
            name = f"{small_mall.id}-{place[0]}-{place[1]}"
            malls[place] = mall = await mall_on(small_mall.server, small_mall.books, name)
            await mall.settings(payable_floor=place[0])
            for store in ("s1", "s2"):
                await mall.put_raw_store(store, closed=place[1])
        await put(malls[place], case, pipe)
    await pipe.execute()
    places = [malls[case.scene.payable_floor, case.scene.store_closed] for case in cases()]
    answers: list[Any] = []
    for start in range(0, CASES, AT_ONCE):
        some = zip(places[start : start + AT_ONCE], cases()[start : start + AT_ONCE], strict=True)
        answers += await asyncio.gather(*(redeem(mall, case) for mall, case in some))
    wrong = [
        (len(str(case)), case, found(answer), expected(case))
        for case, answer in zip(cases(), answers, strict=True)
        if found(answer) != expected(case)
    ]
    if wrong:
        _, case, got, wanted = min(wrong, key=lambda row: row[0])
        raise AssertionError(f"{len(wrong)} differ; the smallest: {case}\n{got}\n{wanted}")
    outcomes = {answer.outcome for answer in answers}
    assert len(outcomes) > 15, "the cases are too much alike"

    redeemed = [
        (mall, case, answer.value)
        for mall, case, answer in zip(places, cases(), answers, strict=True)
        if answer.value and not case.hold
    ]
    assert len(redeemed) > CASES // 20
    for start in range(0, len(redeemed), AT_ONCE):
        await asyncio.gather(*(returns(*row) for row in redeemed[start : start + AT_ONCE]))


async def returns(mall: Running, case: Case, redemption: Any) -> None:
    """A few returns of goods, some of them too many, then all that is left."""
    dice = Random(case.number)
    lines, coupons = redemption.record.lines, redemption.record.coupons
    tenders = redemption.record.tenders
    for turn in range(5):
        goods: list[tuple[int, int]] | None = None
        if turn < 4 and lines:
            chosen = [dice.randrange(len(lines)) for _ in range(dice.randrange(1, 3))]
            goods = [(i, dice.randint(0, 1 + lines[i].amount * 2 // 3)) for i in chosen]
        answer = await mall.engine.reverse(
            redemption_id=redemption.id, key=f"v{turn}", who=WHO, reason="r",
            lines=None if goods is None else [(lines[i].id, amount) for i, amount in goods],
            now=case.scene.now,
        )
        done = all(line.returned == line.amount for line in lines)
        if turn and done and answer.outcome is Outcome.ALREADY_REVERSED:
            return
        expected = give_back(lines, coupons, goods, tenders)
        if isinstance(expected, Outcome):
            assert answer.outcome is expected, (case, goods)
            continue
        assert answer.value, (case, goods, answer)
        entry = answer.value.record
        gross, discount_back, home, given = expected
        assert sum(amount for _, amount, _ in entry.lines) == gross
        assert sum(amount for *_, amount in entry.lines) == discount_back, (case, goods)
        assert [serial for serial, _, came in entry.coupons if came] == home, (case, goods)
        assert [(fen, points) for *_, fen, points in entry.tenders] == [
            one for one in given if one[0]
        ], (case, goods)
        after = answer.value.redemption.record.tenders
        assert [(t.back, t.points_back, t.lines) for t in after] == [
            (t.back, t.points_back, t.lines) for t in tenders
        ], (case, goods)
        assert answer.value.redemption.record.lines == lines
        assert [c.lines for c in answer.value.redemption.record.coupons] == [
            c.lines for c in coupons
        ], (case, goods)


def test_splits_and_parts_are_exact_up_to_the_largest_amounts(redis_url: str) -> None:
    dice = Random(7)

    def money() -> int:
        return dice.choice([dice.randrange(100), dice.randrange(10**6), dice.randrange(10**11)])

    splits = []
    for _ in range(2000):
        weights = [money() for _ in range(dice.randrange(1, 7))]
        splits.append((dice.randint(0, sum(weights)), weights))
    wholes = [money() for _ in range(2000)]
    parts = [(money(), dice.randint(0, gross), gross) for gross in wholes]
    source = library("arithmetic", "pack") + (
        "local a, b = cmsgpack.unpack(ARGV[1]), {}\n"
        "for i, s in ipairs(a[1]) do a[1][i] = arithmetic.split(s[1], s[2]) end\n"
        "for i, p in ipairs(a[2]) do b[i] = arithmetic.back(p[1], p[2], p[3]) end\n"
        "return cmsgpack.pack({ a[1], b })"
    )
    with redis.Redis.from_url(redis_url) as client:
        answer = msgspec.msgpack.decode(client.eval(source, 1, CELL, pack([splits, parts])))
    assert answer[0] == [split(amount, weights) for amount, weights in splits]
    assert answer[1] == [back(*part) for part in parts]


def test_days_weeks_months_and_hours_are_told_alike(redis_url: str) -> None:
    dice = Random(8)
    edges = [hour * 3_600_000 + ms for hour in range(48) for ms in (-1, 0, 1)]
    moments = [
        (max(0, dice.randrange(0, 4_102_444_800_000) // 86_400_000 * 86_400_000 + edge), offset)
        for edge in edges * 8
        for offset in [dice.choice([-12, -5, -3.5, 0, 1, 5.75, 8, 14])]
    ]
    asked = []
    for now, hours in moments:
        days = dice.choice([None, [], [1], [5, 6, 7], [2, 4]])
        spans = [(dice.randrange(1440), dice.randrange(1, 1441)) for _ in range(dice.randrange(3))]
        asked.append((now, int(hours * 3_600_000), days, dice.choice([None, spans])))
    source = library("calendar", "pack") + (
        "local found = {}\n"
        "for i, m in ipairs(cmsgpack.unpack(ARGV[1])) do\n"
        "  local day, week, month = calendar.of(m[1], m[2])\n"
        "  found[i] = { day, week, month, calendar.open(m[3], m[4], m[1], m[2]) }\n"
        "end\n"
        "return cmsgpack.pack(found)"
    )
    with redis.Redis.from_url(redis_url) as client:
        answer = msgspec.msgpack.decode(client.eval(source, 1, CELL, pack(asked)))
    assert answer == [
        [*calendar(now, offset), is_open(days, spans, now, offset)]
        for now, offset, days, spans in asked
    ]
