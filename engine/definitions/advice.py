"""What to tell an operator who is about to create a campaign: what looks odd."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from engine.definitions.bodies import AmountOff, Campaign, FixedValidity, Share, valid_end
from engine.definitions.exposure import most_off
from engine.definitions.times import parse_time


class Advice(NamedTuple):
    """One warning, in English and Chinese."""

    en: str
    zh: str

    def text(self, language: str = "en") -> str:
        """The sentence in ``en`` or ``zh-CN``."""
        return self.zh if language.lower().startswith("zh") else self.en


def rate_advice(campaign: Campaign, cells: int) -> list[Advice]:
    """That a rate is split over the cells; [] where that makes no difference."""
    rates = (campaign.issue.per_minute, campaign.issue.per_day)
    if cells == 1 or rates == (None, None):
        return []
    return [
        Advice(
            f"The limits a minute and a day are split over {cells} cells, the remainder going"
            " round: together never more, but a cell may reach its part before the others.",
            f"每分钟与每日限量会分配到 {cells} 个分区,余数轮流:"
            "总数不会超出,但某一分区可能先达到上限。",
        )
    ]


def split_advice(cells: int, budgets: Sequence[int]) -> list[Advice]:
    """That a budget does not move between cells in this version; [] where it is the same."""
    if cells == 1 or not budgets:
        return []
    shares = ", ".join(f"{share / 100:.2f}" for share in budgets)
    return [
        Advice(
            f"The budget is split over {cells} cells ({shares}) and not moved between them in this"
            " version: it can be used up for one member while another cell still has some.",
            f"预算分配到 {cells} 个分区({shares}),当前版本分区之间不会调拨:"
            "某一分区用完时,其他分区可能仍有剩余。",
        )
    ]


def advice(
    campaign: Campaign,
    cells: int,
    now: int,
    missing: Iterable[str],
    *,
    closed: Iterable[str] = (),
    exposure: int | None = 0,
) -> list[Advice]:
    """All warnings; ``now`` ms; ``missing``: stores, merchants, audiences named that do not exist.

    ``closed``: stores named that are closed; ``exposure``: the most it can cost (fen, None = no
    bound).
    """
    return [
        *_cost(campaign, exposure),
        *_dates(campaign, now),
        *_reach(campaign),
        *(
            Advice(f"{ident} is named, but there is no such thing yet.", f"{ident} 尚未创建。")
            for ident in missing
        ),
        *(Advice(f"store:{ident} is closed.", f"门店 {ident} 已停业。") for ident in closed),
        *split_advice(
            cells,
            [] if campaign.stock.budget is None else _even(campaign.stock.budget, cells),
        ),
        *rate_advice(campaign, cells),
    ]


def _even(amount: int, parts: int) -> list[int]:
    return [amount // parts + (n < amount % parts) for n in range(parts)]


def _cost(c: Campaign, exposure: int | None) -> Iterator[Advice]:
    if exposure is None:
        yield Advice(
            "Nothing bounds what it can cost; a stock.budget would.",
            "总成本没有上限;可设置 stock.budget 加以限制。",
        )
    if c.stock.total is None and not (c.event and c.event.quotas):
        yield Advice("Stock is unlimited.", "库存不限量。")
    each = most_off(c)
    if each is None:
        yield Advice("Nothing limits what one coupon takes off.", "单张券的优惠金额没有上限。")
    elif _plain_amount(c) and c.usage.min_spend <= each:
        yield Advice(
            "min_spend is not above the amount: a basket may cost nothing.",
            "最低消费不高于优惠金额,顾客可能无需付款。",
        )
    total, budget = c.stock.total, c.stock.budget
    if each and total is not None and budget is not None and budget < total * each * c.usage.uses:
        yield Advice(
            f"The budget is enough for {budget // each} uses at their most; others will be refused"
            " once it is spent, though their coupons were given out.",
            f"预算按最高优惠仅够 {budget // each} 次使用;用完后,已发放的券也会被拒绝。",
        )
    if c.issue.per_user is None:
        yield Advice("One member may claim as many as there are.", "未设置每人限领数量。")


def _plain_amount(c: Campaign) -> bool:
    return isinstance(c.benefit, AmountOff) and not c.benefit.steps and not c.benefit.every


def _dates(c: Campaign, now: int) -> Iterator[Advice]:
    if c.status == "draft":
        yield Advice(
            "A draft: nobody can claim it until its status is active.",
            "草稿状态:改为 active 后才能领取。",
        )
    if c.issue.end is not None and parse_time(c.issue.end) <= now:
        yield Advice("Claiming has ended already (issue.end).", "领取时间已结束(issue.end)。")
    validity, end = c.validity, valid_end(c)
    if end is not None:
        if parse_time(end) <= now:
            yield Advice("Its coupons are expired already.", "券的有效期已过。")
        elif c.issue.end is not None and parse_time(c.issue.end) > parse_time(end):
            yield Advice(
                "Claiming goes on until issue.end in name only: the coupons expire before it.",
                "券在 issue.end 之前就已全部过期,领取会随之结束。",
            )
    elif isinstance(validity, FixedValidity) or validity.minutes is None:
        yield Advice("Its coupons never expire.", "券永不过期。")


def _reach(c: Campaign) -> Iterator[Advice]:
    lists = {
        "issue.channels": c.issue.channels,
        "issue.tiers": c.issue.tiers,
        "issue.audiences": c.issue.audiences,
        "usage.stores": c.usage.stores,
        "usage.channels": c.usage.channels,
        "usage.weekdays": c.usage.weekdays,
        "usage.hours": c.usage.hours,
    }
    for name, value in lists.items():
        if value == []:
            yield Advice(f"{name} is empty, which means none.", f"{name} 为空列表,表示全部不可用。")


def named_stores(campaign: Campaign) -> list[str]:
    """Stores that the campaign names."""
    return list(campaign.usage.stores or [])


def named_audiences(campaign: Campaign) -> list[str]:
    """Audiences that the campaign is for."""
    return list(campaign.issue.audiences or [])


def named_merchants(campaign: Campaign) -> list[str]:
    """Merchants that its funding names."""
    funding = campaign.funding
    parties = [s.party if isinstance(s, Share) else s for s in funding]
    return [party.partition(":")[2] for party in parties if party.startswith("merchant:")]
