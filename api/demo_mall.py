"""What the demo mall is made of: plain data, one campaign of every kind that works."""

from __future__ import annotations

from typing import Any

from engine.definitions import format_time

DAY_MS = 86_400_000

# A coupon of this campaign is claimed by this user and redeemed in this store.
TRY = {"campaign": "welcome-10", "user": "ann", "store": "noodle-b1"}

MERCHANTS = {
    "noodle": {"zh-CN": "老面馆", "en": "Old Noodle House"},
    "coffee": {"zh-CN": "山谷咖啡", "en": "Valley Coffee"},
    "fashion": {"zh-CN": "衣橱", "en": "The Wardrobe"},
    "cinema": {"zh-CN": "星光影城", "en": "Starlight Cinema"},
    "parkwell": {"zh-CN": "泊安停车", "en": "Parkwell"},
}


def _store(merchant: str, floor: str, zh: str, en: str, hours: list[list[str]]) -> dict[str, Any]:
    # All under one roof in Shanghai; the noodle house is at its north end.
    place = {"lat": 31.2304 if merchant == "noodle" else 31.2291, "lng": 121.4737}
    name = {"zh-CN": zh, "en": en}
    return {"name": name, "merchant_id": merchant, "floor": floor, "hours": hours, **place}


_DAY, _LONG = [["10:00", "22:00"]], [["09:00", "02:00"]]
STORES = {
    "noodle-b1": _store("noodle", "B1", "老面馆 B1 店", "Old Noodle House, B1", _DAY),
    "noodle-l5": _store("noodle", "L5", "老面馆 L5 店", "Old Noodle House, L5", _DAY),
    "coffee-l1": _store("coffee", "L1", "山谷咖啡 大堂店", "Valley Coffee, lobby", _DAY),
    "coffee-l3": _store("coffee", "L3", "山谷咖啡 L3 店", "Valley Coffee, L3", _DAY),
    "fashion-l2": _store("fashion", "L2", "衣橱 女装", "The Wardrobe, women", _DAY),
    "fashion-l4": _store("fashion", "L4", "衣橱 男装", "The Wardrobe, men", _DAY),
    "cinema-l6": _store("cinema", "L6", "星光影城", "Starlight Cinema", _LONG),
    "cinema-bar": _store("cinema", "L6", "星光小食", "Starlight Snacks", _LONG),
}

# Tiers are told by the mall's membership system; here by hand.
USERS = {
    "ann": {"tier": "gold"},
    "bob": {"tier": "silver"},
}
AUDIENCE = ("vip-lunch", ["ann"])

# A yuan earns a point, gold members half as much again, everybody twice as much on Tuesdays.
EARN = {
    "per_yuan": 1,
    "tiers": {"gold": 1.5},
    "days": [{"factor": 2, "weekdays": [2]}],
    "max_per_day": 5000,
    "expires_days": 365,
}
PURCHASE = {"transaction_id": "demo-1", "user_id": "ann", "store_id": "noodle-b1", "amount": 23850}
POINTS = {"user_id": "bob", "points": 200, "reason": "welcome"}

# Given by the office, as a job.
GRANT = {
    "campaign_id": "latte-990",
    "user_ids": ["ann", "bob"],
    "channel": "office",
    "source": {"entry": "birthday"},
}

# Bought: one order is paid, and its coupon waits in the wallet.
ORDER = {"user_id": "bob", "items": [{"campaign_id": "noodle-set"}], "channel": "miniapp"}
PAID = {"payment_ref": "demo-payment", "paid_amount": 5800}

# One table, and two who want it: the first has it for a quarter of an hour, the second waits.
WAITERS = ("chef-table", ["ann", "bob"])

# Codes of a video service: each coupon of this campaign carries one.
POOL = ("video-month", "".join(f"VIDEO-{n:04}\n" for n in range(1, 201)).encode())

# Bob offers an ice cream to whoever takes it; the cinema's popcorn coupons lie on its counter.
GIFT = {"campaign_id": "icecream", "user_id": "bob", "channel": "miniapp"}
PRINTS = ("popcorn-gift", {"count": 24})

