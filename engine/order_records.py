"""Orders as they lie in Redis (MessagePack arrays; field order is the format; see records.py)."""

from __future__ import annotations

from enum import IntEnum

import msgspec

from engine.records import Act
from engine.records import RefundRecord as RefundRecord


class OrderState(IntEnum):
    """What an act did to an order last; one whose time has passed still reads PENDING here."""

    PENDING = 0
    PAID = 1
    CANCELLED = 2
    LAPSED = 3


class OrderItem(msgspec.Struct, array_like=True):
    """What an order sets aside of one campaign, at the price and terms of that moment."""

    campaign_id: str
    quantity: int
    price: int  # fen each
    points_price: int
    terms_revision: int
    validity: tuple[str, int, int, int, int]  # Issue.validity to Issue.minutes


class OrderRecord(msgspec.Struct, array_like=True):
    """Key ``q:<handle><serial>``: the record is the receipt."""

    state: int
    at: int
    until: int
    fingerprint: str
    user_id: str
    channel: str
    source: str  # JSON object or ""
    amount: int
    points: int
    counted: int  # when it was set aside, ``at`` unless it was paid late: which day it counts on
    offset: int  # the tenant's distance from UTC then, ms
    items: list[OrderItem]
    acts: list[Act]  # pay and cancel
    coupons: list[str]  # serials, once paid, in order of the items
    payment_ref: str = ""
    paid_at: int = 0
    refunds: list[RefundRecord] = []
    waits: int = 0  # 1: for its group to form; until then it is neither paid nor cancelled
    spare: list[str] | None = None  # of a waiting line's offer: see commands.Reserve


class OpenOrder(msgspec.Struct, array_like=True):
    """Field ``q`` of a wallet is a list of these: orders that are neither paid nor ended."""

    serial: str
    until: int
