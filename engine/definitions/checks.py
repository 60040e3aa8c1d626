"""What the types of a definition cannot say: meaning, and what this version does not do yet."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import msgspec

from engine.definitions.bodies import (
    Admission,
    AmountOff,
    Campaign,
    FixedPrice,
    FixedValidity,
    ParkingFree,
    ParkingMinutes,
    PercentOff,
    Settings,
    Store,
    StoredValue,
    valid_end,
)
from engine.definitions.earning import faults
from engine.definitions.parking import ParkingSettings
from engine.definitions.times import parse_time


class Problem(NamedTuple):
    """One thing wrong with a definition; ``field`` is its path, e.g. ``usage.hours[0]``."""

    field: str
    detail_en: str
    detail_zh: str

    def detail(self, language: str = "en") -> str:
        """The sentence in ``en`` or ``zh-CN``."""
        return self.detail_zh if language.lower().startswith("zh") else self.detail_en


class InvalidDefinitionError(ValueError):
    """A definition that cannot be accepted; ``problems`` names each thing wrong with it."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("; ".join(f"{p.field}: {p.detail_en}" for p in problems))
        self.problems = problems


def basis_points(percent: float) -> int | None:
    """12.5 % = 1250; None when it has more than two decimals."""
    points = round(percent * 100)
    return points if abs(percent * 100 - points) < 1e-6 else None


def minutes_of(clock: str) -> int:
    """Minutes of the day of ``HH:MM``; 1440 for ``24:00``."""
    hours, minutes = clock.split(":")
    return int(hours) * 60 + int(minutes)


def problem_of(error: msgspec.ValidationError) -> Problem:
    """A shape error of msgspec as a problem: ``… - at `$.stock.total``` names the field."""
    text, path = str(error), ""
    if place := re.search(r" - at (?:`key` in )?`\$(.*)`$", text):
        text, path = text[: place.start()], place[1]
    unknown = re.fullmatch(r"Object (?:contains unknown|missing required) field `(.*)`", text)
    field = path + (f".{unknown[1]}" if unknown else "")
    return Problem(field.lstrip("."), text + ".", "字段缺失、未知或格式不正确。")


def _unbuilt(field: str) -> Problem:
    return Problem(
        field,
        f"{field} is not built in this version; leave it at its default.",
        f"当前版本尚不支持 {field},请保留默认值。",
    )


def _time(field: str, text: str | None) -> Iterator[Problem]:
    if text is not None:
        try:
            parse_time(text)
        except ValueError:
            yield Problem(field, "This is no date and time after 1970.", "不是有效的日期时间。")


def _ms(text: str | None) -> int | None:
    try:
        return parse_time(text) if text is not None else None
    except ValueError:
        return None  # _time has said so already


def _before(field: str, first: str | None, then: str | None) -> Iterator[Problem]:
    a, b = _ms(first), _ms(then)
    if a is not None and b is not None and a >= b:
        yield Problem(field, "The end must be after the start.", "结束时间必须晚于开始时间。")


def _percent(field: str, percent: float) -> Iterator[Problem]:
    if basis_points(percent) is None:
        yield Problem(field, "At most two decimals.", "最多两位小数。")


_FOR_PARKING = (ParkingMinutes, ParkingFree, AmountOff, PercentOff, FixedPrice)


def _kind(c: Campaign) -> Iterator[Problem]:
    if c.kind == "parking":
        if not isinstance(c.benefit, _FOR_PARKING):
            yield Problem(
                "benefit.type",
                "Of a parking campaign: parking_minutes, parking_free, amount_off, percent_off or"
                " fixed_price.",
                "停车类活动的优惠只能是减免时长、免停车费、立减、折扣或一口价。",
            )
    elif isinstance(c.benefit, ParkingMinutes | ParkingFree):
        yield Problem(
            "benefit.type", "It goes with kind parking.", "该优惠仅可用于停车类(parking)活动。"
        )
    if c.kind == "ticket" and not isinstance(c.benefit, Admission):
        yield Problem("benefit.type", "Of a ticket: admission.", "门票的优惠类型只能是 admission。")
    if (c.kind == "ticket") != (c.event is not None):
        yield Problem(
            "event",
            "A ticket has an event, nothing else has.",
            "门票(ticket)必须有 event,其他类型不可有。",
        )
    if isinstance(c.benefit, StoredValue) != (c.kind == "stored_value"):
        yield Problem(
            "benefit.type",
            "Kind stored_value and benefit stored_value go together.",
            "kind 与 benefit 的 stored_value 必须同时使用。",
        )
    if c.kind == "stored_value" and c.stock.budget is not None:
        yield Problem(
            "stock.budget",
            "A budget limits discounts; limit what is given away by stock.total.",
            "预算只限制优惠金额;储值请用 stock.total 限量。",
        )
    if c.stock.pool and c.kind not in ("coupon", "ticket"):
        yield Problem(
            "stock.pool",
            "Only campaigns of kind coupon or ticket take codes.",
            "仅 coupon 与 ticket 类活动可导入第三方券码。",
        )
    if c.kind == "pass" and c.usage.uses == 1:
        yield Problem("usage.uses", "A pass has more than one use.", "次卡的 uses 必须大于 1。")
    if c.kind != "pass" and c.usage.uses != 1:
        yield Problem(
            "usage.uses", "Only a pass has more than one use.", "只有次卡(pass)可多次使用。"
        )