# A car park: 15 minutes free, the first hour 5 yuan, then 3 each half hour, 40 a day at most.
LOTS = {
    "p1": {
        "name": {"zh-CN": "地下停车场", "en": "Car park under the mall"},
        "merchant_id": "parkwell",
        "tariff": {
            "free_minutes": 15, "first": {"minutes": 60, "fee": 500},
            "unit_minutes": 30, "unit_fee": 300, "cap_per_day": 4000,
        },
        "grace_minutes": 15,
    },
}  # fmt: skip
VEHICLES = {"沪AD12345": ["ann", "bob"]}  # a family shares it; a new-energy plate
PARKING = {
    "tiers": {"gold": {"minutes": 60, "per_day": 1}},
    "spend": [{"min": 20000, "minutes": 60}, {"min": 50000, "minutes": 180}],
    "validations_per_day": 200,
}

KEYS = {
    "storefront": {"role": "storefront", "label": "demo mini-program"},
    "terminal": {"role": "terminal", "label": "demo till", "store_id": TRY["store"]},
    "finance": {"role": "finance", "label": "demo finance"},
    "parking": {"role": "parking", "label": "demo car park", "lot_id": "p1"},
    "gate": {"role": "gate", "label": "demo gate", "event_id": "premiere", "store_id": "cinema-l6"},
}

_MONTH = {"type": "relative", "minutes": 30 * 1440}
_MALL_ONLY = {"mall": 100}
_NOODLES = ["noodle-b1", "noodle-l5"]
_COFFEES = ["coffee-l1", "coffee-l3"]
_CLOTHES = ["fashion-l2", "fashion-l4"]


def _campaign(
    campaign_id: str,
    zh: str,
    en: str,
    category: str,
    benefit: dict[str, Any],
    total: int | None = 1000,
    **more: Any,
) -> dict[str, Any]:
    plain = {
        "id": campaign_id,
        "name": {"zh-CN": zh, "en": en},
        "kind": "coupon",
        "category": category,
        "benefit": benefit,
        "stock": {"total": total},
        "validity": _MONTH,
    }
    return plain | more


def _fair(seats: dict[str, int]) -> dict[str, Any]:
    """An evening at the fair, ten days from now; its hall holds both kinds of tickets."""
    quotas = [{"id": name, "total": total} for name, total in {"hall": 120, **seats}.items()]
    return {"id": "fair-1", "starts_at": 10, "ends_at": 10.25, "entry_from": 9.9, "reentry": True,
            "quotas": quotas}  # fmt: skip


_TICKET: dict[str, Any] = {"kind": "ticket", "validity": {"type": "relative"}}

