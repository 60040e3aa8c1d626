"""The terms of a coupon in words, as a customer or a cashier reads them on one screen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from typing import Any

import msgspec
from babel.dates import get_day_names
from babel.lists import format_list
from babel.numbers import format_currency, get_currency_precision

from engine.definitions.bodies import (
    Admission,
    AmountOff,
    Campaign,
    Exchange,
    FixedPrice,
    FixedValidity,
    Gift,
    ParkingFree,
    ParkingMinutes,
    PercentOff,
    Scope,
    StoredValue,
    valid_end,
)
from engine.definitions.times import parse_time

Rule = tuple[str, str]  # code, text
_SHOWN = 20  # of a longer list the rest is counted: it is one screen


class _Words:
    """Amounts, times and lists in one language."""

    def __init__(
        self, language: str, zone: tzinfo, currency: str, names: Mapping[str, str]
    ) -> None:
        self.chinese = language.lower().startswith("zh")
        self.locale = "zh_CN" if self.chinese else "en"
        self.zone, self.currency, self.names = zone, currency, names

    def say(self, english: str, chinese: str) -> str:
        return chinese if self.chinese else english

    def money(self, amount: int) -> str:
        major = Decimal(amount).scaleb(-get_currency_precision(self.currency))
        return str(format_currency(major, self.currency, locale=self.locale))

    def percent(self, percent: float) -> str:
        """``12.5% off``, and 8.75折 in Chinese: what is left to pay, in tenths."""
        if self.chinese:
            left = (Decimal(100) - Decimal(str(percent))) / 10
            return f"{left.normalize():f}折" if left else "全免"
        return f"{Decimal(str(percent)).normalize():f}% off"

    def duration(self, minutes: int) -> str:
        for size, english, chinese in ((1440, "day", "天"), (60, "hour", "小时")):
            if minutes % size == 0:
                return self._count(minutes // size, english, chinese)
        return self._count(minutes, "minute", "分钟")

    def _count(self, number: int, english: str, chinese: str) -> str:
        return self.say(f"{number} {english}{'' if number == 1 else 's'}", f"{number}{chinese}")

    def time(self, text: str) -> str:
        """In the tenant's zone, to the minute."""
        local = datetime.fromtimestamp(parse_time(text) / 1000, UTC).astimezone(self.zone)
        return f"{local:%Y-%m-%d %H:%M}"

    def any_of(self, values: list[str]) -> str:
        if not values:
            return self.say("none", "无")
        shown = [self.names.get(value, value) for value in values[:_SHOWN]]
        if len(values) > _SHOWN:
            more = len(values) - _SHOWN
            shown.append(self.say(f"{more} more", f"另外{more}项"))
        return str(format_list(shown, style="or", locale=self.locale))

    def weekdays(self, numbers: list[int]) -> str:
        names = get_day_names("abbreviated", locale=self.locale)
        return self.any_of([str(names[n - 1]) for n in sorted(set(numbers))])


def _benefit(c: Campaign, w: _Words) -> Iterator[Rule]:
    benefit = c.benefit
    match benefit:
        case AmountOff():
            yield "amount_off", _amount_off(benefit, w)
        case PercentOff():
            text = w.percent(benefit.percent_off) + _at_most(benefit.max_amount, w)
            yield "percent_off", text + w.say(".", "。")
        case FixedPrice():
            price = w.money(benefit.amount)
            yield "fixed_price", w.say(f"All it is for: {price}.", f"适用商品合计{price}。")
        case Gift():
            text = w.say(f"One {benefit.sku} free", f"赠{benefit.sku}一件")
            yield "gift", text + _at_most(benefit.amount, w) + w.say(".", "。")
        case Exchange():
            text = w.say(f"Exchanged for {benefit.item}.", f"兑换{benefit.item}。")
            yield "exchange", text
        case Admission():
            yield "admission", w.say("Entry.", "凭券入场。")
        case StoredValue():
            text = f"{w.money(benefit.amount)} to pay with, after all discounts."
            yield "stored_value", w.say(text, f"储值{w.money(benefit.amount)},在优惠后抵扣。")
        case ParkingMinutes():
            minutes = benefit.minutes
            yield "parking_minutes", w.say(f"{minutes} min of parking.", f"停车减免{minutes}分钟。")
        case ParkingFree():
            text = w.say("Free parking", "免停车费") + _at_most(benefit.max_amount, w)
            yield "parking_free", text + w.say(".", "。")


