"""Facts a second that the writer carries from a real outbox into real books.

    .venv/bin/python -m benchmarks.writer [--facts 100000] [--batch 1000 4000] [--json FILE]

For each database, batch size and mix: fill the outbox of one cell, then time one writer until the
books have it all. What was timed is then counted in the books (facts, coupons, entries, postings
and their sum); a wrong count ends the run with exit code 1. PostgreSQL runs with fsync off, as in
the tests: figures compare code, not disks. SQLite syncs each commit. On PostgreSQL the same rows
then go into empty books by bare COPY and merge (writer_bare.py): the aim is half of that rate.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
from redis.asyncio import Redis
from sqlalchemy import func, insert, select

from benchmarks.common import machine, write_report
from benchmarks.writer_bare import bare
from engine import facts, keys
from engine.books import schema
from engine.books.arrivals import Entry
from engine.books.db import Books, migrate, open_books
from engine.collector import spare_the_collector
from engine.embedded import EmbeddedRedis
from engine.outbox import Outbox, open_client
from engine.writer import Writer, WriterOptions
from tests.servers import postgres_server

TENANT = "bench"
TAG = keys.cell_tag(TENANT, 0, 1)
WHO = '{"key":"k1","label":"till 3","role":"terminal","staff":"08","request":"0192a-77"}'
PER_ENTRY = 32  # facts: what group commit makes of 64 callers
USERS = 20_000


class Outcome(msgspec.Struct):
    """One line of the result."""

    database: str
    mix: str
    batch: int
    facts: int
    seconds: float
    cpu_seconds: float  # of the writer's process
    bare_seconds: float = 0.0  # the same rows by bare COPY and merge; PostgreSQL only

    @property
    def rate(self) -> int:
        """Facts a second."""
        return round(self.facts / self.seconds)

    @property
    def of_bare(self) -> float:
        """Of the rate of bare COPY and merge."""
        return self.bare_seconds / self.seconds


def claims(count: int) -> Iterator[facts.AnyFact]:
    """What a flash sale is made of."""
    draw = random.Random(1)
    for seq in range(1, count + 1):
        yield claim(seq, draw)


def claim(seq: int, draw: random.Random) -> facts.Claimed:
    """A claim with ids as scattered as real ones."""
    user = draw.randrange(USERS)
    handle = keys_of(user, keys.HANDLE_LENGTH)
    return facts.Claimed(
        seq=seq, at=now_ms(), act=keys.make_id("C", handle, keys_of(seq, keys.SERIAL_LENGTH)),
        fingerprint="0123456789abcdef", who=WHO, user_id=f"member-{user}", campaign_id="noodle-20",
        terms_revision=1, valid_from=now_ms(), valid_until=now_ms() + 604_800_000,
        channel="miniprogram", source='{"entry":"home"}', metadata="",
    )  # fmt: skip


def tills(count: int) -> Iterator[facts.AnyFact]:
    """Claimed, redeemed, and one in eight reversed: money for every second fact."""
    draw = random.Random(2)
    seq = 0
    while seq < count:
        seq += 1
        issued = claim(seq, draw)
        yield issued
        if seq == count:
            return
        seq += 1
        used = redeemed(seq, issued)
        yield used
        if seq % 16 == 0 and seq < count:
            seq += 1
            yield reversed_(seq, used)


def redeemed(seq: int, issued: facts.Claimed) -> facts.Redeemed:
    """One coupon at a till."""
    return facts.Redeemed(
        seq=seq, at=now_ms(), act="R" + issued.act[1:], fingerprint="0123456789abcdef", who=WHO,
        user_id=issued.user_id, store_id="s1", merchant_id="m1", terminal_id="t9", staff_id="08",
        channel="cashier", order_ref=f"POS-{seq}", amount=23800, discount=2000, payable=21800,
        lines=[facts.FactLine("1", 23800, 2, "sku-1", "dining")],
        coupons=[facts.FactCoupon(issued.act, "noodle-20", 1, "amount_off", 0, 2000,
                                  [facts.FactShare(0, 2000)])],
        replaces="",
    )  # fmt: skip


def reversed_(seq: int, used: facts.Redeemed) -> facts.Reversed:
    """All of it back."""
    return facts.Reversed(
        seq=seq, at=now_ms(), act="V" + used.act[1:], fingerprint="0123456789abcdef", who=WHO,
        redemption_id=used.act, redeemed_at=used.at, user_id=used.user_id, store_id="s1",
        merchant_id="m1", reversed_at_store="s1", order_ref=used.order_ref, reason="returned",
        lines=[facts.BackLine("1", 23800, 2000)],
        coupons=[facts.BackCoupon(used.coupons[0].coupon_id, "noodle-20", 1, 2000, 0, 0, 0, 1)],
        gross_before=23800, gross_after=0, payable_before=21800, payable_after=0, whole=1,
    )  # fmt: skip


MIXES = {"claims": claims, "tills": tills}


def keys_of(number: int, length: int) -> str:
    """A scattered Base32 text of its own for each number."""
    draw = random.Random(number)
    return "".join(draw.choices(keys.ALPHABET, k=length))


def now_ms() -> int:
    """Wall clock."""
    return time.time_ns() // 1_000_000


async def fill(redis: Redis, mix: str, count: int) -> None:
    """Put the facts into the outbox."""
    entry: list[facts.AnyFact] = []
    async with redis.pipeline(transaction=False) as pipe:
        for fact in MIXES[mix](count):
            entry.append(fact)
            if len(entry) == PER_ENTRY or fact.seq == count:
                sent = Entry(f"1-{fact.seq}", msgspec.msgpack.encode(entry))
                pipe.xadd(keys.facts_key(TAG), {"f": sent.body}, id=sent.id)
                entry = []
            if fact.seq % 20_000 == 0 or fact.seq == count:
                pipe.hset(keys.cell_key(TAG), "seq", fact.seq)
                await pipe.execute()


async def prepare(books: Books) -> None:
    """A tenant whose coupons are paid half by the mall and half by the merchant."""
    async with books.begin() as connection:
        await connection.execute(
            insert(schema.tenants).values(
                id=TENANT, cells=1, timezone="Asia/Shanghai", currency="CNY", handle_key=b"k",
                settings="{}", created_ms=0,
            )
        )  # fmt: skip
        await connection.execute(
            insert(schema.campaign_terms).values(
                tenant=TENANT, campaign_id="noodle-20", revision=1, created_ms=0,
                body='{"funding": {"mall": 50, "merchant": 50}}',
            )
        )  # fmt: skip


async def measure(url: str, redis_url: str, mix: str, batch: int, count: int) -> Outcome:
    """Time one writer on a full outbox, then count what it did."""
    await migrate(url)
    books = open_books(url)
    await prepare(books)
    client: Any = await open_client(redis_url)
    await client.flushall()
    await fill(client, mix, count)
    outbox = Outbox(client, TENANT, 0, 1)
    assert (await outbox.state()).place.seq == count
    # The last batch is not full: it waits for nobody, as the others don't.
    at_once = max(1, min(128, batch // PER_ENTRY))
    options = WriterOptions(batch_facts=batch, read_entries=at_once, gather_ms=0, busy_ms=0)
    writer = Writer(books, lambda: open_client(redis_url), options)
    spare_the_collector()  # as a writer's process does
    began, cpu = time.perf_counter(), time.process_time()
    working = asyncio.create_task(writer.run())
    status = writer.status.cells
    while (TENANT, 0) not in status or status[TENANT, 0].place.seq < count:  # noqa: ASYNC110
        await asyncio.sleep(0.01)  # an event would cost the writer something
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    writer.stop()
    await working
    await check(books, mix, count)
    await books.close()
    await client.aclose()
    return Outcome(url.partition("+")[0], mix, batch, count, seconds, cpu)


async def check(books: Books, mix: str, count: int) -> None:
    """What was timed is right: nothing missing, nothing twice, postings sum to zero."""
    told = MIXES[mix](count)
    claimed = count if mix == "claims" else sum(isinstance(f, facts.Claimed) for f in told)
    settled = count - claimed
    wanted = {
        schema.facts: count - claimed, schema.coupons: claimed, schema.entries: settled,
        schema.postings: 5 * settled, schema.refused_facts: 0,
    }  # fmt: skip
    async with books.connect() as connection:
        runs = schema.claim_runs.c
        packed = await connection.scalar(select(func.sum(runs.seq - runs.first + 1)))
        if packed != claimed:
            raise SystemExit(f"claims in runs: {packed} where {claimed} belong")
        for table, rows in wanted.items():
            found = (await connection.execute(select(func.count()).select_from(table))).scalar_one()
            if found != rows:
                raise SystemExit(f"{table.name}: {found} rows where {rows} belong")
        total = select(func.coalesce(func.sum(schema.postings.c.amount), 0))
        if (await connection.execute(total)).scalar_one() != 0:
            raise SystemExit("postings do not sum to zero")


async def run(options: argparse.Namespace) -> list[Outcome]:
    """Every combination."""
    outcomes = []
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        postgres = stack.enter_context(postgres_server())
        redis = EmbeddedRedis(scratch / "redis", fsync="everysec")
        stack.callback(redis.stop)
        await redis.astart()
        for mix in options.mix:
            for batch in options.batch:
                urls = [f"sqlite+aiosqlite:///{scratch}/{mix}{batch}.db"]
                if postgres is not None:
                    urls.append(postgres.url(postgres.create()))
                for url in urls:
                    outcome = await measure(url, redis.url, mix, batch, options.facts)
                    if postgres is not None and url.startswith("postgresql"):
                        outcome.bare_seconds = await bare(
                            url, postgres.url(postgres.create()), -(-options.facts // batch)
                        )
                    outcomes.append(outcome)
                    print(
                        f"{outcome.database:10} {mix:6} batch {batch:5}: {outcome.rate:6} facts/s"
                        f"  ({outcome.seconds:.2f} s, {outcome.cpu_seconds:.2f} s CPU of ours)"
                        + (f", {outcome.of_bare:.2f} of bare" if outcome.bare_seconds else ""),
                        flush=True,
                    )
    return outcomes


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--facts", type=int, default=100_000)
    parser.add_argument("--batch", type=int, nargs="+", default=[1000, 4000])
    parser.add_argument("--mix", nargs="+", choices=list(MIXES), default=list(MIXES))
    parser.add_argument("--json", type=Path, help="also write the result here")
    options = parser.parse_args()
    outcomes = asyncio.run(run(options))
    if options.json:
        results = [
            {**msgspec.to_builtins(o), "rate": o.rate, "of_bare": o.of_bare} for o in outcomes
        ]
        write_report(options.json, {"machine": machine(), "results": results})
    sys.exit(0)


if __name__ == "__main__":
    main()
