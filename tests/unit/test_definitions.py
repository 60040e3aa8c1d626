"""Definitions: what is accepted, what is refused and by which name, what the scripts are given."""

from __future__ import annotations

import json
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openapi_spec_validator import validate

from engine import records
from engine.definitions import (
    Campaign,
    InvalidDefinitionError,
    Merchant,
    Settings,
    Store,
    check_settings,
    check_store,
    checked,
    compile_issue,
    compile_settings,
    compile_store,
    compile_terms,
    format_time,
    merge,
    merge_patch,
    merge_settings,
    name_in,
    parse_time,
    rules_text,
)

# CONTRACT.md section 2, with dates for its dots.
CONTRACT = """{
  "id": "noodle-20", "name": {"zh-CN": "满100减20", "en": "20 off 100"}, "kind": "coupon",
  "category": "dining", "scene": "store", "tags": ["hot"], "metadata": {},
  "benefit": {"type": "amount_off", "amount": 2000},
  "stock": {"total": 1000, "budget": null},
  "issue": {"start": "2026-01-01T00:00:00+08:00", "end": "2026-02-01T00:00:00+08:00",
            "per_user": 2, "per_user_per_day": 1, "per_user_per_week": null,
            "per_user_per_month": null, "per_minute": null, "per_day": null, "channels": null,
            "tiers": null, "audiences": null,
            "early": [{"tiers": ["gold"], "start": "2025-12-31T00:00:00+08:00"}],
            "price": 0, "points_price": 0},
  "validity": {"type": "relative", "delay_minutes": 0, "minutes": 10080, "until": null},
  "usage": {"min_spend": 10000, "min_spend_base": "initial", "min_quantity": null,
            "stores": ["s1", "s2"], "channels": ["cashier", "store_scan"],
            "weekdays": [1,2,3,4,5,6,7], "hours": [["10:00", "22:00"]],
            "include": {"categories": ["dining"], "skus": null},
            "exclude": {"categories": null, "skus": ["gift-card"]},
            "uses": 1, "per_day": null, "per_store_per_day": null},
  "stacking": {"class": "common", "group": "dining", "group_limit": 1, "per_redemption": 1,
               "order": 100, "base": "running"},
  "funding": {"mall": 50, "merchant": 50},
  "settlement": {"commission_percent": 0, "breakage": "mall"},
  "refund": {"allowed": true, "expired_auto": false}, "transferable": true
}"""

LEAST: dict[str, Any] = {
    "id": "c",
    "name": "c",
    "kind": "coupon",
    "benefit": {"type": "amount_off", "amount": 1},
    "stock": {},
    "validity": {"type": "fixed"},
}


def refused(body: Any) -> list[str]:
    """The fields that a campaign is refused for; [] = accepted."""
    try:
        checked(body)
    except InvalidDefinitionError as error:
        for problem in error.problems:
            assert problem.detail("en") != problem.detail("zh-CN")
        return [problem.field for problem in error.problems]
    return []


def with_field(path: str, value: Any) -> dict[str, Any]:
    """LEAST with one field set; a benefit or validity that names its type is replaced whole."""
    name, _, member = path.partition(".")
    if member:
        return {**LEAST, name: {**LEAST.get(name, {}), member: value}}
    return {**LEAST, name: value}


def test_the_contracts_own_example() -> None:
    campaign = checked(CONTRACT)
    again = json.loads(msgspec.json.encode(campaign))
    sent = json.loads(CONTRACT)
    assert again["issue"].pop("start") == "2025-12-31T16:00:00.000Z"
    assert again["issue"].pop("end") == "2026-01-31T16:00:00.000Z"
    assert again["issue"].pop("early")[0]["start"] == "2025-12-30T16:00:00.000Z"
    for time in ("start", "end", "early"):
        sent["issue"].pop(time)
    assert again["benefit"].pop("steps") is None
    assert again.pop("status") == "active"
    assert again.pop("event") is None
    assert again.pop("invite") is again.pop("group") is None
    assert again["stock"].pop("pool") is False
    for name in ("every", "max_amount"):
        assert again["benefit"].pop(name) is None
    assert again == sent


