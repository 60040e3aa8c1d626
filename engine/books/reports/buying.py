"""Purchases as the mall's payment platform reported them, beside redemptions: is it the same visit?

A purchase belongs to a redemption of the same person when its receipt or transaction is the
redemption's ``order_ref``, or when it is of the same store, of exactly what was left to pay, and
within an hour of it.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, FromClause, and_, exists, or_

from engine.books.schema import purchases, redemptions

HOUR_MS = 3_600_000
MONTH_MS = 30 * 24 * HOUR_MS
NET = purchases.c.amount - purchases.c.refunded


def _payment_of(bought: Any, used: Any) -> ColumnElement[bool]:
    """Whether a purchase paid for what a redemption took off; of the same person."""
    named = and_(
        used.order_ref != "",
        or_(bought.receipt_no == used.order_ref, bought.transaction_id == used.order_ref),
    )
    alike = and_(
        bought.store_id == used.store_id,
        bought.amount == used.payable,
        bought.occurred_ms.between(used.at_ms - HOUR_MS, used.at_ms + HOUR_MS),
    )
    return or_(named, alike)


def without_coupons() -> ColumnElement[bool]:
    """Of rows of ``purchases``: money stayed paid, and no redemption belongs to them."""
    used = redemptions.alias("with_coupons").c
    belongs = exists().where(
        used.tenant == purchases.c.tenant,
        used.user_id == purchases.c.user_id,
        used.state.in_(("redeemed", "reversed")),
        _payment_of(purchases.c, used),
    )
    return and_(NET > 0, ~belongs)


def bought_again(used: FromClause, merchant_id: str | None = None) -> ColumnElement[bool]:
    """Of rows of ``used`` (redemptions): the same person came back within 30 days and bought.

    Came back: a purchase that is not the redemption's own, or another redemption with a basket
    and not of the same order. ``merchant_id``: only at this merchant's.
    """
    after = redemptions.alias("later_redemptions")
    came = later_redemptions(used, after)
    if merchant_id:
        came.append(after.c.merchant_id == merchant_id)
    return or_(exists().where(*_later_purchases(used, merchant_id)), exists().where(*came))


def _later_purchases(used: Any, merchant_id: str | None) -> list[ColumnElement[bool]]:
    """Purchases within 30 days after a redemption that are not its own payment."""
    after = purchases.alias("later_purchases").c
    conditions = [
        after.tenant == used.c.tenant,
        after.user_id == used.c.user_id,
        after.occurred_ms > used.c.at_ms,
        after.occurred_ms <= used.c.at_ms + MONTH_MS,
        after.amount > after.refunded,
        ~_payment_of(after, used.c),
    ]
    return [*conditions, after.merchant_id == merchant_id] if merchant_id else conditions


def later_redemptions(used: Any, after: Any) -> list[ColumnElement[bool]]:
    """Rows of ``after`` (redemptions) with a basket, within 30 days after one of ``used``."""
    return [
        after.c.tenant == used.c.tenant,
        after.c.user_id == used.c.user_id,
        after.c.id != used.c.id,
        after.c.state == "redeemed",
        after.c.amount > 0,
        after.c.lot_id == "",  # a parking fee is no purchase
        after.c.at_ms > used.c.at_ms,
        after.c.at_ms <= used.c.at_ms + MONTH_MS,
        or_(after.c.order_ref == "", after.c.order_ref != used.c.order_ref),
    ]