def _at_most(amount: int | None, w: _Words) -> str:
    if amount is None:
        return ""
    return w.say(f", at most {w.money(amount)}", f",最多减{w.money(amount)}")


def _amount_off(benefit: AmountOff, w: _Words) -> str:
    if benefit.steps:
        steps = [(w.money(step.min), w.money(step.amount)) for step in benefit.steps]
        english = ", ".join(f"{amount} off from {least}" for least, amount in steps)
        return w.say(english + ".", ",".join(f"满{m}减{a}" for m, a in steps) + "。")
    amount = w.money(benefit.amount or 0)
    if benefit.every:
        every = w.money(benefit.every)
        text = w.say(f"{amount} off for every {every}", f"每满{every}减{amount}")
        return text + _at_most(benefit.max_amount, w) + w.say(".", "。")
    return w.say(f"{amount} off.", f"立减{amount}。")


def _basket(c: Campaign, w: _Words) -> Iterator[Rule]:
    usage = c.usage
    if usage.min_spend:
        text = w.say(f"From {w.money(usage.min_spend)} on", f"满{w.money(usage.min_spend)}可用")
        if usage.min_spend_base == "running":
            text += w.say(", after other discounts", "(按其他优惠后金额)")
        yield "min_spend", text + w.say(".", "。")
    if usage.min_quantity:
        n = usage.min_quantity
        yield "min_quantity", w.say(f"From {n} items on.", f"满{n}件可用。")
    yield from _scope("include", usage.include, w, w.say("Only for", "仅限"))
    yield from _scope("exclude", usage.exclude, w, w.say("Not for", "不适用于"))


def _scope(code: str, scope: Scope | None, w: _Words, verb: str) -> Iterator[Rule]:
    if scope is None:
        return
    lists = (
        (scope.categories, w.say("categories", "品类")),
        (scope.skus, w.say("items", "商品")),
    )
    parts = [f"{what} {w.any_of(values)}" for values, what in lists if values]
    if not parts and code == "include" and [scope.categories, scope.skus] != [None, None]:
        parts = [w.say("nothing", "无")]
    if parts:
        yield code, f"{verb} {w.say(' and ', ';').join(parts)}" + w.say(".", "。")


def _validity(c: Campaign, w: _Words) -> Iterator[Rule]:
    validity, end, start, begins = c.validity, valid_end(c), None, ""
    if isinstance(validity, FixedValidity):
        start = validity.start
    else:
        begins = w.say("Valid", "领取后")
        if validity.delay_minutes:
            delay = w.duration(validity.delay_minutes)
            begins = w.say(f"Valid {delay} after the claim", f"领取{delay}后")
        if validity.minutes is not None:
            length = w.duration(validity.minutes)
            start_en = "" if validity.delay_minutes else " from the claim on"
            text = w.say(f"{begins} for {length}{start_en}.", f"{begins}{length}内有效。")
            yield "validity", text
        elif validity.delay_minutes:
            yield "validity", w.say(f"{begins}.", f"{begins}生效。")
    if start:
        yield "valid_from", w.say(f"From {w.time(start)} on.", f"{w.time(start)}起可用。")
    if end:
        yield "valid_until", w.say(f"Until {w.time(end)}.", f"有效期至{w.time(end)}。")


def _event(c: Campaign, w: _Words) -> Iterator[Rule]:
    event = c.event
    if event is None:
        return
    start, end = w.time(event.starts_at), w.time(event.ends_at)
    yield "event", w.say(f"The event: {start} to {end}.", f"活动时间:{start}至{end}。")
    if event.entry_from is not None:
        opens = w.time(event.entry_from)
        yield "entry_from", w.say(f"Doors open {opens}.", f"{opens}起可入场。")
    if event.entry_until is not None:
        closes = w.time(event.entry_until)
        yield "entry_until", w.say(f"Last entry before {closes}.", f"{closes}停止入场。")
    if event.reentry:
        yield "reentry", w.say("You may leave and come in again.", "离场后可再次入场。")
    else:
        yield "reentry", w.say("Who leaves can't come in again.", "离场后不可再次入场。")


