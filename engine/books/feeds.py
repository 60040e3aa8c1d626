"""Looking acts up in the books: a coupon's history, redemptions by order, store, coupon …"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import Row, Select, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from engine import keys
from engine.books import ledger
from engine.books.claim_runs import told_at
from engine.books.fact_body import InWords, in_words, words_of
from engine.books.projections import place_of
from engine.books.schema import (
    NO_CLAIM,
    campaign_terms,
    cells,
    checkins,
    coupons,
    facts,
    redemption_coupons,
    redemptions,
    reversals,
    tenants,
)
from engine.errors import InvalidRequest
from engine.outcomes import Outcome
from engine.records import (
    AppliedCoupon,
    Deduction,
    Line,
    LineShare,
    RedemptionRecord,
    RedemptionState,
    ReversalRecord,
    SkippedCoupon,
    Tender,
    TenderKind,
)
from engine.views import Redemption

if TYPE_CHECKING:
    from engine.books.db import Books

_TENDERS = (ledger.STORED_VALUE, ledger.POINTS)
_OTHERS = (*_TENDERS, *ledger.OWN)
ENDED = {2: "taken_back", 3: "declined", 4: "expired", 5: "withdrawn"}  # gift_records.GiftState
_GIVEN_BACK, _NOT_GIVEN_BACK = 1, 2  # AppliedCoupon.returned
_STATES = {
    "held": RedemptionState.HELD,
    "redeemed": RedemptionState.REDEEMED,
    "released": RedemptionState.RELEASED,
    "reversed": RedemptionState.REVERSED,
}


async def complete_until(books: Books, tenant: str) -> int | None:
    """The books hold every act before this moment (ms); None while no one knows."""
    wanted = select(tenants.c.cells).where(tenants.c.id == tenant).scalar_subquery()
    query = select(func.count(), func.min(cells.c.complete_ms), wanted).where(
        cells.c.tenant == tenant
    )
    async with books.connect() as conn:
        count, complete, all_cells = (await conn.execute(query)).one()
    return complete or None if count == all_cells else None


# ---- a coupon's history ----------------------------------------------------------------------


@dataclass(slots=True, frozen=True)
class CouponAct:
    """One act on a coupon; ``at`` and ``until`` in ms, what does not apply is empty or None."""

    # claimed, held, committed, redeemed, released, reversed, voided, refunded, refund_failed,
    # gifted, gift_ended, given, received, checkin
    type: str
    at: int
    act: str  # id of the coupon, redemption or reversal
    who: dict[str, Any]  # key, label, role, and actor, staff, terminal, request where known
    store_id: str = ""
    order_ref: str = ""
    channel: str = ""
    discount: int | None = None  # fen; of a reversal what went back
    tendered: int | None = None  # fen of a stored value that it paid, or that went back to it
    reason: str = ""
    returned: bool | None = None  # a reversal gave the coupon back
    until: int = 0  # of a hold or gift
    given_to: str = ""  # id of the coupon that stands for it from then on
    came_from: str = ""  # id of the coupon that it was
    gate: str = ""  # and what follows: of a check-in
    direction: str = ""
    code: str = ""  # why it was refused


async def coupon_history(
    books: Books, tenant: str, coupon_id: str
) -> tuple[list[CouponAct], int | None]:
    """Every act on the coupon, oldest first, and until when that is complete (ms or None)."""
    complete = await complete_until(books, tenant)
    # One by one: databases read all facts rather than combine an index with subqueries.
    async with books.connect() as conn:
        used = (
            await conn.scalars(
                select(redemption_coupons.c.redemption_id).where(
                    redemption_coupons.c.tenant == tenant,
                    redemption_coupons.c.coupon_id == coupon_id,
                )
            )
        ).all()
        undone = (
            await conn.scalars(
                select(reversals.c.id).where(
                    reversals.c.tenant == tenant, reversals.c.redemption_id.in_(used)
                )
            )
        ).all()
        shown = (
            await conn.scalars(
                select(checkins.c.id).where(
                    checkins.c.tenant == tenant, checkins.c.coupon_id == coupon_id
                )
            )
        ).all()
        claim = await _claim(conn, tenant, coupon_id)
        acts = [coupon_id, *used, *undone, *shown]
        query = _told(tenant).where(facts.c.act.in_(acts), NO_CLAIM)
        rows = await conn.execute(query.order_by(facts.c.epoch, facts.c.seq))
        later = [words_of(row) for row in rows]
    told = (_coupon_act(fact, coupon_id) for fact in (*claim, *later))
    return [act for act in told if act is not None], complete


async def _claim(conn: AsyncConnection, tenant: str, coupon_id: str) -> list[InWords]:
    """The fact that the coupon was claimed by; none where it was given, or is unknown."""
    query = select(coupons.c.cell, coupons.c.born).where(
        coupons.c.tenant == tenant, coupons.c.id == coupon_id
    )
    made = (await conn.execute(query)).first()
    if made is None:
        return []
    place = place_of(made.born)
    in_run = await told_at(conn, tenant, made.cell, place)
    if in_run is not None:
        return [in_words(in_run)]
    here = (facts.c.cell == made.cell, facts.c.epoch == place.epoch, facts.c.seq == place.seq)
    rows = await conn.execute(_told(tenant).where(*here, facts.c.type == "claimed"))
    return [words_of(row) for row in rows]


def _told(tenant: str) -> Select[Any]:
    return select(facts.c.type, facts.c.act, facts.c.at_ms, facts.c.body).where(
        facts.c.tenant == tenant
    )


def _coupon_act(row: InWords, coupon_id: str) -> CouponAct | None:
    body = row.body
    who = _who(body.get("who") or "")
    if row.type in ("redeemed", "held", "committed"):
        parts = [*body["coupons"], *body.get("tenders", ())]
        (used,) = (c for c in parts if c["coupon_id"] == coupon_id)
        return CouponAct(
            row.type,
            row.at_ms,
            row.act,
            who,
            store_id=body["store_id"],
            order_ref=body["order_ref"],
            channel=body["channel"],
            discount=used.get("discount"),
            tendered=used.get("amount"),
            until=body.get("until", 0),
        )
    if row.type == "reversed":
        paid = [t for t in body.get("tenders", ()) if t["coupon_id"] == coupon_id]
        named = [c for c in body["coupons"] if c["coupon_id"] == coupon_id]
        if not named and not paid:
            return None  # other goods of the same basket came back
        return CouponAct(
            row.type,
            row.at_ms,
            row.act,
            who,
            store_id=body["store_id"],
            order_ref=body["order_ref"],
            discount=named[0]["discount_before"] - named[0]["discount_after"] if named else None,
            tendered=paid[0]["amount_before"] - paid[0]["amount_after"] if paid else None,
            reason=body["reason"],
            returned=bool(named[0]["returned"]) if named else None,
        )
    if row.type == "checked":
        return CouponAct(
            "checkin",
            row.at_ms,
            row.act,
            who,
            gate=body["gate"],
            direction="out" if body["out"] else "in",
            code=Outcome(body["outcome"]).code if body["outcome"] else "",
        )
    if row.type == "claimed":
        return CouponAct(row.type, row.at_ms, row.act, who, channel=body["channel"])
    more = {"reason": body.get("reason", "")}
    if row.type in ("gifted", "given", "received"):
        more |= {"given_to": body.get("to_coupon", ""), "came_from": body.get("came_from", "")}
        more |= {"channel": body.get("channel", ""), "until": body.get("until", 0)}
    elif row.type == "gift_ended":
        more["reason"] = ENDED[body["how"]]
    return CouponAct(row.type, row.at_ms, row.act, who, **more)


def _who(text: str) -> dict[str, Any]:
    try:
        who = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return {}
    return who if isinstance(who, dict) else {}


# ---- redemptions -----------------------------------------------------------------------------


@dataclass(slots=True, frozen=True)
class RedemptionFilter:
    """What a redemption must be; None = anything. ``start_ms`` inclusive, ``end_ms`` exclusive."""

    order_ref: str | None = None
    coupon_id: str | None = None
    store_id: str | None = None
    terminal_id: str | None = None
    user_id: str | None = None
    start_ms: int | None = None
    end_ms: int | None = None


async def redemption_from_books(books: Books, tenant: str, redemption_id: str) -> Redemption | None:
    """A redemption as the books have it; None when they do not.

    They keep nothing of the keys of its acts.
    """
    query = select(redemptions).where(
        redemptions.c.tenant == tenant, redemptions.c.id == redemption_id
    )
    async with books.connect() as conn:
        rows = (await conn.execute(query)).all()
        found = await _with_parts(conn, tenant, rows)
    return found[0] if found else None


async def find_redemptions(
    books: Books,
    tenant: str,
    wanted: RedemptionFilter,
    *,
    cursor: str | None = None,
    limit: int = 50,
) -> tuple[list[Redemption], str | None]:
    """Redemptions, the newest first, and the cursor of the next page (None: the end).

    InvalidRequest for a cursor that is none.
    """
    query = select(redemptions).where(redemptions.c.tenant == tenant, *_conditions(tenant, wanted))
    if cursor:
        at, name = _place(cursor)
        query = query.where(
            or_(
                redemptions.c.at_ms < at,
                and_(redemptions.c.at_ms == at, redemptions.c.id > name),
            )
        )
    query = query.order_by(redemptions.c.at_ms.desc(), redemptions.c.id).limit(limit + 1)
    async with books.connect() as conn:
        rows = (await conn.execute(query)).all()
        page = await _with_parts(conn, tenant, rows[:limit])
    more = f"{rows[limit - 1].at_ms}.{rows[limit - 1].id}" if len(rows) > limit else None
    return page, more


def _place(cursor: str) -> tuple[int, str]:
    at, _, name = cursor.partition(".")
    if not (at.isascii() and at.isdigit() and len(at) < 19 and keys.split_id("R", name)):
        raise InvalidRequest("cursor", "This is not a cursor that a list gave out.")
    return int(at), name


def _conditions(tenant: str, wanted: RedemptionFilter) -> list[Any]:
    conditions: list[Any] = []
    for name in ("order_ref", "store_id", "terminal_id", "user_id"):
        value = getattr(wanted, name)
        if value is not None:
            conditions.append(redemptions.c[name] == value)
    if wanted.coupon_id is not None:
        used = select(redemption_coupons.c.redemption_id).where(
            redemption_coupons.c.tenant == tenant,
            redemption_coupons.c.coupon_id == wanted.coupon_id,
        )
        conditions.append(redemptions.c.id.in_(used))
    if wanted.start_ms is not None:
        conditions.append(redemptions.c.at_ms >= wanted.start_ms)
    if wanted.end_ms is not None:
        conditions.append(redemptions.c.at_ms < wanted.end_ms)
    return conditions


async def _with_parts(
    conn: AsyncConnection, tenant: str, rows: Sequence[Row[Any]]
) -> list[Redemption]:
    ids = [row.id for row in rows]
    used: dict[str, list[Row[Any]]] = {name: [] for name in ids}
    undone: dict[str, list[Row[Any]]] = {name: [] for name in ids}
    for table, found, order in (
        (redemption_coupons, used, redemption_coupons.c.position),
        (reversals, undone, reversals.c.at_ms),
    ):
        query = select(table).where(table.c.tenant == tenant, table.c.redemption_id.in_(ids))
        for part in await conn.execute(query.order_by(order)):
            found[part.redemption_id].append(part)
    items = await _items(conn, tenant, [part for parts in used.values() for part in parts])
    now = time.time_ns() // 1_000_000
    return [
        Redemption(
            id=row.id,
            handle=row.id[1 : 1 + keys.HANDLE_LENGTH],
            record=_record(row, used[row.id], undone[row.id], items),
            now=now,
        )
        for row in rows
    ]


Items = dict[tuple[str, int], str]  # what exchange coupons give, by campaign and terms revision


async def _items(conn: AsyncConnection, tenant: str, used: Sequence[Row[Any]]) -> Items:
    """The terms say what an exchange gives: neither facts nor parts carry it."""
    named = {part.campaign_id for part in used if part.benefit == "exchange"}
    if not named:
        return {}
    terms = campaign_terms.c
    query = select(terms.campaign_id, terms.revision, terms.body).where(
        terms.tenant == tenant, terms.campaign_id.in_(named)
    )
    return {
        (name, revision): msgspec.json.decode(body)["benefit"].get("item", "")
        for name, revision, body in await conn.execute(query)
    }


def _record(
    row: Row[Any], used: Sequence[Row[Any]], undone: Sequence[Row[Any]], items: Items
) -> RedemptionRecord:
    lines = [
        Line(line["id"], line["amount"], line["quantity"], line["sku"], line["category"])
        for line in msgspec.json.decode(row.lines)
    ]
    at = {line.id: i for i, line in enumerate(lines)}
    returned: dict[str, int] = {}
    records = [_reversal(part, at, lines, returned) for part in undone]
    return RedemptionRecord(
        state=_STATES[row.state],
        at=row.at_ms,
        until=row.until_ms,
        fingerprint="",
        user_id=row.user_id,
        store_id=row.store_id,
        merchant_id=row.merchant_id,
        terminal_id=row.terminal_id,
        staff_id=row.staff_id,
        channel=row.channel,
        order_ref=row.order_ref,
        amount=row.amount,
        discount=row.discount,
        lines=lines,
        coupons=[_applied(part, returned, items) for part in used if part.benefit not in _OTHERS],
        tenders=[_tender(part) for part in used if part.benefit in _TENDERS],
        lot_id=row.lot_id,
        deductions=_deductions(row.deductions, used),
        skipped=msgspec.json.decode(row.skipped, type=list[SkippedCoupon]),
        acts=[],
        reversals=records,
    )


def _reversal(
    part: Row[Any], at: dict[str, int], lines: list[Line], returned: dict[str, int]
) -> ReversalRecord:
    """One reversal; counts what it returned in ``lines`` and says in ``returned`` what came back.

    The books know the redemption's lines by their order, the reversal's by their ids.
    """
    body = msgspec.json.decode(part.body)
    for line in body["lines"]:
        lines[at[line["id"]]].returned += line["gross"]
    for coupon in body["coupons"]:
        if coupon["returned"]:
            returned[coupon["coupon_id"]] = _GIVEN_BACK
        elif not coupon["discount_after"] and not coupon["value_after"]:
            returned[coupon["coupon_id"]] = _NOT_GIVEN_BACK
    serial = -keys.SERIAL_LENGTH
    return ReversalRecord(
        serial=part.id[serial:],
        fingerprint="",
        at=part.at_ms,
        store_id=part.store_id,
        lines=[(at[line["id"]], line["gross"], line["discount_back"]) for line in body["lines"]],
        coupons=[
            (
                coupon["coupon_id"][serial:],
                coupon["discount_before"] - coupon["discount_after"],
                coupon["returned"],
            )
            for coupon in body["coupons"]
        ],
        reason=part.reason,
        tenders=[
            (
                tender["kind"],
                tender["coupon_id"][serial:],
                tender["amount_before"] - tender["amount_after"],
                tender["points_before"] - tender["points_after"],
            )
            for tender in body.get("tenders", ())
        ],
        line_tenders=[line.get("tendered_back", 0) for line in body["lines"]],
    )


def _deductions(text: str, used: Sequence[Row[Any]]) -> list[Deduction]:
    """What was taken off a parking fee, with what of it went back."""
    back = {part.coupon_id: part.discount_back for part in used if part.benefit in ledger.OWN}
    found = [Deduction(**told) for told in msgspec.json.decode(text)]
    own = [one for one in found if one.type in ledger.OWN]
    for number, one in enumerate(own):
        one.back = back[ledger.deduction_id(one.type, number)]
    return found


def _tender(part: Row[Any]) -> Tender:
    points = part.benefit == ledger.POINTS
    return Tender(
        kind=TenderKind.POINTS if points else TenderKind.STORED_VALUE,
        serial=part.coupon_id[-keys.SERIAL_LENGTH :],
        amount=part.tendered,
        points=part.points,
        balance=part.balance,
        back=part.tendered_back,
        points_back=part.points_back,
        campaign_id=part.campaign_id,
        terms_revision=part.terms_revision,
        lines=[LineShare(line, amount) for line, amount in msgspec.json.decode(part.lines)],
    )


def _applied(part: Row[Any], returned: dict[str, int], items: Items) -> AppliedCoupon:
    return AppliedCoupon(
        serial=part.coupon_id[-keys.SERIAL_LENGTH :],
        campaign_id=part.campaign_id,
        terms_revision=part.terms_revision,
        benefit=part.benefit,
        value=part.value,
        discount=part.discount,
        lines=[LineShare(line, discount) for line, discount in msgspec.json.decode(part.lines)],
        uses_left=0,
        item=items.get((part.campaign_id, part.terms_revision), "")
        if part.benefit == "exchange"
        else "",
        returned=returned.get(part.coupon_id, 0),
        uses=part.uses,
    )
