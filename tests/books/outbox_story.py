"""Made-up lives of coupons as facts in an outbox, and what the books must hold afterwards.

A ``Story`` is drawn from a seed: claims, holds, redemptions, reversals and the rest in a legal
order, spread over the cells of a tenant as scripts would append them. It keeps a plain model of
the outcome, so a test can ask at any time whether the books equal the facts.
"""

from __future__ import annotations

import collections
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec
from redis.asyncio import Redis, RedisCluster
from sqlalchemy import func, insert, select

from engine import facts, keys
from engine.books import schema
from engine.books.arrivals import Entry, digest_of
from engine.books.db import Books

WHO = '{"key":"k1","label":"till 3","role":"terminal","staff":"08"}'
START = 1_772_294_400_000
CAMPAIGNS = {
    "plain": {},
    "shared": {"funding": {"mall": 50, "merchant": 50}},
    "thirds": {"funding": [
        {"party": "sponsor:cola", "percent": 33.33},
        {"party": "mall", "percent": 33.34},
        {"party": "merchant:m2", "percent": 33.33},
    ]},
}  # fmt: skip
STORES = {"s1": "m1", "s2": "m1", "s3": "m2"}


@dataclass
class Cell:
    """What happened in one cell, and what of it was not sent yet."""

    number: int
    tag: str
    facts: list[facts.AnyFact] = field(default_factory=list)
    sent: int = 0


@dataclass
class Redemption:
    """A redemption as the model knows it."""

    id: str
    fact: facts.Redeemed | facts.Held | facts.Committed
    state: str
    discounts: list[int]  # that stay redeemed, by coupon
    payable: int
    reversals: int = 0


