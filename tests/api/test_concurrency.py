"""Many at once, by real HTTP on real servers; each test ends with live state equal to the books."""

from __future__ import annotations

import asyncio
import json
import random
import secrets
from collections import Counter as Tally
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis.asyncio

from engine.books.db import open_books
from engine.reconcile import reconcile
from tests.api.conftest import OwnServer
from tests.api.counter import BASKET, Counter
from tests.api.server import Answer, Api, ApiServer
from tests.api.test_tenders import nothing_is_spent_twice


@pytest.fixture(scope="module")
def new_mall(api_server: ApiServer) -> tuple[str, str]:
    """A mall for these tests alone: (its id, an operator's key)."""
    return api_server.new_mall()


@pytest.fixture
async def mall(api_server: ApiServer, new_mall: tuple[str, str]) -> AsyncIterator[Counter]:
    """The mall, reconciled at the end of each test."""
    tenant, key = new_mall
    async with Api(api_server.url, key) as api:
        yield await Counter.open(api_server, api, tenant)
    await in_order(api_server, tenant)


async def in_order(server: ApiServer, tenant: str) -> None:
    """Live state equals the books."""
    books = open_books(server.database_url)
    async with redis.asyncio.Redis.from_url(server.redis_url) as client:
        report = await reconcile(books, client, tenant)
    await books.close()
    assert not report.differences, report.differences


async def at_once(acts: Iterable[Coroutine[Any, Any, Answer]]) -> list[Answer]:
    """All of them at the same time."""
    return list(await asyncio.gather(*acts))


def outcomes(answers: Sequence[Answer]) -> dict[str, int]:
    """How many of each: a code, or the status of a success."""
    return dict(Tally(answer.code or str(answer.status) for answer in answers))


def one_effect(answers: Sequence[Answer], status: int) -> None:
    """All succeeded with equal bodies; one did it, the others were told what it did."""
    assert outcomes(answers) == {str(status): len(answers)}, outcomes(answers)
    assert len({answer.content for answer in answers}) == 1
    assert sum(not answer.replayed for answer in answers) == 1


async def issued(mall: Counter, campaign: str) -> tuple[int, int | None]:
    """(issued, left) as the campaign says once its counters are a second old."""
    await asyncio.sleep(1.1)
    live = (await mall.api.get(f"/v1/campaigns/{campaign}")).json["live"]
    return live["issued"], live["left"]


# ---- who gets one ----------------------------------------------------------------------------


async def test_exactly_as_many_winners_as_coupons(mall: Counter) -> None:
    """300 people, 37 coupons; everybody else is told that it is sold out."""
    campaign = await mall.campaign("stock 37 per_user 1")
    answers = await at_once(mall.claim(campaign, f"u{n}") for n in range(300))
    assert outcomes(answers) == {"201": 37, "sold_out": 263}
    assert len({answer.json["id"] for answer in answers if answer.status == 201}) == 37
    assert await issued(mall, campaign) == (37, 0)


@pytest.mark.parametrize(
    ("words", "refusal"),
    [
        ("per_user 3", "user_limit"),
        ("per_user_per_day 3", "user_day_limit"),
        ("per_user_per_week 3", "user_week_limit"),
        ("per_user_per_month 3", "user_month_limit"),
    ],
)
async def test_limits_of_one_person(mall: Counter, words: str, refusal: str) -> None:
    """60 claims of two people at once, three for each."""
    campaign = await mall.campaign(words)
    for user in ("u1", "u2"):
        answers = await at_once(mall.claim(campaign, user) for _ in range(30))
        assert outcomes(answers) == {"201": 3, refusal: 27}


# ---- who may use it --------------------------------------------------------------------------


async def test_one_coupon_at_fifty_tills(mall: Counter) -> None:
    """One sale gets it, the others read that it is redeemed; codes and ids alike."""
    coupon = await mall.coupon()
    refs = [
        {"code": await mall.code(coupon)},
        {"code": await mall.code(coupon, "static")},
        {"id": coupon},
    ]
    answers = await at_once(
        mall.redeem(refs[n % 3], terminal_id=f"t{n}", order_ref=f"POS-{n}") for n in range(50)
    )
    assert outcomes(answers) == {"201": 1, "already_redeemed": 49}