CAMPAIGNS = [
    _campaign(
        "welcome-10", "新客立减10元", "10 off your first visit", "mall",
        {"type": "amount_off", "amount": 1000}, total=100_000,
        validity={"type": "relative", "minutes": 365 * 1440},
        usage={"min_spend": 5000}, funding=_MALL_ONLY,
    ),
    _campaign(
        "noodle-20", "面馆满100减20", "20 off 100 at the noodle house", "dining",
        {"type": "amount_off", "amount": 2000},
        issue={"per_user": 2, "per_user_per_day": 1},
        usage={"min_spend": 10000, "stores": _NOODLES,
               "exclude": {"categories": None, "skus": ["gift-card"]}},
        stacking={"group": "dining", "group_limit": 1}, funding={"mall": 50, "merchant": 50},
    ),
    _campaign(
        "fashion-steps", "服饰满300减40,满600减100", "40 off 300, 100 off 600", "fashion",
        {"type": "amount_off",
         "steps": [{"min": 30000, "amount": 4000}, {"min": 60000, "amount": 10000}]},
        usage={"stores": _CLOTHES}, funding={"mall": 30, "merchant": 70},
    ),
    _campaign(
        "every-100", "每满100减15,最高45", "15 off every 100, up to 45", "mall",
        {"type": "amount_off", "every": 10000, "amount": 1500, "max_amount": 4500},
        issue={"per_user": 1}, funding=_MALL_ONLY,
    ),
    _campaign(
        "coffee-12", "咖啡8.8折,最高优惠30元", "12 % off coffee, up to 30", "dining",
        {"type": "percent_off", "percent_off": 12, "max_amount": 3000},
        usage={"stores": _COFFEES}, issue={"per_user_per_week": 3},
        funding=[{"party": "mall", "percent": 40}, {"party": "merchant:coffee", "percent": 60}],
    ),
    _campaign(
        "latte-990", "9.9元拿铁", "A latte for 9.90", "dining",
        {"type": "fixed_price", "amount": 990},
        usage={"stores": _COFFEES, "include": {"skus": ["latte"], "categories": None},
               "min_quantity": 1},
        issue={"per_user_per_month": 4}, funding={"merchant": 100},
    ),
    _campaign(
        "popcorn-gift", "送小份爆米花", "A small popcorn free", "leisure",
        {"type": "gift", "sku": "popcorn-s", "amount": 2500},
        usage={"stores": ["cinema-bar"]},
        funding=[{"party": "sponsor:cola", "percent": 50}, {"party": "redeeming", "percent": 50}],
    ),
    _campaign(
        "icecream", "冰淇淋兑换券", "One ice cream", "dining",
        {"type": "exchange", "item": "ice-cream", "value": 1200}, total=200,
        usage={"stores": _COFFEES}, issue={"per_user": 1}, transferable=True,
    ),
    _campaign(
        "coffee-pass", "咖啡次卡:10次,每次减8元", "Ten coffees, 8 off each", "dining",
        {"type": "amount_off", "amount": 800}, total=500, kind="pass",
        usage={"stores": _COFFEES, "uses": 10}, issue={"per_user": 1},
    ),
    _campaign(
        "video-month", "视频会员月卡", "A month of video", "leisure",
        {"type": "exchange", "item": "video-month", "value": 2500}, total=200,
        issue={"per_user": 1},
    ),
    _campaign(
        "friend-cake", "邀请好友,各得一块蛋糕", "Invite a friend: cake for both of you", "dining",
        {"type": "exchange", "item": "cake", "value": 1800},
        usage={"stores": _COFFEES}, invite={"condition": "registered", "needs": 1},
    ),
    _campaign(
        "tea-for-three", "三人拼团:免费奶茶", "Three together: tea for each", "dining",
        {"type": "exchange", "item": "tea", "value": 1500},
        usage={"stores": _COFFEES}, group={"size": 3, "minutes": 1440},
    ),
    _campaign(
        "noodle-set", "面馆双人餐,58元购", "A meal for two, bought for 58", "dining",
        {"type": "exchange", "item": "set-for-two", "value": 8800}, total=500,
        issue={"price": 5800, "per_user": 5}, usage={"stores": _NOODLES},
        settlement={"commission_percent": 5}, refund={"allowed": True, "expired_auto": True},
    ),
    _campaign(
        "chef-table", "主厨餐桌,两人一席", "The chef's table, for two", "dining",
        {"type": "exchange", "item": "chef-table", "value": 20000}, total=1,
        issue={"per_user": 1}, usage={"stores": _NOODLES},
    ),
    _campaign(
        "mall-card", "商场储值卡100元", "A card of 100 to pay with", "mall",
        {"type": "stored_value", "amount": 10000}, total=200, kind="stored_value",
        issue={"per_user": 1}, funding=_MALL_ONLY,
        validity={"type": "relative", "minutes": 365 * 1440},
    ),
    _campaign(
        "lounge", "会员休息室单次入场", "One visit to the members' lounge", "leisure",
        {"type": "admission", "value": 3000}, total=300, issue={"per_user_per_month": 2},
    ),
    _campaign(
        "premiere-seat", "首映礼门票", "A seat at the premiere", "leisure",
        {"type": "admission", "value": 8000}, total=300, kind="ticket",
        event={"id": "premiere", "starts_at": 7, "ends_at": 8, "reentry": True},
        issue={"per_user": 2},
    ),
    _campaign(
        "fair-adult", "新春市集门票,50元", "The fair: a ticket for 50", "leisure",
        {"type": "admission", "value": 5000}, total=None, **_TICKET,
        issue={"price": 5000, "per_user": 6}, event=_fair({"adults": 100}),
    ),
    _campaign(
        "fair-child", "新春市集儿童票", "The fair: a child's ticket", "leisure",
        {"type": "admission"}, total=40, **_TICKET, issue={"per_user": 4}, event=_fair({}),
    ),
    _campaign(
        "anniversary", "周年庆满500减120(不可叠加)", "120 off 500, alone", "mall",
        {"type": "amount_off", "amount": 12000}, total=300,
        usage={"min_spend": 50000}, stacking={"class": "exclusive"}, issue={"per_user": 1},
        funding={"mall": 60, "merchant": 40},
    ),
    _campaign(
        "early-gold", "金卡提前领:满200减50", "50 off 200, gold members first", "mall",
        {"type": "amount_off", "amount": 5000}, total=500,
        issue={"start": 7, "early": [{"tiers": ["gold"], "start": -1}], "per_user": 1},
        usage={"min_spend": 20000},
    ),
    _campaign(
        "vip-lunch", "贵宾午餐8折", "20 % off lunch, by invitation", "dining",
        {"type": "percent_off", "percent_off": 20, "max_amount": 8000}, total=None,
        issue={"audiences": ["vip-lunch"], "per_user_per_day": 1},
        usage={"stores": [*_NOODLES, *_COFFEES], "hours": [["11:00", "14:00"]]},
    ),
    _campaign(
        "late-show", "工作日夜场立减15", "15 off the late show on weekdays", "leisure",
        {"type": "amount_off", "amount": 1500},
        usage={"stores": ["cinema-l6"], "weekdays": [1, 2, 3, 4, 5],
               "hours": [["21:00", "02:00"]], "min_spend": 4000},
        stacking={"class": "always"},
    ),
    _campaign(
        "park-2h", "停车2小时", "Two hours of parking", "parking",
        {"type": "parking_minutes", "minutes": 120}, kind="parking",
        issue={"per_user_per_week": 2}, funding=_MALL_ONLY,
    ),
    _campaign(
        "park-free", "全免停车一次,最高40元", "One stay free, up to 40", "parking",
        {"type": "parking_free", "max_amount": 4000}, total=200, kind="parking",
        issue={"per_user": 1, "tiers": ["gold"]}, funding=_MALL_ONLY,
    ),
    _campaign(
        "noodle-park", "面馆送1小时停车", "An hour of parking from the noodle house", "parking",
        {"type": "parking_minutes", "minutes": 60}, kind="parking",
        issue={"channels": []},  # only the shop gives it: POST /v1/parking/validations
        funding=[{"party": "merchant:noodle", "percent": 100}],
    ),
    _campaign(
        "flash-3", "秒杀:仅3张", "Flash sale: three of them", "mall",
        {"type": "amount_off", "amount": 3000}, total=3,
        issue={"per_user": 1}, usage={"min_spend": 3001}, tags=["hot"],
    ),
    _campaign(
        "next-season", "下季活动(草稿)", "Next season, still a draft", "fashion",
        {"type": "percent_off", "percent_off": 10, "max_amount": 20000},
        usage={"stores": _CLOTHES}, status="draft",
    ),
]  # fmt: skip


_TIMES = ("start", "starts_at", "ends_at", "entry_from")


def dated(campaigns: list[dict[str, Any]], now: int) -> list[dict[str, Any]]:
    """The campaigns with times for days: ``start: 7`` is a week from ``now`` (ms)."""
    return [_dated(campaign, now) for campaign in campaigns]


def _dated(value: Any, now: int) -> Any:
    if isinstance(value, list):
        return [_dated(inner, now) for inner in value]
    if not isinstance(value, dict):
        return value
    return {
        name: format_time(now + int(inner * DAY_MS))
        if name in _TIMES and isinstance(inner, int | float)
        else _dated(inner, now)
        for name, inner in value.items()
    }