class Story:
    """Facts of one tenant by cell; ``live`` draws more of them."""

    def __init__(self, tenant: str, cells: int = 1, seed: int = 1) -> None:
        self.tenant = tenant
        self.cells = [Cell(n, keys.cell_tag(tenant, n, cells)) for n in range(cells)]
        self.coupons: dict[str, tuple[str, str | None]] = {}  # id -> state, redemption
        self.owner: dict[str, tuple[str, Cell, str]] = {}  # id -> user, cell, campaign
        self.tiers: dict[str, str] = {}
        self.claimed_as: dict[str, str] = {}  # coupon id -> tier at the claim
        self.members: dict[tuple[str, str], int] = {}
        self.redemptions: dict[str, Redemption] = {}
        self._random = random.Random(seed)
        self._ids = 0

    # ---- acts --------------------------------------------------------------------------------

    def live(self, acts: int) -> None:
        """That many acts, drawn at random among those that are possible."""
        for _ in range(acts):
            roll = self._random.random()
            if roll < 0.5:
                self.claim(f"u{self._random.randrange(40)}")
            elif roll < 0.7:
                self._use()
            elif roll < 0.8:
                self._finish_hold()
            elif roll < 0.9:
                self._reverse()
            elif roll < 0.93:
                self._void()
            else:
                self._tell()

    def claim(self, user: str) -> str:
        """A coupon is issued: its id."""
        cell = self.cells[hash_of(user) % len(self.cells)]
        coupon = self._id("C", handle_of(user))
        campaign = self._random.choice(list(CAMPAIGNS))
        self._add(
            cell,
            facts.Claimed,
            coupon,
            user_id=user,
            campaign_id=campaign,
            terms_revision=1,
            valid_from=START,
            valid_until=0,
            channel="app",
            source='{"entry":"home"}' if self._random.random() < 0.5 else "",
            metadata="",
        )
        self.coupons[coupon] = "issued", None
        self.owner[coupon] = user, cell, campaign
        self.claimed_as[coupon] = self.tiers.get(user, "")
        return coupon

    def _use(self) -> None:
        """Redeem or hold one to three coupons of one person."""
        coupon = self._some("issued")
        if coupon is None:
            return
        user, cell, _ = self.owner[coupon]
        mine = [c for c, (state, _) in self.coupons.items()
                if state == "issued" and self.owner[c][0] == user]  # fmt: skip
        self.redeem(self._random.sample(mine, min(len(mine), self._random.randint(1, 3))), cell,
                    user, hold=self._random.random() < 0.4)  # fmt: skip

    def redeem(self, used: Sequence[str], cell: Cell, user: str, *, hold: bool = False) -> str:
        """Redeem or hold coupons: the redemption's id."""
        redemption = self._id("R")
        discounts = [self._random.randrange(1, 3000) for _ in used]
        values = [0 if self._random.random() < 0.8 else self._random.randrange(1, 500)
                  for _ in used]  # fmt: skip
        payable = self._random.randrange(0, 20000)
        store = self._random.choice(list(STORES))
        coupons = [
            facts.FactCoupon(c, self.owner[c][2], 1, "amount_off", v, d, [facts.FactShare(0, d)])
            for c, d, v in zip(used, discounts, values, strict=True)
        ]
        more = {"until": START + 10**9} if hold else {}
        fact = self._add(
            cell,
            facts.Held if hold else facts.Redeemed,
            redemption,
            user_id=user,
            store_id=store,
            merchant_id=STORES[store],
            terminal_id="t1",
            staff_id="08",
            channel="cashier",
            order_ref=f"POS-{self._ids}",
            amount=payable + sum(discounts),
            discount=sum(discounts),
            payable=payable,
            lines=[facts.FactLine("1", payable + sum(discounts), 1, "", "dining")],
            coupons=coupons,
            replaces="",
            **more,
        )
        state = "held" if hold else "redeemed"
        self.redemptions[redemption] = Redemption(redemption, fact, state, discounts, payable)
        for coupon in used:
            self.coupons[coupon] = state, redemption
        return redemption

    def _finish_hold(self) -> None:
        """Commit a hold, release it, or let it lapse and lose its coupon first."""
        held = [r for r in self.redemptions.values() if r.state == "held"]
        if not held:
            return
        chosen = self._random.choice(held)
        old = chosen.fact
        cell = self.owner[old.coupons[0].coupon_id][1]
        roll = self._random.random()
        if roll < 0.5:
            names = (n for n in facts.Committed.__struct_fields__[5:] if n != "freed")
            again = {name: getattr(old, name) for name in names}
            chosen.fact = self._add(cell, facts.Committed, chosen.id, **again)
            chosen.state = "redeemed"
            for used in old.coupons:
                self.coupons[used.coupon_id] = "redeemed", chosen.id
            return
        lapsed = roll > 0.75
        if lapsed:  # its time has passed: a coupon of it is redeemed elsewhere before it is told
            first = old.coupons[0].coupon_id
            self.coupons[first] = "issued", None
            self.redeem([first], cell, old.user_id)
        freed = [u.coupon_id for u in old.coupons if self.coupons[u.coupon_id][1] == chosen.id]
        self._add(cell, facts.Released, chosen.id, user_id=old.user_id, coupon_ids=freed,
                  lapsed=int(lapsed))  # fmt: skip
        chosen.state = "released"
        for coupon in freed:
            self.coupons[coupon] = "issued", None

    def _reverse(self) -> None:
        """Reverse a redemption in part or whole, as reverse.lua tells it."""
        redeemed = [r for r in self.redemptions.values() if r.state == "redeemed"]
        if redeemed:
            self.reverse(self._random.choice(redeemed), whole=self._random.random() < 0.6)

    def reverse(self, of: Redemption, *, whole: bool) -> str:
        """The reversal's id."""
        reversal = self._id("V")
        cell = self.owner[of.fact.coupons[0].coupon_id][1]
        payable = 0 if whole else self._random.randint(0, of.payable)
        back: list[facts.BackCoupon] = []
        earlier = of.reversals > 0
        for i, used in enumerate(of.fact.coupons):
            after = 0 if whole else self._random.randint(0, of.discounts[i])
            if whole or after < of.discounts[i]:
                back.append(facts.BackCoupon(
                    used.coupon_id, used.campaign_id, 1, of.discounts[i], after, used.value,
                    0 if whole else used.value, int(whole),
                ))  # fmt: skip
                of.discounts[i] = after
                if whole:
                    self.coupons[used.coupon_id] = "issued", None
        gross = sum(c.discount_before - c.discount_after for c in back) + of.payable - payable
        self._add(
            cell,
            facts.Reversed,
            reversal,
            redemption_id=of.id,
            redeemed_at=of.fact.at,
            user_id=of.fact.user_id,
            store_id=of.fact.store_id,
            merchant_id=of.fact.merchant_id,
            reversed_at_store="",
            order_ref=of.fact.order_ref,
            reason="again" if earlier else "returned",
            lines=[facts.BackLine("1", gross, sum(c.discount_before - c.discount_after
                                                  for c in back))],
            coupons=back,
            gross_before=gross,
            gross_after=0,
            payable_before=of.payable,
            payable_after=payable,
            whole=int(whole),
        )  # fmt: skip
        of.payable, of.reversals = payable, of.reversals + 1
        if whole:
            of.state = "reversed"
        return reversal

    def _void(self) -> None:
        coupon = self._some("issued")
        if coupon is not None:
            user, cell, campaign = self.owner[coupon]
            self._add(cell, facts.Voided, coupon, user_id=user, campaign_id=campaign,
                      reason="mistake")  # fmt: skip
            self.coupons[coupon] = "voided", None

    def _tell(self) -> None:
        user = f"u{self._random.randrange(40)}"
        cell = self.cells[hash_of(user) % len(self.cells)]
        if self._random.random() < 0.5:
            tier = self._random.choice(["gold", "silver", ""])
            self._add(cell, facts.ProfileTold, handle_of(user), user_id=user, tier=tier,
                      tier_until=0, frozen=0)  # fmt: skip
            self.tiers[user] = tier
        else:
            present = self._random.randrange(2)
            self._add(cell, facts.MemberTold, "h", user_id=user, audience_id="vip",
                      present=present)  # fmt: skip
            self.members["vip", user] = present

    # ---- the outbox --------------------------------------------------------------------------

    def unsent(self, cell: Cell, most: int = 32) -> Iterator[Entry]:
        """The facts of a cell that were not sent yet, as entries of changing sizes."""
        while cell.sent < len(cell.facts):
            size = self._random.randint(1, most)
            batch = cell.facts[cell.sent : cell.sent + size]
            cell.sent += len(batch)
            yield Entry(f"1-{batch[-1].seq}", msgspec.msgpack.encode(batch))

    async def send(self, redis: Redis | RedisCluster, most: int = 32) -> None:
        """Append what is new to the outbox, as the scripts do: entry and counters together."""
        for cell in self.cells:
            for entry in self.unsent(cell, most):
                await append(redis, cell.tag, entry)

    # ---- helpers -----------------------------------------------------------------------------

    def _add(self, cell: Cell, kind: Any, act: str, **more: Any) -> Any:
        seq = len(cell.facts) + 1
        fact = kind(seq=seq, at=START + 10 * seq, act=act, fingerprint="f" * 16, who=WHO, **more)
        cell.facts.append(fact)
        return fact

    def _some(self, state: str) -> str | None:
        found = [c for c, (s, _) in self.coupons.items() if s == state]
        return self._random.choice(found) if found else None

    def _id(self, kind: str, handle: str = "") -> str:
        self._ids += 1
        noise = handle + "".join(self._random.choices(keys.ALPHABET, k=20))
        return f"{kind}{noise[:20]}{self._ids:07d}"