async def test_a_coupon_in_many_baskets(mall: Counter) -> None:
    """Holds and redemptions of overlapping pairs: no coupon in two of them."""
    campaign = await mall.campaign("per_redemption 2")
    coupons = [(await mall.claim(campaign)).json["id"] for _ in range(6)]
    pairs = [(a, b) for a in coupons for b in coupons if a < b]
    random.shuffle(pairs)
    answers = await at_once(
        mall.redeem(*pair, mode=("commit", "hold")[n % 2]) for n, pair in enumerate(pairs)
    )
    used = [
        item["coupon_id"]
        for answer in answers
        if answer.status == 201
        for item in answer.json["applied"]
    ]
    assert used
    assert len(used) == len(set(used))
    assert set(outcomes(answers)) <= {"201", "already_redeemed", "held"}


async def redeem_all(mall: Counter, campaign: str, people: int, **options: Any) -> list[Answer]:
    """So many people, each with a coupon, at the tills of one store at once."""
    claims = await at_once(mall.claim(campaign, f"u{n}") for n in range(people))
    return await at_once(mall.redeem(answer.json["id"], **options) for answer in claims)


async def test_a_budget_is_never_overspent(mall: Counter) -> None:
    """Sales, holds, commits, releases and reversals at once: what is taken is within the budget."""
    campaign = await mall.campaign(stock={"total": None, "budget": 21_000})
    claims = await at_once(mall.claim(campaign, f"u{n}") for n in range(60))
    ids = [answer.json["id"] for answer in claims]
    holds = await at_once(mall.redeem(one, mode="hold") for one in ids[:20])
    assert outcomes(holds) == {"201": 10, "budget_exhausted": 10}
    held = [answer.json["id"] for answer in holds if answer.status == 201]
    acts = [mall.api.post(f"/v1/redemptions/{one}/commit", {}) for one in held[:5]]
    acts += [mall.api.post(f"/v1/redemptions/{one}/release", {}) for one in held[5:]]
    acts += [mall.redeem(one) for one in ids[20:]]
    answers = await at_once(acts)
    answers += await at_once(mall.redeem(one) for one in ids[20:])
    sold = [answer.json["id"] for answer in answers if answer.status == 201]
    assert len(sold) == 5
    back = {"reason": "returned"}
    await at_once(mall.api.post(f"/v1/redemptions/{one}/reversals", back) for one in sold[:2])
    await asyncio.sleep(1.1)
    live = (await mall.api.get(f"/v1/campaigns/{campaign}")).json["live"]
    assert live["budget_left"] == 21_000 - 2000 * (5 + len(sold[2:]))


async def test_uses_a_day_and_in_a_store(mall: Counter) -> None:
    """Thirty tills at once: the day's uses to the one, and the store's before them."""
    campaign = await mall.campaign(usage={"per_day": 7})
    answers = await redeem_all(mall, campaign, 30)
    assert outcomes(answers) == {"201": 7, "campaign_day_limit": 23}
    campaign = await mall.campaign(usage={"per_day": 9, "per_store_per_day": 4})
    assert outcomes(await redeem_all(mall, campaign, 20)) == {"201": 4, "store_limit": 16}


# ---- the same request, several times ---------------------------------------------------------


