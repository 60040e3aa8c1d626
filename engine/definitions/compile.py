"""Definitions as the scripts read them (``engine.records`` says the encodings)."""

from __future__ import annotations

from engine import records
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
    Settings,
    Store,
    StoredValue,
    valid_end,
)
from engine.definitions.checks import basis_points, minutes_of
from engine.definitions.earning import compile_earn
from engine.definitions.events import compile_event
from engine.definitions.times import parse_time


def _limit(limit: int | None) -> int:
    return -1 if limit is None else limit


def _ms(text: str | None) -> int:
    return 0 if text is None else parse_time(text)


def _least_spend(c: Campaign) -> int:
    """A first step (or ``every``) is a minimum too: so ``short_by`` names all that is missing."""
    if not isinstance(c.benefit, AmountOff):
        return 0
    return c.benefit.every or (c.benefit.steps[0].min if c.benefit.steps else 0)


BY_INVITATION, BY_GROUP = "by invitation", "by group"  # no caller's channel has a blank


def _channels(c: Campaign) -> list[str] | None:
    if c.invite is not None:
        return [BY_INVITATION]
    return [BY_GROUP] if c.group is not None else c.issue.channels


def compile_issue(c: Campaign, revision: int, cell: int = 0, cells: int = 1) -> records.Issue:
    """The rules of giving out in one cell of several; ``c`` has passed ``check_campaign``."""
    issue, validity = c.issue, c.validity
    if isinstance(validity, FixedValidity):
        kind, start, delay, minutes = "fixed", _ms(validity.start), 0, -1
    else:
        start = 0
        kind, delay, minutes = "relative", validity.delay_minutes, _limit(validity.minutes)
    return records.Issue(
        revision=revision,
        status=c.status,
        kind=c.kind,
        start=_ms(issue.start),
        end=_ms(issue.end),
        early=[(early.tiers, _ms(early.start)) for early in issue.early or []],
        per_user=_limit(issue.per_user),
        per_user_per_day=_limit(issue.per_user_per_day),
        per_user_per_week=_limit(issue.per_user_per_week),
        per_user_per_month=_limit(issue.per_user_per_month),
        channels=_channels(c),
        tiers=issue.tiers,
        audiences=issue.audiences,
        validity=kind,
        valid_start=start,
        valid_end=_ms(valid_end(c)),
        delay_minutes=delay,
        minutes=minutes,
        per_minute=_limit(issue.per_minute),
        per_day=_limit(issue.per_day),
        cell=cell,
        cells=cells,
        price=issue.price,
        points_price=issue.points_price,
        pool=int(c.stock.pool),
        event=c.event.id if c.event else "",
        quotas=[quota.id for quota in c.event.quotas or []] or None if c.event else None,
    )


def compile_terms(c: Campaign) -> records.Terms:
    """What a coupon issued under these terms may do; ``c`` has passed ``check_campaign``."""
    benefit, usage, stacking = c.benefit, c.usage, c.stacking
    include, exclude = usage.include or Scope(), usage.exclude or Scope()
    terms = records.Terms(
        kind=c.kind,
        benefit=str(benefit.__struct_config__.tag),
        amount=-1,
        steps=[],
        every=0,
        max_amount=-1,
        basis_points=0,
        sku="",
        item="",
        value=0,
        min_spend=max(usage.min_spend, _least_spend(c)),
        min_spend_running=usage.min_spend_base == "running",
        min_quantity=usage.min_quantity or 0,
        stores=usage.stores,
        channels=usage.channels,
        weekdays=usage.weekdays,
        hours=None
        if usage.hours is None
        else [(minutes_of(start), minutes_of(end)) for start, end in usage.hours],
        include_categories=include.categories,
        include_skus=include.skus,
        exclude_categories=exclude.categories,
        exclude_skus=exclude.skus,
        stacking=stacking.class_,
        group=stacking.group or "",
        group_limit=_limit(stacking.group_limit),
        per_redemption=_limit(stacking.per_redemption),
        order=stacking.order,
        base_initial=stacking.base == "initial",
        uses=usage.uses,
        per_day=_limit(usage.per_day),
        per_store_per_day=_limit(usage.per_store_per_day),
        refundable=c.refund.allowed,
        event=None if c.event is None else compile_event(c.event),
        transferable=c.transferable,
        refund_expired=c.refund.expired_auto,
    )
    match benefit:
        case AmountOff():
            terms.amount = _limit(benefit.amount)
            terms.steps = [(step.min, step.amount) for step in benefit.steps or []]
            terms.every = benefit.every or 0
            terms.max_amount = _limit(benefit.max_amount)
        case PercentOff():
            terms.basis_points = basis_points(benefit.percent_off) or 0
            terms.max_amount = _limit(benefit.max_amount)
        case FixedPrice():
            terms.amount = benefit.amount
        case Gift():
            terms.sku, terms.amount = benefit.sku, _limit(benefit.amount)
        case ParkingMinutes():
            terms.amount = benefit.minutes
        case ParkingFree():
            terms.amount = terms.max_amount = _limit(benefit.max_amount)
        case Exchange():
            terms.item, terms.value = benefit.item, benefit.value
        case Admission():
            terms.value = benefit.value
        case StoredValue():
            terms.amount = benefit.amount
        case _:
            raise ValueError(f"{terms.benefit} is not built in this version")
    return terms


def compile_store(s: Store, version: int) -> records.StoreRecord:
    """A store as the cells keep it."""
    return records.StoreRecord(version, s.merchant_id, int(s.closed))


def compile_settings(s: Settings, version: int) -> records.SettingsRecord:
    """What the scripts need of the settings."""
    percent = s.points_max_percent
    return records.SettingsRecord(
        version=version,
        payable_floor=s.payable_floor,
        max_hold_seconds=s.max_hold_seconds,
        points_per_yuan=s.points_per_yuan,
        points_max_per_redemption=_limit(s.points_max_per_redemption),
        points_max_basis_points=-1 if percent is None else basis_points(percent) or 0,
        earn=compile_earn(s.earn) if s.earn else None,
    )