def hash_of(user: str) -> int:
    """Any fixed number."""
    return int(digest_of(user.encode()), 16)


def handle_of(user: str) -> str:
    """As the engine's: 16 characters, always the same for a person."""
    number = hash_of(user)
    return "".join(keys.ALPHABET[number >> 5 * n & 31] for n in range(16))


async def append(redis: Redis | RedisCluster, tag: str, entry: Entry) -> None:
    """One entry into an outbox, as the scripts append it."""
    epoch, _, seq = entry.id.partition("-")
    script = (
        "redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'seq', ARGV[2])"
        " return redis.call('XADD', KEYS[2], ARGV[1] .. '-' .. ARGV[2], 'f', ARGV[3])"
    )
    client: Any = redis
    await client.eval(script, 2, keys.cell_key(tag), keys.facts_key(tag), epoch, seq, entry.body)


async def found_tenant(books: Books, tenant: str, cells: int = 1) -> None:
    """A tenant with the terms of CAMPAIGNS."""
    async with books.begin() as connection:
        await connection.execute(
            insert(schema.tenants).values(
                id=tenant, cells=cells, timezone="Asia/Shanghai", currency="CNY",
                handle_key=b"k" * 32, settings="{}", created_ms=START,
            )
        )  # fmt: skip
        await connection.execute(
            insert(schema.cells), [{"tenant": tenant, "cell": n} for n in range(cells)]
        )
        await connection.execute(
            insert(schema.campaign_terms),
            [
                {
                    "tenant": tenant, "campaign_id": name, "revision": 1, "created_ms": START,
                    "body": msgspec.json.encode(body).decode(),
                }
                for name, body in CAMPAIGNS.items()
            ],
        )  # fmt: skip


async def rows(books: Books, table: Any, tenant: str) -> list[Any]:
    """All rows of a tenant, in the order of the primary key."""
    query = select(table).where(table.c.tenant == tenant).order_by(*table.primary_key)
    async with books.connect() as connection:
        return list((await connection.execute(query)).all())


class Kept(NamedTuple):
    """A fact that the books hold, alone or in a run of claims."""

    act: str
    digest: str


async def kept_facts(books: Books, tenant: str) -> dict[tuple[int, int], Kept]:
    """By cell and seq; none may be there twice."""
    alone = await rows(books, schema.facts, tenant)
    kept = [((f.cell, f.seq), Kept(f.act, f.digest)) for f in alone]
    for run in await rows(books, schema.claim_runs, tenant):
        packed = msgspec.msgpack.decode(run.claims, type=list[msgspec.Raw])
        assert run.first + len(packed) - 1 == run.seq
        kept += [
            ((run.cell, seq), Kept(facts.decode_one(one).act, digest_of(bytes(one))))
            for seq, one in enumerate(packed, run.first)
        ]
    assert len(dict(kept)) == len(kept)
    return dict(kept)