def _benefit(c: Campaign) -> Iterator[Problem]:
    benefit = c.benefit
    if isinstance(benefit, AmountOff):
        yield from _amount_off(benefit)
    elif isinstance(benefit, PercentOff):
        yield from _percent("benefit.percent_off", benefit.percent_off)
        if basis_points(benefit.percent_off) == 0:
            yield Problem("benefit.percent_off", "At least 0.01.", "至少为 0.01。")


def _amount_off(benefit: AmountOff) -> Iterator[Problem]:
    plain = benefit.steps is None and benefit.every is None
    if benefit.steps is not None and benefit.every is not None:
        yield Problem("benefit", "Either steps or every, not both.", "steps 与 every 只能二选一。")
    elif benefit.steps is not None:
        if benefit.amount is not None:
            yield Problem(
                "benefit.amount", "Steps name their own.", "阶梯满减的金额写在 steps 中。"
            )
        if not benefit.steps:
            yield Problem("benefit.steps", "At least one step.", "至少需要一级。")
        mins = [step.min for step in benefit.steps]
        if any(b <= a for a, b in pairwise(mins)):
            yield Problem("benefit.steps", "min must rise from step to step.", "min 必须逐级递增。")
    elif benefit.amount is None:
        yield Problem(
            "benefit.amount",
            "Needs amount, or steps, or every with amount.",
            "需要 amount、steps 或 every 加 amount。",
        )
    if benefit.max_amount is not None and (plain or benefit.steps is not None):
        yield Problem("benefit.max_amount", "Only with every.", "仅可与 every 同用。")


def _issue(c: Campaign) -> Iterator[Problem]:
    issue = c.issue
    yield from _time("issue.start", issue.start)
    yield from _time("issue.end", issue.end)
    yield from _before("issue.end", issue.start, issue.end)
    for i, early in enumerate(issue.early or []):
        field = f"issue.early[{i}].start"
        yield from _time(field, early.start)
        start, normal = _ms(early.start), _ms(issue.start)
        if issue.start is None or (start and normal and start >= normal):
            yield Problem(field, "Must be before issue.start.", "必须早于 issue.start。")


def _validity(c: Campaign) -> Iterator[Problem]:
    validity = c.validity
    if isinstance(validity, FixedValidity):
        yield from _time("validity.start", validity.start)
        yield from _time("validity.end", validity.end)
        yield from _before("validity.end", validity.start, validity.end)
        field = "validity.end"
    else:
        yield from _time("validity.until", validity.until)
        field = "validity.until"
    start, end = _ms(c.issue.start), _ms(valid_end(c))
    if start is not None and end is not None and end <= start:
        yield Problem(
            field,
            "Coupons would be expired before the first claim.",
            "券在开始领取前就已过期。",
        )


def _event(c: Campaign) -> Iterator[Problem]:
    event = c.event
    if event is None:
        return
    for name in ("starts_at", "ends_at", "entry_from", "entry_until"):
        yield from _time(f"event.{name}", getattr(event, name))
    yield from _before("event.ends_at", event.starts_at, event.ends_at)
    until = event.entry_until or event.ends_at
    yield from _before("event.entry_until", event.entry_from, until)
    if (_ms(until) or 0) > (_ms(event.ends_at) or 0):
        yield Problem(
            "event.entry_until", "Nobody enters after the end.", "入场截止不得晚于活动结束。"
        )
    start = c.validity.start if isinstance(c.validity, FixedValidity) else None
    if start is not None and (_ms(start) or 0) >= (_ms(event.ends_at) or 0):
        yield Problem("validity.start", "The event is over by then.", "届时活动已结束。")
    names = [quota.id for quota in event.quotas or []]
    if len(set(names)) < len(names):
        yield Problem("event.quotas", "A quota is named twice.", "同一配额出现了两次。")


def _hours(field: str, hours: list[tuple[str, str]] | None) -> Iterator[Problem]:
    for i, (start, end) in enumerate(hours or []):
        if start == "24:00":
            yield Problem(f"{field}[{i}]", "24:00 can only be an end.", "24:00 只能作为结束时间。")
        elif start == end:
            yield Problem(
                f"{field}[{i}]",
                "Start and end are equal; the whole day is 00:00 to 24:00.",
                "起止时间相同;全天请写 00:00 至 24:00。",
            )


def _usage(c: Campaign) -> Iterator[Problem]:
    usage = c.usage
    yield from _hours("usage.hours", usage.hours)


