"""Gifts as they lie in Redis (MessagePack arrays; field order is the format; see records.py)."""

from __future__ import annotations

from enum import IntEnum

import msgspec


class GiftState(IntEnum):
    """What an act did to a gift last; one whose time has passed still reads OPEN here."""

    OPEN = 0
    ACCEPTED = 1
    TAKEN_BACK = 2
    DECLINED = 3
    LAPSED = 4
    WITHDRAWN = 5  # with its coupon, which was voided


class GiftRecord(msgspec.Struct, array_like=True):
    """Key ``i:<handle><serial>``: the record is the receipt."""

    state: int
    at: int
    until: int
    fingerprint: str
    user_id: str  # who gives
    coupon: str  # serial
    went_to: str = ""  # id of the coupon that it went on as
    ended: int = 0


class Take(msgspec.Struct, array_like=True):
    """Field ``t`` of a wallet is a list of these: coupons asked for that are not there yet.

    Each counts among what the person may have; nothing else is known of it until its giver's cell
    has said who gets it.
    """

    serial: str  # the coupon that it will be
    source: str  # id of the coupon that it was
    gift: str  # serial of the gift, "" of a printed coupon
    campaign_id: str
    at: int  # when it was asked for: the day it counts on
    offset: int  # the tenant's distance from UTC then, ms
    fingerprint: str
    who: str  # JSON, for the facts
