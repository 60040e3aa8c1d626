"""The arithmetic in Lua and in Python never differ by a fen (engine/lua/lib, engine/rules.py)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine import scripts
from engine.arithmetic import back, split
from engine.records import Line
from engine.rules import Candidate, Room, Scene, calendar, is_open, judge
from tests.unit.rules_strategies import LARGEST, baskets, money, scenes, wallets

# A server per test run, not per example; an example touches no key.
once = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)

JUDGE = """
local case = cmsgpack.unpack(ARGV[1])
local items, rooms = {}, {}
for i, c in ipairs(case[1]) do
  items[i] = { serial = c[1], record = c[2], terms = c[3], status = c[4], step = c[5],
    stale = c[6], own_hold = c[7], day_limit = c[9], store_limit = c[10] }
  if c[8] then
    local id = c[2][1]  -- its campaign
    rooms[id] = rooms[id] or { budget = c[8][1] >= 0 and c[8][1] or nil, used = c[8][2],
      used_here = c[8][3] }
    items[i].room = rooms[id]
  end
end
local basket = arithmetic.basket(case[2], case[3])
local at = case[4]
local accepted, refused = stacking.judge(items, basket, { now = at[1], offset = at[2],
  store = at[3], channel = at[4], store_closed = at[5], user_frozen = at[6],
  member_stale = at[7], member_used = at[8] })
local applied, skipped = {}, {}
for i, item in ipairs(accepted) do
  local shares = {}
  for line, share in pairs(item.shares) do
    if share > 0 then shares[#shares + 1] = { line - 1, share } end
  end
  table.sort(shares, function(a, b) return a[1] < b[1] end)
  applied[i] = { item.serial, item.discount, item.tendered, shares }
end
for i, item in ipairs(refused) do skipped[i] = { item.serial, item.outcome, item.short } end
return cmsgpack.pack({ applied, skipped, basket.running })
"""

Run = Callable[..., Any]


def flattened(library: str, body: str) -> str:
    """A library with what it includes and names put in, as the loader does it, then ``body``."""
    lines: list[tuple[str, str]] = []
    scripts._include(library, [], lines)
    named = [scripts._named(line, place) for line, place in lines]
    return "\n".join(["#!lua flags=no-writes", *named, body])


@pytest.fixture
def lua(redis_url: str) -> Iterator[Run]:
    """``lua(library, body, *arguments)``: MessagePack in, MessagePack out."""
    client = redis.Redis.from_url(redis_url)
    sources: dict[tuple[str, str], str] = {}

    def run(library: str, body: str, *arguments: Any) -> Any:
        if (library, body) not in sources:
            sources[library, body] = flattened(library, body)
        packed = msgspec.msgpack.encode(arguments)
        return msgspec.msgpack.decode(client.eval(sources[library, body], 0, packed))

    yield run
    client.close()


def _room(room: Room | None) -> list[int] | None:
    if room is None:
        return None
    return [-1 if room.budget is None else room.budget, room.used, room.used_here]


@once
@given(wallet=wallets(rooms=True), lines=baskets(), scene=scenes())
def test_judge(lua: Run, wallet: list[Candidate], lines: list[Line], scene: Scene) -> None:
    got = lua(
        "stacking",
        JUDGE,
        [
            [c.id, c.record, c.terms, c.campaign_status, c.step, c.stale, c.own_hold,
             _room(c.room), c.day_limit, c.store_limit]
            for c in wallet
        ],
        [(line.id, line.amount, line.quantity, line.sku, line.category) for line in lines],
        scene.payable_floor,
        [scene.now, scene.offset, scene.store_id, scene.channel, scene.store_closed,
         scene.user_frozen, scene.member_stale, scene.member_used],
    )  # fmt: skip
    want = judge(wallet, lines, scene)
    assert got == [
        [[c.id, c.discount, 0, [[s.line, s.discount] for s in c.shares]] for c in want.applied]
        + [[t.id, 0, t.amount, [[s.line, s.discount] for s in t.shares]] for t in want.tenders],
        [[skip.id, int(skip.outcome), skip.short_by] for skip in want.skipped],
        want.running,
    ]


@once
@given(amount=money, weights=st.lists(st.integers(0, LARGEST), min_size=1, max_size=6))
def test_split(lua: Run, amount: int, weights: list[int]) -> None:
    while sum(weights) > LARGEST:
        weights = [weight // 2 for weight in weights]
    amount = min(amount, sum(weights))
    body = "local a = cmsgpack.unpack(ARGV[1]) return cmsgpack.pack(arithmetic.split(a[1], a[2]))"
    assert lua("arithmetic", body, amount, weights) == split(amount, weights)


@once
@given(gross=st.integers(0, LARGEST), data=st.data())
def test_back(lua: Run, gross: int, data: st.DataObject) -> None:
    share, returned = (data.draw(st.integers(0, gross)) for _ in range(2))
    body = """local a = cmsgpack.unpack(ARGV[1])
      return cmsgpack.pack(arithmetic.back(a[1], a[2], a[3]))"""
    assert lua("arithmetic", body, share, returned, gross) == back(share, returned, gross)


@once
@given(
    now=st.integers(1, 4_102_444_800_000),  # 1970 to 2100
    hours=st.integers(-12, 14),
    weekdays=st.none() | st.lists(st.integers(1, 7), max_size=7),
    spans=st.none() | st.lists(st.tuples(st.integers(0, 1440), st.integers(0, 1440)), max_size=3),
)
def test_calendar(
    lua: Run,
    now: int,
    hours: int,
    weekdays: list[int] | None,
    spans: list[tuple[int, int]] | None,
) -> None:
    offset = hours * 3_600_000
    body = """local a = cmsgpack.unpack(ARGV[1])
      local day, week, month = calendar.of(a[1], a[2])
      return cmsgpack.pack({ day, week, month, calendar.open(a[3], a[4], a[1], a[2]) })"""
    want = [*calendar(now, offset), is_open(weekdays, spans, now, offset)]
    assert lua("calendar", body, now, offset, weekdays, spans) == want