def _stacking(c: Campaign) -> Iterator[Problem]:
    if c.stacking.group_limit is not None and c.stacking.group is None:
        yield Problem(
            "stacking.group_limit", "Needs stacking.group.", "需要同时设置 stacking.group。"
        )


def _funding(c: Campaign) -> Iterator[Problem]:
    if isinstance(c.funding, dict):
        shares = [("redeeming" if p == "merchant" else p, n) for p, n in c.funding.items()]
    else:
        shares = [(share.party, share.percent) for share in c.funding]
    for _, percent in shares:
        yield from _percent("funding", percent)
    if sum(basis_points(percent) or 0 for _, percent in shares) != 10_000:
        yield Problem("funding", "The percents must sum to 100.", "各方比例之和必须为 100。")
    if len({party for party, _ in shares}) < len(shares):
        yield Problem("funding", "A party is named twice.", "同一方出现了两次。")


def _rest(c: Campaign) -> Iterator[Problem]:
    yield from _percent("settlement.commission_percent", c.settlement.commission_percent)


def _social(c: Campaign) -> Iterator[Problem]:
    """Invitations and groups give out by themselves: nobody claims or orders past them."""
    if c.invite is not None and c.group is not None:
        yield Problem("group", "Either invite or group, not both.", "invite 与 group 只能二选一。")
    if (c.invite or c.group) and c.issue.channels is not None:
        yield Problem(
            "issue.channels",
            "Not with invite or group: they are the only way.",
            "设置了 invite 或 group 时不能再限定领取渠道。",
        )
    if c.group and c.issue.points_price:
        yield Problem("issue.points_price", "Not with group.", "不能与 group 同时使用。")
    if c.invite and (c.issue.price or c.issue.points_price):
        field = "issue.price" if c.issue.price else "issue.points_price"
        yield Problem(field, "What is given for invitations is free.", "邀请奖励必须免费。")


_LADDER: tuple[Callable[[Campaign], Iterator[Problem]], ...] = (
    _kind, _benefit, _issue, _validity, _event, _usage, _stacking, _funding, _rest, _social,
)  # fmt: skip


def check_campaign(c: Campaign) -> list[Problem]:
    """Every problem of a campaign, in the order of its fields; [] = it can be published."""
    return [problem for check in _LADDER for problem in check(c)]


_DEFAULTS = Settings()


def check_settings(s: Settings) -> list[Problem]:
    """Every problem of the settings; [] = they can be published."""
    unbuilt = ("retention_days",)
    problems = [_unbuilt(f) for f in unbuilt if getattr(s, f) != getattr(_DEFAULTS, f)]
    problems += _parking(s.parking) if s.parking else []
    problems += _points(s)
    problems += [
        Problem(f"jwt_keys.{kid}.key", "Must be a PEM public key.", "必须是 PEM 格式的公钥。")
        for kid, key in s.jwt_keys.items()
        if key.alg == "EdDSA" and not key.key.lstrip().startswith("-----BEGIN PUBLIC KEY-----")
    ]
    return problems


def _points(s: Settings) -> Iterator[Problem]:
    if s.points_max_percent is not None and basis_points(s.points_max_percent) is None:
        yield Problem("points_max_percent", *_EARNING["decimals"])
    for field, fault in faults(s.earn) if s.earn else []:
        yield Problem(f"earn.{field}", *_EARNING[fault])


_EARNING = {
    "decimals": ("At most two decimals.", "最多两位小数。"),
    "day": ("There is no such day.", "没有这一天。"),
    "order": ("Must not be before first.", "不得早于 first。"),
}


def _parking(s: ParkingSettings) -> Iterator[Problem]:
    gifts = [(f"parking.tiers.{tier}", one.minutes, one.amount) for tier, one in s.tiers.items()]
    gifts += [(f"parking.spend[{i}]", one.minutes, one.amount) for i, one in enumerate(s.spend)]
    for field, minutes, amount in gifts:
        if minutes is None and amount is None:
            yield Problem(field, "Needs minutes, or an amount.", "需要 minutes 或 amount。")
    mins = [one.min for one in s.spend]
    if any(b <= a for a, b in pairwise(mins)):
        yield Problem("parking.spend", "min must rise from row to row.", "min 必须逐行递增。")


def check_store(s: Store) -> list[Problem]:
    """Every problem of a store; [] = it can be published."""
    return list(_hours("hours", s.hours))


def checked(campaign: Any) -> Campaign:
    """A campaign from JSON (bytes, text or plain data), decoded and checked.

    InvalidDefinitionError names what is wrong; msgspec.DecodeError when it is no JSON at all.
    """
    try:
        if isinstance(campaign, bytes | str):
            decoded = msgspec.json.decode(campaign, type=Campaign)
        else:
            decoded = msgspec.convert(campaign, Campaign)
    except msgspec.ValidationError as error:
        raise InvalidDefinitionError([problem_of(error)]) from None
    if problems := check_campaign(decoded):
        raise InvalidDefinitionError(problems)
    return decoded