def _places(c: Campaign, w: _Words) -> Iterator[Rule]:
    usage = c.usage
    if usage.weekdays is not None and len(set(usage.weekdays)) < 7:
        days = w.weekdays(usage.weekdays)
        yield "weekdays", w.say(f"On these days: {days}.", f"可用日:{days}。")
    if usage.hours is not None:
        hours = w.any_of([f"{start}–{end}" for start, end in usage.hours])
        yield "hours", w.say(f"At these hours: {hours}.", f"可用时段:{hours}。")
    if usage.stores is not None:
        stores = w.any_of(usage.stores)
        yield "stores", w.say(f"In these stores: {stores}.", f"适用门店:{stores}。")
    if usage.channels is not None:
        channels = w.any_of(usage.channels)
        yield "channels", w.say(f"Through: {channels}.", f"适用渠道:{channels}。")


_CLASSES = {
    "exclusive": ("Not together with other coupons.", "不可与其他券同时使用。"),
    "common": ("May be combined with others that allow it.", "可与其他可叠加券同时使用。"),
    "always": ("May be combined with any coupon.", "可与任何券同时使用。"),
}


def _together(c: Campaign, w: _Words) -> Iterator[Rule]:
    stacking = c.stacking
    stored = isinstance(c.benefit, StoredValue)
    if not stored:  # money stands beside every class
        yield "stacking", w.say(*_CLASSES[stacking.class_])
    if stacking.group is not None and stacking.group_limit is not None:
        n, group = stacking.group_limit, stacking.group
        text = w.say(f"At most {n} of the group {group} at once.", f"“{group}”组每次最多{n}张。")
        yield "group_limit", text
    if stacking.per_redemption is not None:
        n = stacking.per_redemption
        text = w.say(f"At most {n} of this campaign at once.", f"同一活动每次最多用{n}张。")
        yield "per_redemption", text
    if stored:
        yield "uses", w.say("To be used until nothing is left.", "可多次使用,用完为止。")
    elif c.usage.uses == 1:
        yield "uses", w.say("To be used once.", "仅可使用一次。")
    else:
        yield "uses", w.say(f"For {c.usage.uses} uses.", f"可使用{c.usage.uses}次。")
    if c.refund.expired_auto and (c.issue.price or c.issue.points_price):
        text = "What was paid for it comes back if it expires unused."
        yield "refund_expired", w.say(text, "过期未用自动退款。")
    if c.transferable:
        yield "transferable", w.say("May be given on.", "可转赠。")
    else:
        yield "transferable", w.say("Can't be given on.", "不可转赠。")


_PARTS: tuple[Callable[[Campaign, _Words], Iterator[Rule]], ...] = (
    _benefit, _basket, _event, _validity, _places, _together,
)  # fmt: skip


def rules_text(
    campaign: Campaign | bytes | str | dict[str, Any],
    language: str = "en",
    *,
    zone: tzinfo = UTC,
    currency: str = "CNY",
    store_names: Mapping[str, str] | None = None,
) -> list[dict[str, str]]:
    """Every rule of a coupon issued under these terms: ``[{"code", "text"}]``, ``en`` or ``zh-CN``.

    ``campaign`` is a Campaign or its body as kept (``campaign_terms.body``); times are shown in
    ``zone``; stores by their names where ``store_names`` has them.
    """
    if isinstance(campaign, bytes | str):
        campaign = msgspec.json.decode(campaign, type=Campaign)
    elif isinstance(campaign, dict):
        campaign = msgspec.convert(campaign, Campaign)
    words = _Words(language, zone, currency, store_names or {})
    return [{"code": code, "text": text} for part in _PARTS for code, text in part(campaign, words)]
