"""Coupons on a parking fee, judged in Lua and in Python: never a fen, a minute or a code apart."""

from __future__ import annotations

import os
from typing import Any

import msgspec
import redis
from hypothesis import Phase, given, settings

from engine.records import Line, pack
from engine.rules import Candidate, Scene, judge
from tests.engine.test_lua import CELL, library
from tests.unit.parking_strategies import parking_fees, parking_wallets

CASES = 20_000 if os.environ.get("HEXIAO_LONG") == "1" else 300

JUDGE = """
local found = {}
for i, case in ipairs(cmsgpack.unpack(ARGV[1])) do
  local items, fee, scene, line = case[1], case[2], case[3], case[4]
  for _, item in ipairs(items) do
    item.step, item.stale, item.own_hold = 0, false, false
  end
  local basket = arithmetic.basket({ line }, scene.floor)
  basket.parking, basket.worth, basket.taken = true, fee.worth, fee.taken
  basket.most_minutes, basket.most = fee.most_minutes, fee.most
  basket.running[1] = basket.running[1] - fee.off
  function basket.amounts(this)
    this.amounts = nil
    local off = math.max(0, math.min(fee.amounts, this.running[1] - this.floor))
    this.running[1] = this.running[1] - off
  end
  local accepted, refused = stacking.judge(items, basket,
    { now = scene.now, offset = scene.offset, store = scene.store, channel = '' })
  if basket.amounts then basket.amounts(basket) end
  local applied, skipped = {}, {}
  for n, item in ipairs(accepted) do applied[n] = { item.serial, item.discount } end
  for n, item in ipairs(refused) do skipped[n] = { item.serial, item.outcome, item.short } end
  found[i] = { applied, skipped, basket.running[1] }
end
return cmsgpack.pack(found)
"""


def case_of(wallet: list[Candidate], lines: list[Line], scene: Scene) -> Any:
    """As the script takes it: maps without nil fields."""
    fee = scene.fee
    assert fee is not None
    told: dict[str, Any] = {
        "taken": fee.taken, "off": fee.off, "most": fee.most_coupons, "amounts": fee.amounts,
    }  # fmt: skip
    if fee.worth is not None:
        told["worth"] = fee.worth
    if fee.most_minutes is not None:
        told["most_minutes"] = fee.most_minutes
    items = [
        {"serial": c.id, "record": c.record, "terms": c.terms, "status": "active"} for c in wallet
    ]
    place = {
        "now": scene.now, "offset": scene.offset, "store": scene.store_id,
        "floor": scene.payable_floor,
    }  # fmt: skip
    return [items, told, place, lines[0]]


def expected(wallet: list[Candidate], lines: list[Line], scene: Scene) -> Any:
    """What the rules in Python say."""
    judgement = judge(wallet, lines, scene)
    applied = [[used.id, used.discount] for used in judgement.applied]
    skipped = [[skip.id, int(skip.outcome), skip.short_by] for skip in judgement.skipped]
    return [applied, skipped, judgement.running[0]]


def test_fees_are_judged_alike(redis_url: str) -> None:
    drawn: list[tuple[list[Candidate], list[Line], Scene]] = []

    @settings(
        max_examples=CASES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
    )
    @given(parking_wallets(), parking_fees())
    def draw(wallet: list[Candidate], fee: tuple[list[Line], Scene]) -> None:
        drawn.append((wallet, *fee))

    draw()
    source = library("stacking", "pack") + JUDGE
    with redis.Redis.from_url(redis_url) as client:
        packed = client.eval(source, 1, CELL, pack([case_of(*case) for case in drawn]))
    found = msgspec.msgpack.decode(packed)
    wrong = [
        (len(str(case)), case, got, wanted)
        for case, got in zip(drawn, found, strict=True)
        if got != (wanted := expected(*case))
    ]
    if wrong:
        _, case, got, wanted = min(wrong, key=lambda row: row[0])
        raise AssertionError(f"{len(wrong)} differ; the smallest: {case}\n{got}\n{wanted}")
    applied = [got[0] for got in found if got[0]]
    assert len(applied) > CASES // 5, "the cases are too much alike"