async def test_five_copies_have_one_effect(mall: Counter) -> None:
    """Of every act that takes a key; the answers are equal to the byte."""
    campaign = await mall.campaign("stock 5")
    claims = await at_once(mall.claim(campaign, idem="k1") for _ in range(5))
    one_effect(claims, 201)
    coupon = claims[0].json["id"]
    code = {"code": await mall.code(coupon)}
    holds = await at_once(mall.redeem(code, mode="hold", idem="k2") for _ in range(5))
    one_effect(holds, 201)
    path = f"/v1/redemptions/{holds[0].json['id']}"
    one_effect(await at_once(mall.api.post(f"{path}/commit", {}, idem="k3") for _ in range(5)), 200)
    body = {"reason": "returned"}
    reversals = await at_once(mall.api.post(f"{path}/reversals", body, idem="k4") for _ in range(5))
    one_effect(reversals, 201)
    sales = await at_once(mall.redeem(coupon, idem="k5") for _ in range(5))
    one_effect(sales, 201)
    other = (await mall.claim(campaign)).json["id"]
    held = await mall.redeem(other, mode="hold")
    release = f"/v1/redemptions/{held.json['id']}/release"
    one_effect(await at_once(mall.api.post(release, {}, idem="k6") for _ in range(5)), 200)
    void = f"/v1/coupons/{other}/void"
    one_effect(await at_once(mall.api.post(void, body, idem="k7") for _ in range(5)), 200)
    assert (await issued(mall, campaign))[0] == 2


async def test_copies_that_are_not_equal(mall: Counter) -> None:
    """One request of a key gets it; every other request under it is told so."""
    campaigns = [await mall.campaign() for _ in range(5)]
    answers = await at_once(mall.claim(campaign, idem="k1") for campaign in campaigns)
    assert outcomes(answers) == {"201": 1, "idempotency_key_reused": 4}


# ---- a legal order ---------------------------------------------------------------------------


async def test_redeem_against_reverse_against_void(mall: Counter) -> None:
    """Whatever won at each moment, the books tell one legal story of the coupon."""
    coupon = await mall.coupon()
    done: list[str] = []

    async def redeem(n: int) -> None:
        answer = await mall.redeem(coupon, mode=("commit", "hold")[n % 2])
        if answer.status == 201:
            done.append(answer.json["id"])

    async def finish(n: int) -> None:
        if done:
            path = f"/v1/redemptions/{random.choice(done)}"
            verb = ("reversals", "commit", "release")[n % 3]
            await mall.api.post(f"{path}/{verb}", {"reason": "x"} if n % 3 == 0 else {})

    async def void() -> None:
        await mall.api.post(f"/v1/coupons/{coupon}/void", {"reason": "x"})

    for n in range(40):
        acts = [redeem(n), redeem(n + 1), finish(n), finish(n + 1), finish(n + 2)]
        if n == 30:
            acts.append(void())
        random.shuffle(acts)
        await asyncio.gather(*acts)
    assert len(done) > 5, "too quiet to prove anything"
    history = await _whole_history(mall, coupon)
    assert history[0]["type"] == "claimed"
    _check_legal(history[1:], done)


# What may happen to a coupon in each state, and which state it leaves.
LEGAL = {
    ("issued", "redeemed"): "redeemed",
    ("issued", "held"): "held",
    ("held", "committed"): "redeemed",
    ("held", "released"): "issued",
    ("redeemed", "reversed"): "issued",
    ("issued", "voided"): "voided",
}


def _check_legal(acts: Sequence[dict[str, Any]], done: Sequence[str]) -> None:
    state = "issued"
    for act in acts:
        assert (state, act["type"]) in LEGAL, (state, act)
        state = LEGAL[state, act["type"]]
    begun = [act["act"] for act in acts if act["type"] in ("redeemed", "held")]
    assert sorted(begun) == sorted(done)


async def _whole_history(mall: Counter, coupon: str) -> list[dict[str, Any]]:
    """The coupon's history once the books hold everything up to now."""
    now = (await mall.api.post("/v1/offers", {"user_id": "u", "campaign_ids": []})).json
    for _ in range(400):
        answer = (await mall.api.get(f"/v1/coupons/{coupon}/history")).json
        if (answer["complete_until"] or "") > now["server_time"]:
            return list(answer["items"])
        await asyncio.sleep(0.05)
    raise AssertionError("the books did not catch up")


# ---- callers that hang up --------------------------------------------------------------------


