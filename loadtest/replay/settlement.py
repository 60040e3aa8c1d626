"""Replay (b): does every fen of the recorded coupons turn up where it belongs?

Each line of a basket that a coupon took something off is redeemed at its store at its moment. The
basket is what was paid plus both discounts; the mall bears ``coupon_disc`` and the store's merchant
``coupon_match_disc``, by a coupon for each, which the household claims right before. Both are
``amount_off`` coupons of campaigns made for each amount and bearer; they stack, and as the basket
less both is what was paid, at least 0, nothing is ever clipped. Each store has a merchant of its
own.

Afterwards every month is settled, and the statements of each store and the postings are compared
with sums over the recorded lines.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from itertools import pairwise
from typing import Any

import orjson

from loadtest.replay.client import Client, Connection, ReplayError, with_json
from loadtest.replay.drive import Act, Drive
from loadtest.replay.records import Line, Records, midnight
from loadtest.replay.rules import STORE, moment, put, user_of

MALL, SHOP = "mall", "merchant"
SUMS = ("redemptions", "sales", "discount", "mall_bears", "merchant_bears", "payable_to_merchant")
ZEROS = ("reversals", "prepaid", "others_bear", "stored_value", "points_value", "commission")
PAGE = 10_000  # postings
BOOKS_PATIENCE_SECONDS = 900.0  # for the writer to come to the end of its backlog

Store = tuple[str, date]  # a store in a month, named by its first day


@dataclass(frozen=True, slots=True)
class Expected:
    """What the records say must come of it."""

    claims: int
    replies: Counter[str]  # amount, discount and payable of all redemptions
    months: list[date]  # the first days of the months to settle, and of the one after the last
    stores: dict[Store, Counter[str]]  # the totals of each statement
    postings: Counter[str]  # balances by account


def expected_of(records: Records) -> Expected:
    """Computed from the tables alone."""
    stores: dict[Store, Counter[str]] = defaultdict(Counter)
    replies: Counter[str] = Counter()
    for line in records.lines:
        off = line.coupon + line.match
        replies.update(amount=line.paid + off, discount=off, payable=line.paid)
        stores[store_of(line.store), line.moment.date().replace(day=1)].update(
            redemptions=len(coupons_of(line)),
            sales=line.paid,
            discount=off,
            mall_bears=line.coupon,
            merchant_bears=line.match,
            payable_to_merchant=line.coupon,
        )
    redeemed = {(use.mailing, use.coupon, use.household): use.day for use in reversed(records.uses)}
    for day in redeemed.values():
        stores[STORE, day.replace(day=1)].update(redemptions=1)
    sums = sum(stores.values(), Counter[str]())
    return Expected(
        claims=sum(len(coupons_of(line)) for line in records.lines),
        replies=replies,
        months=_months([*(m for _, m in stores), *_first_days(records)]),
        stores=stores,
        postings=Counter(
            {
                "customer.paid": sums["sales"],
                "merchant.sales": -sums["sales"],
                "mall.subsidy": sums["mall_bears"],
                "merchant.subsidy": sums["merchant_bears"],
                "merchant.discount": -sums["discount"],
            }
        ),
    )


def _first_days(records: Records) -> Iterator[date]:
    """Of the months in which campaigns begin: the claims are of these."""
    return (mailing.first_day.replace(day=1) for mailing in records.mailings)


def _months(months: list[date]) -> list[date]:
    """Every month from the first to the one after the last."""
    if not months:
        return []
    found = [min(months)]
    while found[-1] <= max(months):
        last = found[-1]
        found.append(date(last.year + last.month // 12, last.month % 12 + 1, 1))
    return found


def coupons_of(line: Line) -> list[tuple[str, int]]:
    """Who bears how much of a line: a coupon for each."""
    return [(bearer, off) for bearer, off in ((MALL, line.coupon), (SHOP, line.match)) if off]


async def replay_settlement(drive: Drive, records: Records) -> None:
    """Define, redeem, settle, compare."""
    expected = expected_of(records)
    report = drive.report
    report.equal("recorded lines", "left out: price below 0", 0, records.left_out)
    await define(drive, records)
    tills = Tills(drive)
    requests = expected.claims + len(records.lines)
    async with drive.measured("settlement", requests, kill=True):
        await drive.client.each(records.lines, tills.redeem)
    report.outcomes(
        "settlement",
        {"claimed": expected.claims, "redeemed": len(records.lines)},
        tills.outcomes,
        tills.wrong,
    )
    for name in ("amount", "discount", "payable"):
        report.equal("settlement", f"{name} of all", expected.replies[name], tills.sums[name])
    await settle(drive, expected)
    await compare_postings(drive, expected)


async def define(drive: Drive, records: Records) -> None:
    """Merchants and stores, and a campaign for each amount and bearer."""
    client = drive.client
    stores = sorted({line.store for line in records.lines})
    kinds = sorted({kind for line in records.lines for kind in coupons_of(line)})
    merchants = [
        put(client, f"/v1/merchants/{store_of(store)}", {"name": f"Merchant {store}"})
        for store in stores
    ]
    others = [
        put(
            client,
            f"/v1/stores/{store_of(store)}",
            {"name": f"Store {store}", "merchant_id": store_of(store)},
        )
        for store in stores
    ]
    others += [campaign(client, bearer, off) for bearer, off in kinds]
    await drive.phase(
        "definitions of (b)",
        ([Act(request, "done") for request in group] for group in (merchants, others)),
        {"done": len(merchants) + len(others)},
        vital=True,
    )


def campaign(client: Client, bearer: str, off: int) -> bytes:
    """So much off, borne by the mall or by whoever redeems; valid all the time."""
    name = campaign_of(bearer, off)
    body = {
        "id": name,
        "name": f"{off} fen off, borne by the {bearer}",
        "kind": "coupon",
        "benefit": {"type": "amount_off", "amount": off},
        "stock": {"total": None},
        "validity": {"type": "fixed", "start": None, "end": None},
        "funding": {bearer: 100},
    }
    return with_json(client.head("POST", "/v1/campaigns", Idempotency_Key=name), body)


class Tills:
    """Claims and redeems lines, and counts what the answers said."""

    def __init__(self, drive: Drive) -> None:
        self.outcomes: Counter[str] = Counter()
        self.sums: Counter[str] = Counter()
        self.wrong = 0
        self._report = drive.report
        self._claim = drive.client.head("POST", "/v1/claims")
        self._redeem = drive.client.head("POST", "/v1/redemptions")

    async def redeem(self, connection: Connection, line: Line) -> None:
        """Claim the coupons of a line, redeem them together, look at the answer."""
        coupons = {}
        for bearer, off in coupons_of(line):
            body = {
                "campaign_id": campaign_of(bearer, off),
                "user_id": user_of(line.household),
                "channel": "till",
            }
            key = f"cj-{line.basket}-{line.product}-{bearer}"
            answer = await connection.ask(_request(self._claim, line.moment, key, body))
            self.outcomes["claimed" if answer.status == 201 else answer.outcome] += 1
            if answer.status == 201:
                coupons[orjson.loads(answer.body)["id"]] = off
        basket = {"amount": line.paid + line.coupon + line.match}
        redemption = {
            "coupons": [{"id": name} for name in coupons],
            "store_id": store_of(line.store),
            "channel": "cashier",
            "order_ref": f"{line.basket}-{line.product}",
            "basket": basket,
        }
        key = f"cj-{line.basket}-{line.product}"
        answer = await connection.ask(_request(self._redeem, line.moment, key, redemption))
        self.outcomes["redeemed" if answer.status == 201 else answer.outcome] += 1
        reply = orjson.loads(answer.body) if answer.status == 201 else {}
        self.sums.update({name: reply.get(name, 0) for name in ("amount", "discount", "payable")})
        applied = {one["coupon_id"]: one["discount"] for one in reply.get("applied", ())}
        if applied != coupons or reply.get("payable") != line.paid:
            self.wrong += 1
            self._report.example(f"settlement: {line} -> {answer.body[:500].decode()}")


def _request(head: bytes, at: datetime, key: str, body: Any) -> bytes:
    line = b"Hexiao-Now: %b\r\nIdempotency-Key: %b\r\n" % (moment(at).encode(), key.encode())
    return with_json(head + line, body)


async def settle(drive: Drive, expected: Expected) -> None:
    """A statement for each store and month; the books may have to catch up first."""
    got: dict[Store, Counter[str]] = {}
    zeros: Counter[str] = Counter()
    months = expected.months
    now = moment(midnight(months[-1])) if months else ""
    async with drive.measured("statements", max(len(months) - 1, 0)):
        for first, after in pairwise(months):
            for statement in await _close(drive.client, first, after, now):
                if statement["merchant_id"].startswith("cj-"):
                    totals = Counter({name: statement["totals"][name] for name in SUMS})
                    got[statement["merchant_id"], first] = totals
                    zeros.update({name: abs(statement["totals"][name]) for name in ZEROS})
                    zeros["late"] += statement["late"]
    _compare(drive, expected.stores, got)
    drive.report.equal("statements", "all other sums", 0, zeros.total())


async def _close(client: Client, first: date, after: date, now: str) -> Iterator[dict[str, Any]]:
    """The statements of a month; ReplayError when the books never get there."""
    start, end = moment(midnight(first)), moment(midnight(after))
    loop = asyncio.get_running_loop()
    until = loop.time() + BOOKS_PATIENCE_SECONDS
    while True:
        answer = await client.ask(
            "POST",
            "/v1/statements",
            {"start": start, "end": end},
            Hexiao_Now=now,
            Idempotency_Key=f"cj-{first}-{after}",
        )
        if answer.outcome != "period_open":
            return iter(answer.json["items"])
        if loop.time() > until:
            raise ReplayError("The books do not catch up: does the writer run?")
        await asyncio.sleep(0.5)


def _compare(drive: Drive, expected: dict[Store, Counter[str]], got: dict[Store, Any]) -> None:
    """Every figure of every statement; then the sums, which say the same at one look."""
    report = drive.report
    report.equal("statements", "stores x months", len(expected), len(got))
    wrong = 0
    for place in sorted(expected.keys() | got.keys()):
        mine, theirs = expected.get(place, Counter()), got.get(place, Counter())
        differs = {name: (mine[name], theirs[name]) for name in SUMS if mine[name] != theirs[name]}
        if differs:
            wrong += 1
            report.example(f"statement of {place[0]} for {place[1]:%Y-%m}: {differs}")
    report.equal("statements", "that differ anywhere", 0, wrong)
    for name in SUMS:
        sums = (sum(one[name] for one in side.values()) for side in (expected, got))
        report.equal("statements", name, *sums)


async def compare_postings(drive: Drive, expected: Expected) -> None:
    """Read the journal to its end: no gaps, every act and all of it zero, the accounts as due."""
    acts: Counter[str] = Counter()
    accounts: Counter[str] = Counter()
    last, gaps, controls = 0, 0, 0
    async with drive.measured("postings", 0):
        while True:
            rows, control = await _page(drive.client, last)
            gaps += [row["n"] for row in rows] != list(range(last + 1, last + 1 + len(rows)))
            amounts = [row["amount"] for row in rows]
            debits = sum(amount for amount in amounts if amount > 0)
            ours = (len(rows), debits, debits - sum(amounts))
            controls += ours != (control["count"], control["debits"], control["credits"])
            for row in rows:
                acts[row["act_id"]] += row["amount"]
                if row["store_id"].startswith("cj-"):
                    accounts[row["account"]] += row["amount"]
            if len(rows) < PAGE:
                break
            last = control["last"]
    report = drive.report
    report.equal("postings", "pages with a gap", 0, gaps)
    report.equal("postings", "pages that miss their control totals", 0, controls)
    report.equal("postings", "acts that do not sum to zero", 0, sum(map(bool, acts.values())))
    report.equal("postings", "sum of all", 0, acts.total())
    for account in sorted(expected.postings.keys() | accounts.keys()):
        report.equal("postings", account, expected.postings[account], accounts[account])


async def _page(client: Client, after: int) -> tuple[list[dict[str, Any]], dict[str, int]]:
    path = f"/v1/books/postings?after={after}&limit={PAGE}"
    answer = await client.ask("GET", path, Accept="application/x-ndjson")
    if answer.status != 200:
        raise ReplayError(f"The postings can't be read: {answer.body[:300].decode()}")
    *rows, last = (orjson.loads(line) for line in answer.body.splitlines())
    return rows, last["control"]


def campaign_of(bearer: str, off: int) -> str:
    """The engine's id of the coupons of one amount and bearer."""
    return f"cj-{bearer}-{off}"


def store_of(store: int) -> str:
    """The engine's id of a recorded store, and of its merchant."""
    return f"cj-{store}"
