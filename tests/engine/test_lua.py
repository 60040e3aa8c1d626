"""Lua on a real server: keys and records are spelled as in Python, faults name their line."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest
import redis
import redis.asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine import facts, keys, scripts
from engine.batching import ScriptError
from engine.records import (
    Act,
    AppliedCoupon,
    CouponHold,
    CouponRecord,
    Line,
    LineShare,
    RedemptionRecord,
    ReversalRecord,
    SkippedCoupon,
    Terms,
    UserRecord,
    pack,
)
from tests.engine.harness import WHO, Running
from tests.servers import Cluster
from tests.unit.rules_language import campaign

HANDLES = st.text(keys.ALPHABET, min_size=16, max_size=16)
SERIALS = st.text(keys.ALPHABET, min_size=11, max_size=11)
IDS = st.text("abcXYZ019_.:-", min_size=1, max_size=64)
TEXTS = st.one_of(st.just(""), IDS, st.text(max_size=300))
MONEY = st.one_of(
    st.integers(0, 300), st.sampled_from([2**16 - 1, 2**16, 2**32 - 1, 2**32, 10**11, 2**53 - 1])
)
TIMES = st.integers(0, 4_000_000_000_000)
CELL = "{lua.0}:cell"


def library(*names: str) -> str:
    """A script that includes these libraries, up to what it does with them."""
    out: list[tuple[str, str]] = []
    done: list[str] = []
    for name in names:
        scripts._include(name, done, out)
    return "#!lua\n" + "\n".join(scripts._named(line, place) for line, place in out) + "\n"


@pytest.fixture(scope="module")
def lua(redis_url: str) -> Any:
    """``lua(script, arguments)`` with the key of a cell of no tenant."""
    with redis.Redis.from_url(redis_url) as client:
        yield lambda source, *arguments: client.eval(source, 1, CELL, *arguments)


# Fixtures of a module do not change between the examples of a property.
many = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


@many
@given(tag=IDS, handle=HANDLES, serial=SERIALS, name=IDS)
def test_keys_are_spelled_alike(
    redis_url: str, tag: str, handle: str, serial: str, name: str
) -> None:
    source = library("keys") + (
        "return { keys.cell, keys.facts(), keys.wallet(ARGV[1]), keys.campaign(ARGV[3]),"
        " keys.redemption(ARGV[1], ARGV[2]), keys.holds() }"
    )
    tag = "{" + tag + "}"
    with redis.Redis.from_url(redis_url) as client:
        found = client.eval(source, 1, keys.cell_key(tag), handle, serial, name)
    assert [key.decode() for key in found] == [
        keys.cell_key(tag),
        keys.facts_key(tag),
        keys.wallet_key(tag, handle),
        keys.campaign_key(tag, name),
        keys.redemption_key(tag, handle, serial),
        keys.holds_key(tag),
    ]


def test_a_header_of_an_array_is_msgpack(lua: Any) -> None:
    for count in (0, 1, 15, 16, 255, 256, 65_535, 65_536, 70_000):
        packed = lua(library("pack") + "return pack.header(tonumber(ARGV[1]))", count)
        assert packed == msgspec.msgpack.encode([None] * count)[: len(packed)]


@many
@given(st.lists(st.none() | MONEY | TEXTS, min_size=1, max_size=20))
def test_arrays_with_holes_stay_arrays(lua: Any, values: list[Any]) -> None:
    source = library("pack") + (
        "local n = tonumber(ARGV[2])\nreturn pack.array(unpack(cmsgpack.unpack(ARGV[1]), 1, n))"
    )
    assert lua(source, pack(values), len(values)) == pack(values)


@st.composite
def coupons(draw: st.DrawFn) -> list[Any]:
    """The fields of a coupon, as far as one says something."""
    record = CouponRecord(
        campaign_id=draw(IDS), terms_revision=draw(st.integers(1, 300)),
        state=draw(st.integers(0, 3)), issued=draw(TIMES),
        valid_from=draw(st.integers(-(10**12), 10**12)), valid_until=draw(TIMES),
        fingerprint="0123456789ab", channel=draw(TEXTS),
        extra=draw(TEXTS), step=draw(TIMES), redemption=draw(st.just("") | SERIALS),
        held_until=draw(TIMES), void_key=draw(SERIALS), void_fingerprint="ba9876543210",
        void_reason=draw(TEXTS), voided=draw(st.integers(1, 4_000_000_000_000)),
        used=draw(MONEY), spent=draw(MONEY), holds=draw(
            st.lists(st.builds(CouponHold, SERIALS, TIMES, MONEY, MONEY), min_size=1, max_size=3)
        ),
    )  # fmt: skip
    last = draw(st.sampled_from([8, 9, 12, 16, 19]))
    if last == 9 and not record.extra:
        last = 8
    return list(msgspec.to_builtins(record))[:last]


@many
@given(st.lists(coupons(), max_size=8))
def test_coupons_are_packed_alike(lua: Any, written: list[list[Any]]) -> None:
    source = library("records") + (
        "local found = {}\n"
        "for i, c in ipairs(cmsgpack.unpack(ARGV[1])) do found[i] = records.coupon(c) end\n"
        "return pack.join(found)"
    )
    found = lua(source, pack(written))
    assert found == pack(written)
    for fields, record in zip(
        written, msgspec.msgpack.decode(found, type=list[CouponRecord]), strict=True
    ):
        assert list(msgspec.to_builtins(record))[: len(fields)] == fields


applied = st.builds(
    AppliedCoupon, SERIALS, IDS, st.integers(1, 99), st.sampled_from(["gift", "exchange"]), MONEY,
    MONEY, st.lists(st.builds(LineShare, st.integers(0, 400), MONEY, MONEY), max_size=3),
    st.just(0), TEXTS, st.integers(0, 2),
)  # fmt: skip
reversals = st.builds(
    ReversalRecord, SERIALS, IDS, TIMES, TEXTS,
    st.lists(st.tuples(st.integers(0, 9), MONEY, MONEY), max_size=3),
    st.lists(st.tuples(SERIALS, MONEY, st.integers(0, 1)), max_size=3), TEXTS,
)  # fmt: skip
redemptions = st.builds(
    RedemptionRecord, st.integers(0, 4), TIMES, TIMES, IDS, IDS, IDS, IDS, TEXTS, TEXTS, TEXTS,
    TEXTS, MONEY, MONEY,
    st.lists(st.builds(Line, TEXTS, MONEY, st.integers(1, 9), TEXTS, TEXTS, MONEY), max_size=4),
    st.lists(applied, max_size=3),
    st.lists(st.builds(SkippedCoupon, SERIALS, st.integers(20, 90), MONEY), max_size=3),
    st.lists(st.builds(Act, IDS, SERIALS, IDS, TIMES), max_size=2),
    st.lists(reversals, max_size=2), TIMES,
)  # fmt: skip


@many
@given(st.lists(redemptions, max_size=4))
def test_redemptions_are_packed_alike(lua: Any, records: list[RedemptionRecord]) -> None:
    source = library("pack") + (
        "local found = {}\n"
        "for i, r in ipairs(cmsgpack.unpack(ARGV[1])) do found[i] = cmsgpack.pack(r) end\n"
        "return pack.join(found)"
    )
    assert lua(source, pack(records)) == pack(records)


def test_a_string_has_the_header_of_its_length(lua: Any) -> None:
    source = library("pack") + "return pack.texts[string.rep('x', tonumber(ARGV[1]))]"
    for length in (0, 1, 31, 32, 255, 256, 65_535, 65_536):
        assert lua(source, length) == pack("x" * length)


async def test_a_claim_tells_the_books_all_it_was_told(small_mall: Running) -> None:
    """Its coupon and its fact are spliced (lib/claims.lua): every field at its place."""
    mall, engine = small_mall, small_mall.engine
    await mall.publish(campaign("amount_off amount=100", id="c"))
    who = json.dumps({"key": "k", "label": "售货亭" * 100})
    source, metadata = {"entry": "海报", "scene": "s" * 300}, {"n": [1, 2], "note": "x" * 4000}
    claimed = await engine.claim(
        user_id="u1", campaign_id="c", channel="app", key="k", who=who, source=source,
        metadata=metadata,
    )  # fmt: skip
    assert claimed.value
    handle = engine.handle_of("u1")
    wallet = await mall.hash_of(keys.wallet_key(engine.tags[0], handle))
    coupon = msgspec.msgpack.decode(
        wallet[b"C" + claimed.value.id[17:].encode()], type=CouponRecord
    )
    assert json.loads(coupon.extra) == {"metadata": metadata, "source": source}
    assert (coupon.channel, coupon.state, coupon.terms_revision) == ("app", 0, 1)
    *_, (_, row) = await mall.server._reading.xrange(keys.facts_key(engine.tags[0]))
    [fact] = facts.decode(row[b"f"])
    assert isinstance(fact, facts.Claimed)
    lasts = coupon.valid_until and coupon.issued + coupon.valid_until
    assert fact == facts.Claimed(
        seq=fact.seq, at=coupon.issued, act=claimed.value.id, fingerprint=coupon.fingerprint,
        who=who, user_id="u1", campaign_id="c", terms_revision=1,
        valid_from=coupon.issued + coupon.valid_from, valid_until=lasts, channel="app",
        source=fact.source, metadata=fact.metadata,
    )  # fmt: skip
    assert (json.loads(fact.source), json.loads(fact.metadata)) == (source, metadata)
    assert pack([fact]) == row[b"f"]
    assert msgspec.msgpack.decode(wallet[b"u"], type=UserRecord) == UserRecord("u1")


async def test_what_acts_leave_is_packed_as_python_would(small_mall: Running) -> None:
    mall, engine = small_mall, small_mall.engine
    await mall.store("s1")
    await mall.publish(campaign("amount_off amount=100", id="c", issue={"audiences": None}))
    handle, made = engine.handle_of("u1"), []
    for number, source in enumerate([None, {"entry": "poster"}, None, None]):
        claimed = await engine.claim(
            user_id="u1", campaign_id="c", channel="app", key=f"k{number}", who=WHO, source=source
        )
        assert claimed.value
        made.append(claimed.value)
    used: dict[str, Any] = {
        "handle": handle, "store_id": "s1", "who": WHO, "amount": 300, "order_ref": "o",
        "lines": [Line("1", 300, 1, "", "")],
    }  # fmt: skip
    done = await engine.redeem(key="r", coupons=[(made[1].id, 7, False)], **used)
    assert done.value
    await engine.reverse(
        redemption_id=done.value.id, key="v", who=WHO, reason="r", lines=[("1", 7)]
    )
    await engine.void(coupon_id=made[2].id, key="w", who=WHO, reason="退货")
    held = await engine.redeem(
        key="h", coupons=[(made[3].id, 0, False)], hold_seconds=60, member_step=9, **used
    )
    assert held.value
    assert (await engine.commit(redemption_id=held.value.id, key="c", who=WHO)).ok

    wallet = await mall.hash_of(keys.wallet_key(engine.tags[0], handle))
    widths = {}
    for name, packed in wallet.items():
        if name[:1] == b"C":
            fields = msgspec.msgpack.decode(packed)
            assert pack(fields) == packed
            widths[f"C{handle}{name[1:].decode()}"] = len(fields)
    # The tail is written only as far as it says something: Redis pays for each live coupon.
    assert [widths[view.id] for view in made] == [8, 12, 16, 12]
    user = msgspec.msgpack.decode(wallet[b"u"], type=UserRecord)
    assert user == UserRecord("u1", member_step=9)
    assert pack(user) == wallet[b"u"]
    assert msgspec.msgpack.decode(wallet[b"nc"])[0] == 4
    for found in (done.value, held.value):
        raw = await mall.server.get(keys.redemption_key(engine.tags[0], handle, found.id[17:]))
        assert raw is not None
        assert pack(msgspec.msgpack.decode(raw)) == raw
        msgspec.msgpack.decode(raw, type=RedemptionRecord)  # what was not reversed is not told
    published = await mall.hash_of(keys.campaign_key(engine.tags[0], "c"))
    assert msgspec.msgpack.decode(published[b"t1"], type=Terms).amount == 100
    rows = await mall.server._reading.xrange(keys.facts_key(engine.tags[0]))
    told: dict[str, Any] = {}
    for _, row in rows:
        assert pack(facts.decode(row[b"f"])) == row[b"f"]
        told.update((type(fact).__name__, fact) for fact in facts.decode(row[b"f"]))
    for part in ("lines", "coupons"):
        assert getattr(told["Committed"], part) == getattr(told["Held"], part)


# ---- faults ------------------------------------------------------------------------------------


async def test_a_fault_names_the_file_and_line_and_harms_nobody_else(small_mall: Running) -> None:
    await small_mall.publish(campaign("amount_off amount=1", id="c"))
    lane = small_mall.engine._lanes[0]
    broken = lane.submit("claim", pack([None, 0, "", "u1", "c"]))  # nobody's wallet
    claimed = small_mall.engine.claim(
        user_id="u1", campaign_id="c", channel="app", key="k", who=WHO
    )
    with pytest.raises(ScriptError) as caught:
        await broken
    assert (await claimed).ok
    where = re.search(r"((?:lib/)?\w+\.lua):(\d+)", str(caught.value))
    assert where
    assert ".." in (scripts.LUA / where[1]).read_text().splitlines()[int(where[2]) - 1]
    await small_mall.check_facts()


async def test_a_fault_of_a_whole_call_names_its_line(small_mall: Running) -> None:
    await small_mall.control.verify(0)
    script = scripts.load("claim")
    key = keys.cell_key(small_mall.engine.tags[0])
    with pytest.raises(redis.exceptions.ResponseError) as caught:
        await small_mall.server.write_once(key, script, b"\xc1")
    assert "lib/batch.lua:" in script.where(str(caught.value))


def test_a_global_is_refused_by_the_server(lua: Any) -> None:
    with pytest.raises(redis.exceptions.ResponseError, match=r"global|readonly"):
        lua("#!lua\nseen = 1")


async def test_a_cluster_would_refuse_a_foreign_slot(redis_cluster: Cluster) -> None:
    async with redis.asyncio.RedisCluster.from_url(redis_cluster.url) as client:
        for verb in scripts.verbs():
            first, rest = scripts.load(verb).source.split("\n", 1)
            source = f"{first}\nredis.call('EXISTS', '{{elsewhere}}:x')\n{rest}"
            with pytest.raises(redis.exceptions.ResponseError, match="non local key"):
                await client.eval(source, 1, CELL, pack([]))