async def test_who_hangs_up_takes_nobodys_answer(mall: Counter) -> None:
    """A third of the callers close the connection mid-way; the rest get their own answers."""
    campaign = await mall.campaign("stock 1000 per_user 1")
    users = [f"u{n}" for n in range(240)]
    gone = set(random.sample(users, 80))

    async def claim(user: str) -> bytes | None:
        return await _raw_claim(mall, campaign, user, hang_up=user in gone)

    replies = dict(zip(users, await asyncio.gather(*map(claim, users)), strict=True))
    for user, content in replies.items():
        if content is not None:
            coupon = json.loads(content)
            assert coupon["user_id"] == mall.user(user)
            assert coupon["campaign_id"] == campaign
    again = await at_once(mall.claim(campaign, user, idem=user) for user in users)
    assert {answer.status for answer in again} == {201}
    for user, answer in zip(users, again, strict=True):
        assert answer.json["user_id"] == mall.user(user)
        if replies[user] is not None:
            assert (answer.replayed, answer.content) == (True, replies[user])
    assert await issued(mall, campaign) == (240, 760)


async def _raw_claim(mall: Counter, campaign: str, user: str, *, hang_up: bool) -> bytes | None:
    """A claim on a connection of its own; None from one who hung up."""
    place = urlsplit(mall.api.url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    body = json.dumps(
        {"campaign_id": campaign, "user_id": mall.user(user), "channel": "app"}
    ).encode()
    head = (
        f"POST /v1/claims HTTP/1.1\r\nHost: {place.netloc}\r\nConnection: close\r\n"
        f"Authorization: {mall.api.headers['Authorization']}\r\nIdempotency-Key: {user}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    writer.write(head.encode() + body)
    await writer.drain()
    if hang_up:
        await asyncio.sleep(random.random() * 0.02)
        writer.transport.abort()
        return None
    answer = await reader.read()
    writer.close()
    status, _, content = answer.partition(b"\r\n\r\n")
    assert status.startswith(b"HTTP/1.1 201"), answer
    return content


# ---- a till that tries again -----------------------------------------------------------------


async def test_a_till_that_resends_after_a_minute(rehearsed: Counter) -> None:
    """With the old picture and with a fresh one it gets its first answer; a new sale does not."""
    then, later = "2026-03-02T12:00:00Z", "2026-03-02T12:01:10Z"
    coupon = await rehearsed.coupon(now=then)
    old = {"code": await rehearsed.code(coupon, now=then)}
    first = await rehearsed.redeem(old, idem="k1", now=then)
    assert first.status == 201, first.json
    fresh = {"code": await rehearsed.code(coupon, now=later)}
    for ref in (old, fresh):
        again = await rehearsed.redeem(ref, idem="k1", now=later)
        assert (again.status, again.replayed, again.content) == (201, True, first.content)
    assert (await rehearsed.redeem(old, idem="k2", now=later)).code == "code_expired"
    assert (await rehearsed.redeem(fresh, idem="k2", now=later)).code == "already_redeemed"
    copies = [rehearsed.redeem(ref, idem="k1", now=later) for ref in (old, fresh) * 5]
    assert {answer.content for answer in await at_once(copies)} == {first.content}


async def test_the_same_picture_serves_one_sale(rehearsed: Counter) -> None:
    """Reversed within the half minute, the coupon needs a fresh picture."""
    now = "2026-03-02T12:00:00Z"
    coupon = await rehearsed.coupon(now=now)
    shown = {"code": await rehearsed.code(coupon, now=now)}
    done = await rehearsed.redeem(shown, now=now)
    path = f"/v1/redemptions/{done.json['id']}/reversals"
    assert (await rehearsed.api.post(path, {"reason": "x"}, now=now)).status == 201
    assert (await rehearsed.redeem(shown, now=now)).code == "code_used"
    following = "2026-03-02T12:00:30Z"
    fresh = {"code": await rehearsed.code(coupon, now=following)}
    assert (await rehearsed.redeem(fresh, now=following)).status == 201


# ---- what a bad code costs -------------------------------------------------------------------

# Commands that the server of an idle mall never gets.
ACTS = ("evalsha", "evalsha_ro", "eval", "fcall", "get", "mget", "hget", "hgetall", "hset", "set",
        "xadd")  # fmt: skip


async def _spent(server: ApiServer, act: Callable[[], Awaitable[None]], wanted: Tally[str]) -> None:
    """What ``act`` costs; once more where the server's own housekeeping fell into it."""
    for _ in range(3):
        before = await _commands(server)
        await act()
        spent = await _commands(server) - before
        if spent == wanted:
            return
    raise AssertionError(f"spent {spent}, not {wanted}")


async def _commands(server: ApiServer) -> Tally[str]:
    async with redis.asyncio.Redis.from_url(server.redis_url) as client:
        found = await client.info("commandstats")
    calls = {name.removeprefix("cmdstat_"): one["calls"] for name, one in found.items()}
    return Tally({name: calls.get(name, 0) for name in ACTS})


async def test_a_forged_or_foreign_code_costs_no_redis_call(
    api_server: ApiServer, counter: Counter, mall: Counter
) -> None:
    """Neither at the redemption nor at the quote, the scan or the check."""
    foreign = await mall.code(await mall.coupon())
    coupon = await counter.coupon()
    code = await counter.code(coupon)
    forged = [foreign, "junk", code[:-3] + "000", code[:20] + "ZZZZ" + code[24:]]
    till = counter.till()

    async def show_all() -> None:
        for one in forged:
            await _show_everywhere(counter, till, one, coupon, code)
        codes = {"codes": [*forged, code]}
        assert (await counter.api.post("/v1/codes/verify", codes, key=till)).status == 200

    await show_all()  # the till's key is looked up in the books once
    await _spent(api_server, show_all, Tally())


async def _show_everywhere(counter: Counter, till: str, bad: str, coupon: str, good: str) -> None:
    ref = {"code": bad}
    for refusal in (
        await counter.redeem(ref, key=till),
        await counter.redeem(ref, mode="hold", key=till),
        await counter.redeem({"code": good}, ref, key=till),
        await counter.redeem(ref, policy="best_effort", key=till),
        await counter.redeem({"id": coupon}, member_code=bad, key=till),
        await counter.api.post("/v1/scans/resolve", ref, key=till),
        await counter.api.post(
            "/v1/claims", {"campaign_id": "c", "member_code": bad, "channel": "app"}
        ),
    ):
        assert refusal.code == "code_invalid"
    assert (await counter.quote(ref, key=till)).json["applied"] == []


async def test_a_stale_code_costs_the_look_up_of_its_receipt(
    rehearsal_server: ApiServer, rehearsed: Counter
) -> None:
    """One script call that reads its record, in this window and the one before; nothing else."""
    now, later = "2026-03-02T12:00:00Z", "2026-03-02T12:05:00Z"
    coupon = await rehearsed.coupon(now=now)
    stale = {"code": await rehearsed.code(coupon, now=now)}

    async def show() -> None:
        answer = await rehearsed.redeem(stale, now=later)
        assert (answer.code, answer.json["coupon_id"]) == ("code_expired", coupon)

    await show()
    # hget: the rehearsal's clock, which a real server does not have.
    await _spent(rehearsal_server, show, Tally(evalsha=1, mget=1, hget=1))


# ---- everything at once ----------------------------------------------------------------------


@pytest.mark.slow
async def test_a_busy_minute(mall: Counter) -> None:
    """Claims, sales, holds, returns and voids of forty people, interleaved at random."""
    campaigns = [await mall.campaign(f"stock {n} per_user 3 per_redemption 3") for n in (40, 60)]
    seed = random.randrange(1 << 30)
    dice = random.Random(seed)

    async def person(name: str) -> None:
        for _ in range(6):
            await asyncio.sleep(dice.random() * 0.05)
            claimed = await mall.claim(dice.choice(campaigns), name)
            if claimed.status != 201:
                continue
            coupon = claimed.json["id"]
            mode = dice.choice(("commit", "hold"))
            done = await mall.redeem(coupon, mode=mode, order_ref=secrets.token_hex(3))
            assert done.status == 201, done.json
            path = f"/v1/redemptions/{done.json['id']}"
            if mode == "hold":
                await mall.api.post(f"{path}/{dice.choice(('commit', 'release'))}", {})
            amount = dice.randrange(1, BASKET["amount"])
            lines = [{"id": "1", "amount": amount}]
            body = dice.choice([{"reason": "x"}, {"reason": "x", "lines": lines}])
            await mall.api.post(f"{path}/reversals", body)
            await mall.api.post(f"/v1/coupons/{coupon}/void", {"reason": "x"})

    await asyncio.gather(*(person(f"u{n}") for n in range(40)))
    for campaign, total in zip(campaigns, (40, 60), strict=True):
        assert await issued(mall, campaign) == (total, 0), f"seed {seed}"


# ---- several processes, several cells --------------------------------------------------------


@pytest.mark.slow
@pytest.mark.servers("valkey")
@pytest.mark.databases("postgres")
async def test_two_processes_and_four_cells(own_server: OwnServer) -> None:
    """The same holds where a mall is spread over cells and its callers over processes."""
    server = own_server(HEXIAO_WORKERS="2", HEXIAO_CELLS="4")
    async with Api(server.url, server.operator_key) as api:
        counter = await Counter.open(server, api)
        campaign = await counter.campaign("stock 41 per_user 1")
        answers = await at_once(counter.claim(campaign, f"u{n}") for n in range(400))
        assert outcomes(answers) == {"201": 41, "sold_out": 359}
        # As many as there are, however their people lie in the cells.
        enough = await counter.campaign("stock 40 per_user 1")
        answers = await at_once(counter.claim(enough, f"u{n}") for n in range(40))
        assert outcomes(answers) == {"201": 40}
        many = await counter.campaign("per_user 3")
        answers = await at_once(counter.claim(many) for _ in range(40))
        assert outcomes(answers) == {"201": 3, "user_limit": 37}
        copies = await at_once(counter.claim(many, "u2", idem="k1") for _ in range(20))
        one_effect(copies, 201)
        coupon = copies[0].json["id"]
        sales = await at_once(counter.redeem(coupon) for _ in range(50))
        assert outcomes(sales) == {"201": 1, "already_redeemed": 49}
        theirs = (await counter.claim(many, "u3")).json["id"]
        pair = await counter.redeem(coupon, theirs)
        assert pair.code == "different_owners"
        await _limits_over_cells(counter)
        await nothing_is_spent_twice(counter)
    await in_order(server, server.tenant)


async def _limits_over_cells(counter: Counter) -> None:
    """Each cell has a part of a limit, so all together never pass it; here none is left over."""
    budget = await counter.campaign(stock={"total": None, "budget": 21_000})
    answers = await redeem_all(counter, budget, 80)
    answers += await redeem_all(counter, budget, 80, mode="hold")
    assert outcomes(answers) == {"201": 8, "budget_exhausted": 152}  # 2 * 20.00 in each cell
    a_day = await counter.campaign(usage={"per_day": 7}, stock={"total": None})
    assert outcomes(await redeem_all(counter, a_day, 80)) == {"201": 7, "campaign_day_limit": 73}
    here = await counter.campaign(usage={"per_store_per_day": 5}, stock={"total": None})
    assert outcomes(await redeem_all(counter, here, 80)) == {"201": 5, "store_limit": 75}
    rate = await counter.campaign(issue={"per_day": 11}, stock={"total": None})
    claims = await at_once(counter.claim(rate, f"u{n}") for n in range(120))
    assert outcomes(claims) == {"201": 11, "campaign_day_limit": 109}
    coupons = [
        (await counter.claim(many, "u9")).json["id"]
        for many in [await counter.campaign("per_user 2 per_redemption 2")] * 2
    ]
    tills = (counter.redeem(coupons[n % 2], store_id=f"s{1 + n % 2}") for n in range(40))
    assert outcomes(await at_once(tills)) == {"201": 2, "already_redeemed": 38}