async def check_books(books: Books, story: Story, refused: Sequence[tuple[int, int]] = ()) -> None:
    """The books equal the facts: all of them, each once, and all that follows from them.

    ``refused``: (cell, seq) of facts that must have been set aside instead.
    """
    await _check_facts(books, story, set(refused))
    if not refused:
        await _check_projections(books, story)
        await _check_redemptions(books, story)
    await _check_money(books, story, whole=not refused)


async def _check_facts(books: Books, story: Story, refused: set[tuple[int, int]]) -> None:
    kept = await kept_facts(books, story.tenant)
    aside = await rows(books, schema.refused_facts, story.tenant)
    assert {(a.cell, a.seq) for a in aside} == refused
    sent = {(cell.number, f.seq): f for cell in story.cells for f in cell.facts}
    assert kept.keys() | refused == sent.keys()
    for place in kept.keys() - refused:
        raw = msgspec.msgpack.encode(sent[place])
        assert kept[place].digest == digest_of(raw)
        assert kept[place].act == sent[place].act
    kept_cells = await rows(books, schema.cells, story.tenant)
    for row, cell in zip(kept_cells, story.cells, strict=False):
        assert (row.epoch, row.seq) == (1, len(cell.facts))


async def _check_projections(books: Books, story: Story) -> None:
    coupons = await rows(books, schema.coupons, story.tenant)
    assert {c.id: (c.state, c.redemption_id) for c in coupons} == story.coupons
    assert {c.id: c.tier for c in coupons} == story.claimed_as
    assert {c.id: c.user_id for c in coupons} == {i: o[0] for i, o in story.owner.items()}
    users = await rows(books, schema.users, story.tenant)
    assert {u.user_id: u.tier for u in users} == story.tiers
    members = await rows(books, schema.audience_members, story.tenant)
    assert {(m.audience_id, m.user_id): m.present for m in members} == story.members


async def _check_redemptions(books: Books, story: Story) -> None:
    kept = {r.id: r for r in await rows(books, schema.redemptions, story.tenant)}
    assert kept.keys() == story.redemptions.keys()
    parts = collections.defaultdict(list)
    for part in await rows(books, schema.redemption_coupons, story.tenant):
        parts[part.redemption_id].append(part)
    for name, model in story.redemptions.items():
        row, fact = kept[name], model.fact
        assert (row.state, row.at_ms, row.payable) == (model.state, fact.at, fact.payable)
        assert row.discount - row.discount_back == sum(model.discounts)
        assert row.payable - row.refunded == model.payable
        assert [p.coupon_id for p in parts[name]] == [c.coupon_id for c in fact.coupons]
        assert [p.discount - p.discount_back for p in parts[name]] == model.discounts
        assert sum(p.sales for p in parts[name]) == fact.payable
    reversals = collections.Counter(
        r.redemption_id for r in await rows(books, schema.reversals, story.tenant)
    )
    assert reversals == {r.id: r.reversals for r in story.redemptions.values() if r.reversals}


async def _check_money(books: Books, story: Story, *, whole: bool) -> None:
    postings = await rows(books, schema.postings, story.tenant)
    assert [p.n for p in postings] == list(range(1, len(postings) + 1))
    acts: collections.Counter[tuple[int, int, int]] = collections.Counter()
    accounts: collections.Counter[str] = collections.Counter()
    for posting in postings:
        acts[posting.cell, posting.epoch, posting.seq] += posting.amount
        accounts[posting.account] += posting.amount
    assert not any(acts.values())
    entries = await rows(books, schema.entries, story.tenant)
    for e in entries:
        assert e.mall_bears + e.merchant_bears + e.others_bear + e.prepaid == e.discount
    assert accounts["merchant.discount"] == -sum(e.discount for e in entries)
    assert accounts["customer.paid"] == sum(e.sales for e in entries)
    settled = [r for r in story.redemptions.values() if r.state in ("redeemed", "reversed")]
    if whole:
        first = sum(len(r.fact.coupons) for r in settled)
        assert sum(e.kind == "redemption" for e in entries) == first
        assert sum(e.sales for e in entries) == sum(r.payable for r in settled)
        values = sum(c.value for r in settled if r.state == "redeemed" for c in r.fact.coupons)
        left = sum(sum(r.discounts) for r in settled)
        assert sum(e.discount for e in entries) == left + values


async def counted(books: Books, table: Any, tenant: str) -> int:
    """How many rows a tenant has."""
    query = select(func.count()).select_from(table).where(table.c.tenant == tenant)
    async with books.connect() as connection:
        return int((await connection.execute(query)).scalar_one())