def test_the_least_a_campaign_needs() -> None:
    campaign = checked(LEAST)
    assert msgspec.to_builtins(campaign.funding) == {"mall": 100}
    assert campaign.stacking.per_redemption == 1
    assert campaign.refund.allowed
    assert not campaign.transferable
    for name in LEAST:
        assert refused({k: v for k, v in LEAST.items() if k != name}) == [name]


# A field, a value, the field that is refused ("" = accepted; the same field where none is given).
CASES: list[tuple[str, Any, str | None]] = [
    ("id", "a.b_c:d-E9", ""),
    ("id", "", None),
    ("id", "a b", None),
    ("id", "a\n", None),
    ("id", "x" * 65, None),
    ("id", "券", None),
    ("name", {}, None),
    ("name", "", None),
    ("name", {"zh-CN": "券"}, ""),
    ("unknown", 1, None),
    ("usage.unknown", 1, None),
    ("stock.total", 0, ""),
    ("stock.total", -1, None),
    ("stock.total", True, None),
    ("stock.total", "5", None),
    ("kind", "parking", ""),
    ("kind", "ticket", "benefit.type"),
    ("kind", "pass", "usage.uses"),
    ("kind", "stored_value", "benefit.type"),
    ("kind", "voucher", None),
    ("status", "paused", ""),
    ("status", "frozen", ""),
    ("status", "ended", ""),
    ("status", "draft", ""),
    ("event", {"id": "e"}, "event.starts_at"),
    ("event", {"id": "e", "starts_at": "2026-01-01T00:00:00Z", "ends_at": "2026-01-02T00:00:00Z"},
     "event"),
    ("metadata", {"any": ["thing", {"deep": None}]}, ""),
    # benefits
    ("benefit", {"type": "amount_off"}, "benefit.amount"),
    ("benefit", {"type": "amount_off", "amount": 0}, "benefit.amount"),
    ("benefit", {"type": "amount_off", "amount": 10**11}, ""),
    ("benefit", {"type": "amount_off", "amount": 10**11 + 1}, "benefit.amount"),
    ("benefit", {"type": "amount_off", "amount": 1.5}, "benefit.amount"),
    ("benefit", {"type": "amount_off", "amount": 1, "max_amount": 1}, "benefit.max_amount"),
    ("benefit", {"type": "amount_off", "every": 100}, "benefit.amount"),
    ("benefit", {"type": "amount_off", "every": 100, "amount": 1, "max_amount": 5}, ""),
    ("benefit", {"type": "amount_off", "every": 0, "amount": 1}, "benefit.every"),
    ("benefit", {"type": "amount_off", "steps": []}, "benefit.steps"),
    ("benefit", {"type": "amount_off", "steps": [{"min": 1, "amount": 1}]}, ""),
    ("benefit", {"type": "amount_off", "amount": 1, "steps": [{"min": 1, "amount": 1}]},
     "benefit.amount"),
    ("benefit", {"type": "amount_off", "every": 1, "amount": 1,
                 "steps": [{"min": 1, "amount": 1}]}, "benefit"),
    ("benefit", {"type": "amount_off", "steps": [{"min": 2, "amount": 1}, {"min": 2, "amount": 2}]},
     "benefit.steps"),
    ("benefit", {"type": "percent_off", "percent_off": 12.5}, ""),
    ("benefit", {"type": "percent_off", "percent_off": 100}, ""),
    ("benefit", {"type": "percent_off", "percent_off": 0.01}, ""),
    ("benefit", {"type": "percent_off", "percent_off": 0}, "benefit.percent_off"),
    ("benefit", {"type": "percent_off", "percent_off": 100.01}, "benefit.percent_off"),
    ("benefit", {"type": "percent_off", "percent_off": 12.345}, "benefit.percent_off"),
    ("benefit", {"type": "percent_off", "percent_off": 1e-9}, "benefit.percent_off"),
    ("benefit", {"type": "percent_off", "amount": 5, "percent_off": 5}, "benefit.amount"),
    ("benefit", {"type": "fixed_price", "amount": 0}, ""),
    ("benefit", {"type": "gift", "sku": "tea"}, ""),
    ("benefit", {"type": "gift"}, "benefit.sku"),
    ("benefit", {"type": "exchange", "item": "mug", "value": 5}, ""),
    ("benefit", {"type": "exchange"}, "benefit.item"),
    ("benefit", {"type": "admission", "value": 1}, ""),
    ("benefit", {"type": "parking_minutes", "minutes": 60}, "benefit.type"),
    ("benefit", {"type": "parking_free"}, "benefit.type"),
    ("benefit", {"type": "stored_value", "amount": 1}, "benefit.type"),
    ("benefit", {"type": "cash"}, "benefit.type"),
    # giving out
    ("issue.start", "2026-01-01", None),
    ("issue.start", "2026-02-30T00:00:00Z", None),
    ("issue.start", "1970-01-01T00:00:00Z", None),
    ("issue.start", 1_767_225_600, None),
    ("issue", {"start": "2026-01-01T08:00:00+08:00", "end": "2026-01-01T00:00:00Z"}, "issue.end"),
    ("issue", {"start": "2026-01-01T07:59:59.999+08:00", "end": "2026-01-01T00:00:00Z"}, ""),
    ("issue", {"early": [{"tiers": ["gold"], "start": "2026-01-01T00:00:00Z"}]},
     "issue.early[0].start"),
    ("issue", {"start": "2026-01-01T00:00:00Z",
               "early": [{"tiers": ["gold"], "start": "2026-01-01T00:00:00Z"}]},
     "issue.early[0].start"),
    ("issue", {"start": "2026-01-02T00:00:00Z",
               "early": [{"tiers": [], "start": "2026-01-01T00:00:00Z"}]},
     "issue.early[0].tiers"),
    ("issue.per_user", 0, ""),
    ("issue.per_user_per_week", 3, ""),
    ("issue.per_user_per_month", 3, ""),
    ("issue.tiers", [], ""),
    ("issue.audiences", ["mailed"], ""),
    ("issue.audiences", ["mailed list"], "issue.audiences[0]"),
    ("issue.price", 1, ""),
    ("issue.points_price", 1, ""),
    # validity
    ("validity", {"type": "fixed", "start": "2026-01-02T00:00:00Z", "end": "2026-01-02T00:00:00Z"},
     "validity.end"),
    ("validity", {"type": "fixed", "end": "yesterday"}, "validity.end"),
    ("validity", {"type": "relative"}, ""),
    ("validity", {"type": "relative", "minutes": 0}, "validity.minutes"),
    ("validity", {"type": "relative", "delay_minutes": -1}, "validity.delay_minutes"),
    ("validity", {"type": "relative", "start": "2026-01-02T00:00:00Z"}, "validity.start"),
    ("validity", {"type": "always"}, "validity.type"),
    # using
    ("usage.weekdays", [], ""),
    ("usage.weekdays", [0], "usage.weekdays[0]"),
    ("usage.weekdays", [8], "usage.weekdays[0]"),
    ("usage.hours", [["22:00", "02:00"]], ""),
    ("usage.hours", [["00:00", "24:00"]], ""),
    ("usage.hours", [["24:00", "02:00"]], "usage.hours[0]"),
    ("usage.hours", [["10:00", "10:00"]], "usage.hours[0]"),
    ("usage.hours", [["9:00", "10:00"]], "usage.hours[0][0]"),
    ("usage.hours", [["09:60", "10:00"]], "usage.hours[0][0]"),
    ("usage.hours", [["09:00"]], "usage.hours[0]"),
    ("usage.min_quantity", 3, ""),
    ("usage.include", None, ""),
    ("usage.uses", 2, None),
    ("usage.uses", 0, None),
    # stacking
    ("stacking.class", "exclusive", ""),
    ("stacking.class", "never", None),
    ("stacking.per_redemption", None, ""),
    ("stacking.group_limit", 1, None),
    ("stacking.order", -5, ""),
    # money afterwards
    ("funding", {"mall": 33.33, "merchant": 66.67}, ""),
    ("funding", {"mall": 50, "sponsor:cola": 50}, ""),
    ("funding", [{"party": "merchant:m1", "percent": 60}, {"party": "redeeming", "percent": 40}],
     ""),
    ("funding", {"mall": 50}, None),
    ("funding", {}, None),
    ("funding", [], None),
    ("funding", {"mall": 33.333, "merchant": 66.667}, None),
    ("funding", {"mall": 100, "merchant": 0}, ""),
    ("funding", {"bank": 100}, None),
    ("funding", {"merchant": 50, "redeeming": 50}, None),
    ("funding", [{"party": "mall", "percent": 50}, {"party": "mall", "percent": 50}], None),
    ("funding", [{"party": "merchant", "percent": 100}], "funding[0].party"),
    ("settlement.commission_percent", 2.5, ""),
    ("settlement.commission_percent", 2.555, None),
    ("settlement.breakage", "merchant", ""),
    ("settlement.breakage", "bank", None),
    ("refund.allowed", False, ""),
    ("refund.expired_auto", True, ""),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value", "field"), CASES)
def test_what_is_accepted_and_what_is_not(path: str, value: Any, field: str | None) -> None:
    expected = path if field is None else field
    assert (refused(with_field(path, value)) or [""])[0] == expected


def test_coupons_that_would_be_expired_when_claimed() -> None:
    issue = {"start": "2026-03-01T00:00:00Z"}
    for validity in (
        {"type": "fixed", "end": "2026-03-01T00:00:00Z"},
        {"type": "relative", "minutes": 5, "until": "2026-02-01T00:00:00Z"},
    ):
        fields = refused({**LEAST, "issue": issue, "validity": validity})
        assert fields == ["validity." + list(validity)[-1]]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of everything in a JSON value."""
    if isinstance(value, dict):
        return [path, *(p for k, v in value.items() for p in places(v, (*path, k)))]
    if isinstance(value, list):
        return [path, *(p for i, v in enumerate(value) for p in places(v, (*path, i)))]
    return [path]


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
    | st.sampled_from(["gold", "10:00", "2026-01-01T00:00:00Z", "common", "mall", 0, 1, 100, 0.5]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@given(st.sampled_from(places(json.loads(CONTRACT))[1:]), anything)
def test_whatever_is_sent_is_refused_by_name_or_can_be_published(
    path: tuple[Any, ...], value: Any
) -> None:
    body = json.loads(CONTRACT)
    part = body
    for step in path[:-1]:
        part = part[step]
    part[path[-1]] = value
    if refused(body):
        return
    campaign = checked(body)
    records.pack(compile_terms(campaign))
    records.pack(compile_issue(campaign, 1))
    assert rules_text(campaign, "zh-CN")
    assert checked(msgspec.json.encode(campaign)) == campaign


def test_every_problem_is_named_at_once() -> None:
    body = {**LEAST, "kind": "coupon", "usage": {"uses": 3}, "funding": {"mall": 1}}
    assert refused(body) == ["usage.uses", "funding"]


# ---- times -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "utc"), [
    ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00.000Z"),
    ("2026-01-01t08:00:00.5+08:00", "2026-01-01T00:00:00.500Z"),
    ("2025-12-31T20:30:00-03:30", "2026-01-01T00:00:00.000Z"),
    ("2026-01-01T00:00:00.123999999z", "2026-01-01T00:00:00.123Z"),
    ("9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z"),
])  # fmt: skip
def test_a_time_is_returned_in_utc(text: str, utc: str) -> None:
    assert format_time(parse_time(text)) == utc


@pytest.mark.parametrize("text", [
    "", "2026-01-01", "2026-01-01T00:00:00", "2026-01-01 00:00:00Z", "2026-01-01T24:00:00Z",
    "2026-01-01T00:00:60Z", "2026-13-01T00:00:00Z", "2026-01-01T00:00:00+24:00",
    "2026-W01-1T00:00:00Z", "20260101T000000Z", "2026-01-01T00:00:00Z\n", "1969-12-31T23:59:59Z",
    "9999-12-31T23:59:59-08:00", "٢٠٢٦-01-01T00:00:00Z",
])  # fmt: skip
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError):
        parse_time(text)


@given(st.integers(1, 253_402_300_799_999))
def test_times_round_trip(ms: int) -> None:
    assert parse_time(format_time(ms)) == ms


# ---- compiled --------------------------------------------------------------------------------


def test_the_contracts_example_as_the_scripts_read_it() -> None:
    campaign = checked(CONTRACT)
    assert compile_issue(campaign, 3) == records.Issue(
        revision=3, status="active", kind="coupon",
        start=parse_time("2026-01-01T00:00:00+08:00"), end=parse_time("2026-02-01T00:00:00+08:00"),
        early=[(["gold"], parse_time("2025-12-31T00:00:00+08:00"))],
        per_user=2, per_user_per_day=1, per_user_per_week=-1, per_user_per_month=-1,
        channels=None, tiers=None, audiences=None,
        validity="relative", valid_start=0, valid_end=0, delay_minutes=0, minutes=10_080,
    )  # fmt: skip
    assert compile_terms(campaign) == records.Terms(
        kind="coupon", benefit="amount_off", amount=2000, steps=[], every=0, max_amount=-1,
        basis_points=0, sku="", item="", value=0, min_spend=10_000, min_spend_running=False,
        min_quantity=0, stores=["s1", "s2"], channels=["cashier", "store_scan"],
        weekdays=[1, 2, 3, 4, 5, 6, 7], hours=[(600, 1320)],
        include_categories=["dining"], include_skus=None,
        exclude_categories=None, exclude_skus=["gift-card"],
        stacking="common", group="dining", group_limit=1, per_redemption=1, order=100,
        base_initial=False, uses=1, transferable=True,
    )  # fmt: skip


@pytest.mark.parametrize(("path", "value", "compiled"), [
    ("benefit", {"type": "percent_off", "percent_off": 12.5}, {"basis_points": 1250}),
    ("benefit", {"type": "percent_off", "percent_off": 0.29}, {"basis_points": 29}),
    ("benefit", {"type": "percent_off", "percent_off": 5, "max_amount": 0}, {"max_amount": 0}),
    ("benefit", {"type": "fixed_price", "amount": 0}, {"amount": 0}),
    ("benefit", {"type": "gift", "sku": "tea"}, {"sku": "tea", "amount": -1}),
    ("benefit", {"type": "gift", "sku": "tea", "amount": 0}, {"amount": 0}),
    ("benefit", {"type": "exchange", "item": "mug", "value": 7}, {"item": "mug", "value": 7}),
    ("benefit", {"type": "amount_off", "steps": [{"min": 5, "amount": 1}, {"min": 9, "amount": 2}]},
     {"steps": [(5, 1), (9, 2)], "min_spend": 5, "amount": -1}),
    ("benefit", {"type": "amount_off", "every": 50, "amount": 5, "max_amount": 20},
     {"every": 50, "amount": 5, "max_amount": 20, "min_spend": 50}),
    ("usage.stores", [], {"stores": []}),
    ("usage.stores", None, {"stores": None}),
    ("usage.hours", [["22:00", "02:00"], ["00:00", "24:00"]], {"hours": [(1320, 120), (0, 1440)]}),
    ("usage.min_spend_base", "running", {"min_spend_running": True}),
    ("stacking.per_redemption", None, {"per_redemption": -1}),
    ("stacking.per_redemption", 0, {"per_redemption": 0}),
    ("stacking.base", "initial", {"base_initial": True}),
])  # fmt: skip
def test_terms(path: str, value: Any, compiled: dict[str, Any]) -> None:
    terms = compile_terms(checked(with_field(path, value)))
    assert {name: getattr(terms, name) for name in compiled} == compiled


@pytest.mark.parametrize(("validity", "compiled"), [
    ({"type": "fixed"}, ("fixed", 0, 0, 0, -1)),
    ({"type": "fixed", "start": "2026-01-01T00:00:00Z"}, ("fixed", 1_767_225_600_000, 0, 0, -1)),
    ({"type": "relative"}, ("relative", 0, 0, 0, -1)),
    ({"type": "relative", "delay_minutes": 60, "minutes": 5, "until": "2026-01-01T00:00:00Z"},
     ("relative", 0, 1_767_225_600_000, 60, 5)),
])  # fmt: skip
def test_validity(validity: dict[str, Any], compiled: tuple[Any, ...]) -> None:
    issue = compile_issue(checked({**LEAST, "validity": validity}), 1)
    got = (issue.validity, issue.valid_start, issue.valid_end, issue.delay_minutes, issue.minutes)
    assert got == compiled


def test_terms_survive_the_way_to_the_scripts() -> None:
    for body in (CONTRACT, LEAST):
        terms, issue = compile_terms(checked(body)), compile_issue(checked(body), 1)
        assert msgspec.msgpack.decode(records.pack(terms), type=records.Terms) == terms
        assert msgspec.msgpack.decode(records.pack(issue), type=records.Issue) == issue


# ---- changing --------------------------------------------------------------------------------


# RFC 7396, appendix A.
@pytest.mark.parametrize(("target", "patch", "result"), [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
])  # fmt: skip
def test_merge_patch_as_the_rfc_has_it(target: Any, patch: Any, result: Any) -> None:
    assert merge(target, patch) == result


@pytest.mark.parametrize(("patch", "fields"), [
    ({"status": "frozen"}, []),
    ({"usage": {"min_spend": 5000, "stores": None}}, []),
    ({"stock": {"total": 1000}}, []),                       # what it is already
    ({"stock": {"total": 1001}}, ["stock"]),
    ({"stock": None}, ["stock"]),
    ({"id": "other"}, ["id"]),
    ({"kind": "pass"}, ["usage.uses"]),
    ({"benefit": {"type": "percent_off", "percent_off": 10, "amount": None}}, []),
    ({"benefit": {"type": "percent_off", "percent_off": 10}}, ["benefit.amount"]),
    ({"funding": {"merchant": None, "mall": 100}}, []),
    ({"funding": {"mall": 100}}, ["funding"]),
    ({"name": {"en": None}}, []),
    ({"nothing": 1}, ["nothing"]),
    ([], [""]),
])  # fmt: skip
def test_patching_a_campaign(patch: Any, fields: list[str]) -> None:
    if not fields:
        merge_patch(CONTRACT, patch)
        return
    with pytest.raises(InvalidDefinitionError) as refusal:
        merge_patch(CONTRACT, patch)
    assert [problem.field for problem in refusal.value.problems] == fields


def test_a_patch_changes_only_what_it_names() -> None:
    before = checked(CONTRACT)
    after = merge_patch(CONTRACT, {"usage": {"min_spend": 5000}})
    assert after.usage == msgspec.structs.replace(before.usage, min_spend=5000)
    assert msgspec.structs.replace(after, usage=before.usage) == before


def test_null_per_redemption_means_unlimited_in_a_patch_too() -> None:
    assert merge_patch(CONTRACT, {"stacking": {"per_redemption": None}}).stacking == (
        msgspec.structs.replace(checked(CONTRACT).stacking, per_redemption=None)
    )
    assert merge_patch(CONTRACT, {"stacking": None}).stacking.per_redemption == 1


# ---- settings, stores, merchants -------------------------------------------------------------


def test_settings() -> None:
    default = merge_settings({}, {})
    assert (default.payable_floor, default.max_hold_seconds, default.points_per_yuan) == (
        0, 7200, 100,
    )  # fmt: skip
    assert not default.terminal_ids
    assert check_settings(default) == []
    changed = merge_settings({"payable_floor": 1}, {"max_hold_seconds": 60})
    assert compile_settings(changed, 7) == records.SettingsRecord(7, 1, 60)
    rule = {"per_yuan": 0.5, "tiers": {"gold": 1.5}, "days": [
        {"factor": 2, "dates": ["1970-01-03", "1970-01-02"], "weekdays": [5]}]}
    earn = compile_settings(merge_settings({}, {"earn": rule, "points_max_percent": 12.5}), 1)
    assert earn.points_max_basis_points == 1250
    assert earn.earn == records.EarnRule(
        50, [("gold", 150)], [records.SpecialDays(n, n, [5], 200) for n in (1, 2)],
        0, -1, -1, [], 0, -1, "within_balance",
    )  # fmt: skip


@pytest.mark.parametrize(("patch", "field"), [
    ({"points_per_yuan": 0}, "points_per_yuan"),
    ({"points_max_percent": 12.345}, "points_max_percent"),
    ({"earn": {"per_yuan": 1.005}}, "earn.per_yuan"),
    ({"earn": {"tiers": {}}}, "earn.per_yuan"),
    ({"earn": {"per_yuan": 1, "days": [{"factor": 2, "dates": ["2026-02-30"]}]}},
     "earn.days[0].dates[0]"),
    ({"parking": {"tiers": {"gold": {}}}}, "parking.tiers.gold"),
    ({"parking": {"tiers": {"gold": {"amount": 0}}}}, "parking.tiers[...].amount"),
    ({"parking": {"spend": [{"min": 100}]}}, "parking.spend[0]"),
    ({"parking": {"spend": [{"min": 2, "minutes": 1}, {"min": 2, "amount": 1}]}}, "parking.spend"),
    ({"parking": {"caps": {"minutes": -1}}}, "parking.caps.minutes"),
    ({"parking": {"bearer": "nobody"}}, "parking.bearer"),
    ({"parking": {"grace": 5}}, "parking.grace"),
    ({"retention_days": 60}, "retention_days"),
    ({"retention_days": 29}, "retention_days"),
    ({"payable_floor": -1}, "payable_floor"),
    ({"colour": "red"}, "colour"),
    ({"jwt_keys": {"k1": {"alg": "none", "key": "x" * 32}}}, "jwt_keys[...].alg"),
    ({"jwt_keys": {"k1": {"alg": "HS256", "key": "short"}}}, "jwt_keys[...].key"),
    ({"jwt_keys": {"k1": {"alg": "EdDSA", "key": "x" * 32}}}, "jwt_keys.k1.key"),
])  # fmt: skip
def test_settings_that_are_refused(patch: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidDefinitionError) as refusal:
        merge_settings({}, patch)
    assert [problem.field for problem in refusal.value.problems] == [field]


def test_stores_and_merchants() -> None:
    body = b'{"name": {"zh-CN": "\xe9\x9d\xa2\xe9\xa6\x86"}, "merchant_id": "m1", "closed": true}'
    store = msgspec.json.decode(body, type=Store)
    assert check_store(store) == []
    assert compile_store(store, 4) == records.StoreRecord(4, "m1", 1)
    assert name_in(store.name, "en") == "面馆"
    assert name_in({"en": "Noodles", "zh-CN": "面馆"}, "zh") == "面馆"
    assert name_in({"en": "Noodles", "zh-CN": "面馆"}, "en-GB") == "Noodles"
    assert name_in(msgspec.convert({"name": "M"}, Merchant).name) == "M"
    odd = msgspec.structs.replace(store, hours=[("10:00", "10:00")])
    assert [problem.field for problem in check_store(odd)] == ["hours[0]"]


# ---- in words --------------------------------------------------------------------------------


def test_all_rules_on_one_screen() -> None:
    zone = ZoneInfo("Asia/Shanghai")
    english = rules_text(CONTRACT, "en", zone=zone, store_names={"s1": "Noodle Bar"})
    assert {rule["code"]: rule["text"] for rule in english} == {
        "amount_off": "CN¥20.00 off.",
        "min_spend": "From CN¥100.00 on.",
        "include": "Only for categories dining.",
        "exclude": "Not for items gift-card.",
        "validity": "Valid for 7 days from the claim on.",
        "hours": "At these hours: 10:00–22:00.",
        "stores": "In these stores: Noodle Bar or s2.",
        "channels": "Through: cashier or store_scan.",
        "stacking": "May be combined with others that allow it.",
        "group_limit": "At most 1 of the group dining at once.",
        "per_redemption": "At most 1 of this campaign at once.",
        "uses": "To be used once.",
        "transferable": "May be given on.",
    }
    chinese = rules_text(CONTRACT, "zh-CN", zone=zone)
    assert [rule["code"] for rule in chinese] == [rule["code"] for rule in english]
    texts = {rule["code"]: rule["text"] for rule in chinese}
    assert texts["amount_off"] == "立减¥20.00。"
    assert texts["min_spend"] == "满¥100.00可用。"
    assert texts["validity"] == "领取后7天内有效。"


@pytest.mark.parametrize(("path", "value", "english", "chinese"), [
    ("benefit", {"type": "percent_off", "percent_off": 12.5, "max_amount": 5000},
     "12.5% off, at most CN¥50.00.", "8.75折,最多减¥50.00。"),
    ("benefit", {"type": "percent_off", "percent_off": 20}, "20% off.", "8折。"),
    ("benefit", {"type": "percent_off", "percent_off": 100}, "100% off.", "全免。"),
    ("benefit", {"type": "fixed_price", "amount": 990}, "All it is for: CN¥9.90.",
     "适用商品合计¥9.90。"),
    ("benefit", {"type": "gift", "sku": "tea", "amount": 1500},
     "One tea free, at most CN¥15.00.", "赠tea一件,最多减¥15.00。"),
    ("benefit", {"type": "exchange", "item": "mug"}, "Exchanged for mug.", "兑换mug。"),
    ("benefit", {"type": "admission"}, "Entry.", "凭券入场。"),
    ("benefit", {"type": "stored_value", "amount": 10000},
     "CN¥100.00 to pay with, after all discounts.", "储值¥100.00,在优惠后抵扣。"),
    ("benefit", {"type": "amount_off", "steps": [{"min": 10000, "amount": 1000}]},
     "CN¥10.00 off from CN¥100.00.", "满¥100.00减¥10.00。"),
    ("benefit", {"type": "amount_off", "every": 10000, "amount": 2000, "max_amount": 5000},
     "CN¥20.00 off for every CN¥100.00, at most CN¥50.00.", "每满¥100.00减¥20.00,最多减¥50.00。"),
    ("validity", {"type": "fixed", "end": "2026-01-31T16:00:00Z"}, "Until 2026-02-01 00:00.",
     "有效期至2026-02-01 00:00。"),
    ("validity", {"type": "relative", "delay_minutes": 1440, "minutes": 90},
     "Valid 1 day after the claim for 90 minutes.", "领取1天后90分钟内有效。"),
    ("usage.weekdays", [6, 7], "On these days: Sat or Sun.", "可用日:周六或周日。"),
    ("usage.stores", [], "In these stores: none.", "适用门店:无。"),
    ("usage.include", {"skus": []}, "Only for nothing.", "仅限 无。"),
    ("stacking.class", "exclusive", "Not together with other coupons.", "不可与其他券同时使用。"),
])  # fmt: skip
def test_rules_in_words(path: str, value: Any, english: str, chinese: str) -> None:
    body = with_field(path, value)
    zone = ZoneInfo("Asia/Shanghai")
    assert english in [rule["text"] for rule in rules_text(body, "en", zone=zone)]
    assert chinese in [rule["text"] for rule in rules_text(body, "zh-CN", zone=zone)]


def test_a_long_list_still_fits_a_screen() -> None:
    body = with_field("usage.stores", [f"s{i}" for i in range(500)])
    text = next(r["text"] for r in rules_text(body, "en") if r["code"] == "stores")
    assert len(text) < 200
    assert "480 more" in text


# ---- the schema ------------------------------------------------------------------------------


def test_the_bodies_are_a_valid_openapi_schema() -> None:
    bodies = [Campaign, Settings, Store, Merchant]
    template = "#/components/schemas/{name}"
    _, schemas = msgspec.json.schema_components(bodies, ref_template=template)
    validate({
        "openapi": "3.1.0",
        "info": {"title": "bodies", "version": "1"},
        "paths": {},
        "components": {"schemas": schemas},
    })  # fmt: skip
    assert schemas["Campaign"]["required"] == [
        "id", "name", "kind", "benefit", "stock", "validity",
    ]  # fmt: skip
    assert all(schema.get("description") for schema in schemas.values())
