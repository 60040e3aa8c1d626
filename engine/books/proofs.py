"""What must hold within the books themselves: facts without a gap, money that balances.

Each proof returns the places where it does not hold; no place, no difference.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Select, and_, case, func, literal, or_, select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.books import prepaid
from engine.books.claim_runs import covers
from engine.books.ledger import OFFICE_CELL
from engine.books.schema import (
    adjustments,
    cells,
    claim_runs,
    counters,
    coupons,
    entries,
    facts,
    fundings,
    points_entries,
    postings,
    redemption_coupons,
    redemptions,
    refused_facts,
    statements,
    tenants,
)
from engine.books.settlement import total
from engine.books.statements import ACCOUNTS, prove

if TYPE_CHECKING:
    from engine.books.db import Books

_SHOWN = 100  # places named a proof
_AT_ONCE = 100  # statements


class Broken(NamedTuple):
    """A place where a proof fails: what must be, and what is."""

    what: str
    where: str
    expected: str
    found: str


class Proof(NamedTuple):
    """One proof: its name, how many things it looked at, where it fails."""

    name: str
    checked: int
    broken: list[Broken]


async def proofs(books: Books, tenant: str) -> AsyncIterator[Proof]:
    """Every proof of a tenant's books, one after the other."""
    for proof in (
        _facts,
        _refused,
        _numbers,
        _balance,
        _entries_are_postings,
        _prepaid,
        _redemptions_are_entries,
        _fundings_are_postings,
        _adjustments_are_postings,
        _statements,
    ):
        async with books.connect() as conn:
            yield await proof(conn, tenant)


async def _facts(conn: AsyncConnection, tenant: str) -> Proof:
    """Facts and those set aside are numbered without a gap, up to what the cell says."""
    f, r = facts.c, claim_runs.c
    held = union_all(
        select(f.cell, f.epoch, literal(1).label("count"), f.seq.label("first"), f.seq)
        .where(f.tenant == tenant),
        select(r.cell, r.epoch, r.seq - r.first + 1, r.first, r.seq).where(r.tenant == tenant),
    ).subquery().c  # fmt: skip
    query = (
        select(
            held.cell, held.epoch, func.sum(held.count), func.min(held.first), func.max(held.seq)
        )
        .group_by(held.cell, held.epoch)
        .order_by(held.cell, held.epoch)
    )
    aside_query = (
        select(refused_facts.c.cell, refused_facts.c.epoch, refused_facts.c.seq)
        .where(refused_facts.c.tenant == tenant)
        .where(
            ~select(facts.c.seq)
            .where(
                facts.c.tenant == tenant,
                facts.c.cell == refused_facts.c.cell,
                facts.c.epoch == refused_facts.c.epoch,
                facts.c.seq == refused_facts.c.seq,
            )
            .exists(),
            ~covers(refused_facts),
        )
    )
    aside: dict[tuple[int, int], list[int]] = {}
    for cell, epoch, seq in await conn.execute(aside_query):
        aside.setdefault((cell, epoch), []).append(seq)
    broken: list[Broken] = []
    checked, ends = 0, dict[int, int]()
    for cell, epoch, count, first, last in await conn.execute(query):
        missing = aside.get((cell, epoch), [])
        first, last = min([first, *missing]), max([last, *missing])
        where = f"cell {cell} epoch {epoch}"
        before = ends.get(cell, 0)
        if first not in (1, before + 1):
            broken.append(Broken("facts: first seq", where, str(before + 1), str(first)))
        if count + len(missing) != last - first + 1:
            broken.append(
                Broken("facts: gapless", where, str(last - first + 1), str(count + len(missing)))
            )
        ends[cell] = last
        checked += count
    for cell, epoch, seq in await conn.execute(
        select(cells.c.cell, cells.c.epoch, cells.c.seq).where(cells.c.tenant == tenant)
    ):
        if seq and ends.get(cell, 0) != seq:
            found = str(ends.get(cell, 0))
            broken.append(Broken("facts: last seq", f"cell {cell} epoch {epoch}", str(seq), found))
    return Proof("facts", checked, broken)


async def _refused(conn: AsyncConnection, tenant: str) -> Proof:
    """No fact was set aside."""
    mine = refused_facts.c.tenant == tenant
    rows = await conn.execute(
        select(refused_facts).where(mine).order_by(refused_facts.c.created_ms).limit(_SHOWN)
    )
    broken = [
        Broken("fact set aside", f"cell {row.cell} {row.epoch}-{row.seq}", "", row.error)
        for row in rows
    ]
    count = await conn.scalar(select(func.count()).select_from(refused_facts).where(mine))
    return Proof("refused_facts", count or 0, broken)


async def _numbers(conn: AsyncConnection, tenant: str) -> Proof:
    """Postings and statements are numbered 1, 2, 3, … up to their counters."""
    broken, checked = [], 0
    for name, table, top in (
        ("postings", postings, func.max(postings.c.n)),
        ("statements", statements, func.count()),
    ):
        count, last = (
            await conn.execute(select(func.count(), top).where(table.c.tenant == tenant))
        ).one()
        counter = await conn.scalar(
            select(counters.c.value).where(counters.c.tenant == tenant, counters.c.name == name)
        )
        if not count == (last or 0) == (counter or 0):
            found = f"{count} rows, last {last or 0}"
            broken.append(Broken("numbered without a gap", name, str(counter or 0), found))
        checked += count
    return Proof("numbers", checked, broken)


async def _balance(conn: AsyncConnection, tenant: str) -> Proof:
    """The postings of each act sum to zero, hence all of them do; one currency, the tenant's."""
    act = (postings.c.cell, postings.c.epoch, postings.c.seq)
    amount = func.sum(postings.c.amount)
    rows = await conn.execute(
        select(*act, total(postings.c.amount))
        .where(postings.c.tenant == tenant)
        .group_by(*act)
        .having(amount != 0)
        .limit(_SHOWN)
    )
    broken = [
        Broken("postings of an act sum to zero", f"cell {cell} {epoch}-{seq}", "0", str(left))
        for cell, epoch, seq, left in rows
    ]
    rows = await conn.execute(
        select(postings.c.currency, func.count())
        .join_from(postings, tenants, tenants.c.id == postings.c.tenant)
        .where(postings.c.tenant == tenant, postings.c.currency != tenants.c.currency)
        .group_by(postings.c.currency)
    )
    broken += [Broken("currency of postings", name, "the tenant's", str(n)) for name, n in rows]
    checked = await conn.scalar(
        select(func.count()).select_from(postings).where(postings.c.tenant == tenant)
    )
    return Proof("postings", checked or 0, broken)


async def _entries_are_postings(conn: AsyncConnection, tenant: str) -> Proof:
    """Each entry says what its postings sum to; no posting is without an entry."""
    place = ("cell", "epoch", "seq", "position")
    booked = (
        select(
            *(postings.c[name] for name in place),
            func.max(postings.c.act).label("act"),
            *(
                total(
                    case((postings.c.account == account, postings.c.amount * sign), else_=0)
                ).label(field)
                for field, (account, sign) in ACCOUNTS.items()
            ),
        )
        .where(postings.c.tenant == tenant, postings.c.cell != OFFICE_CELL)
        .group_by(*(postings.c[name] for name in place))
        .subquery("booked")
    )
    joined = entries.outerjoin(booked, and_(*(entries.c[name] == booked.c[name] for name in place)))
    differs = or_(
        *(entries.c[field] != func.coalesce(booked.c[field], 0) for field in ACCOUNTS),
        entries.c.discount
        != entries.c.prepaid
        + entries.c.mall_bears
        + entries.c.merchant_bears
        + entries.c.others_bear,
    )
    rows = await conn.execute(
        select(entries, *(booked.c[field].label(f"booked_{field}") for field in ACCOUNTS))
        .select_from(joined)
        .where(entries.c.tenant == tenant, differs)
        .limit(_SHOWN)
    )
    broken = [
        Broken(
            "entry equals its postings",
            f"{row['act']} coupon {row['coupon_id']}",
            ", ".join(f"{field} {row[f'booked_{field}'] or 0}" for field in ACCOUNTS),
            ", ".join(f"{field} {row[field]}" for field in ACCOUNTS),
        )
        for row in rows.mappings()
    ]
    alone = (
        select(booked.c.cell, booked.c.epoch, booked.c.seq, booked.c.position)
        .select_from(
            booked.outerjoin(
                entries,
                and_(
                    entries.c.tenant == tenant,
                    *(entries.c[name] == booked.c[name] for name in place),
                ),
            )
        )
        .where(entries.c.tenant.is_(None))
        .where(~_bought(tenant).where(coupons.c.id == booked.c.act).exists())
        .where(
            ~select(points_entries.c.seq)
            .where(
                points_entries.c.tenant == tenant,
                *(points_entries.c[name] == booked.c[name] for name in place),
            )
            .exists()
        )
        .limit(_SHOWN)
    )
    broken += [
        Broken("postings have an entry", f"cell {cell} {epoch}-{seq} {position}", "1", "0")
        for cell, epoch, seq, position in await conn.execute(alone)
    ]
    checked = await conn.scalar(
        select(func.count()).select_from(entries).where(entries.c.tenant == tenant)
    )
    return Proof("entries", checked or 0, broken)


def _bought(tenant: str) -> Select[tuple[str]]:
    """Coupons that were paid for."""
    return select(coupons.c.id).where(coupons.c.tenant == tenant, coupons.c.paid > 0)


async def _prepaid(conn: AsyncConnection, tenant: str) -> Proof:
    """What is owed to customers is what they paid for coupons and neither used nor got back."""
    owed = await conn.scalar(
        select(total(-postings.c.amount)).where(
            postings.c.tenant == tenant,
            postings.c.account.in_(prepaid.OWED),
        )
    )
    bought = _bought(tenant).subquery()
    count = await conn.scalar(select(func.count()).select_from(bought))
    later = coupons.alias("later").c
    went_on = select(later.id).where(later.tenant == tenant, later.came_from == coupons.c.id)
    left = await conn.scalar(
        select(total(coupons.c.paid - coupons.c.paid_used)).where(
            coupons.c.tenant == tenant, coupons.c.paid > 0, coupons.c.state != "refunded",
            or_(
                coupons.c.state != "transferred",
                ~went_on.where(later.came_from != "").exists(),  # what the index is of
            ),
        )
    )  # fmt: skip
    broken = [Broken("prepaid", tenant, str(left), str(owed))] if left != owed else []
    return Proof("prepaid", count or 0, broken)


async def _redemptions_are_entries(conn: AsyncConnection, tenant: str) -> Proof:
    """A redemption's entries sum to what stays redeemed of it: payable, discount, coupon values."""
    booked = (
        select(
            entries.c.redemption_id,
            total(entries.c.sales).label("sales"),
            total(entries.c.discount).label("discount"),
        )
        .where(entries.c.tenant == tenant)
        .group_by(entries.c.redemption_id)
        .subquery("booked")
    )
    values = (
        select(redemption_coupons.c.redemption_id, total(redemption_coupons.c.value).label("value"))
        .where(redemption_coupons.c.tenant == tenant)
        .group_by(redemption_coupons.c.redemption_id)
        .subquery("coupon_values")
    )
    live = redemptions.c.state.in_(("redeemed", "reversed"))
    # A parking payment that took nothing off is no business of the settlement.
    nothing = and_(redemptions.c.lot_id != "", redemptions.c.discount + redemptions.c.tendered == 0)
    payable = case((and_(live, ~nothing), redemptions.c.payable - redemptions.c.refunded), else_=0)
    discount = case((live, redemptions.c.discount - redemptions.c.discount_back), else_=0)
    got = func.coalesce(booked.c.discount, 0)
    value = func.coalesce(values.c.value, 0)
    # An exchange coupon's value goes back as a whole, so a part-reversed one may count either way.
    in_part = and_(redemptions.c.state == "redeemed", redemptions.c.refunded > 0)
    expected = case((redemptions.c.state == "redeemed", discount + value), else_=discount)
    wrong = or_(
        func.coalesce(booked.c.sales, 0) != payable,
        and_(~in_part, got != expected),
        and_(in_part, or_(got < discount, got > discount + value)),
    )
    rows = await conn.execute(
        select(redemptions.c.id, payable, expected, func.coalesce(booked.c.sales, 0), got)
        .select_from(
            redemptions.outerjoin(booked, booked.c.redemption_id == redemptions.c.id).outerjoin(
                values, values.c.redemption_id == redemptions.c.id
            )
        )
        .where(redemptions.c.tenant == tenant, wrong)
        .limit(_SHOWN)
    )
    broken = [
        Broken(
            "redemption equals its entries",
            name,
            f"sales {sales}, discount {taken}",
            f"sales {booked_sales}, discount {booked_discount}",
        )
        for name, sales, taken, booked_sales, booked_discount in rows
    ]
    checked = await conn.scalar(
        select(func.count()).select_from(redemptions).where(redemptions.c.tenant == tenant)
    )
    return Proof("redemptions", checked or 0, broken)


async def _fundings_are_postings(conn: AsyncConnection, tenant: str) -> Proof:
    """What merchants bear of each other's coupons is what was posted to them."""
    place = ("cell", "epoch", "seq", "position")
    booked = (
        select(
            *(postings.c[name] for name in place),
            postings.c.party,
            total(postings.c.amount).label("amount"),
        )
        .where(
            postings.c.tenant == tenant,
            postings.c.account == "other.subsidy",
            postings.c.party.startswith("merchant:"),
        )
        .group_by(*(postings.c[name] for name in place), postings.c.party)
        .subquery("booked")
    )
    same = and_(
        fundings.c.tenant == tenant,
        *(fundings.c[name] == booked.c[name] for name in place),
        booked.c.party == literal("merchant:").concat(fundings.c.merchant_id),
    )
    columns = (booked.c.cell, booked.c.epoch, booked.c.seq, booked.c.party, booked.c.amount)
    wrong = or_(fundings.c.amount.is_(None), fundings.c.amount != booked.c.amount)
    rows = await conn.execute(
        select(*columns, fundings.c.amount)
        .select_from(booked.outerjoin(fundings, same))
        .where(wrong)
        .limit(_SHOWN)
    )
    broken = [
        Broken(
            "funding equals its postings", f"cell {cell} {epoch}-{seq} {party}", str(due), str(n)
        )
        for cell, epoch, seq, party, due, n in rows
    ]
    count = await conn.scalar(
        select(func.count()).select_from(fundings).where(fundings.c.tenant == tenant)
    )
    posted = await conn.scalar(select(func.count()).select_from(booked))
    if not broken and count != posted:
        broken = [Broken("fundings have postings", "in all", str(posted), str(count))]
    return Proof("fundings", count or 0, broken)


async def _adjustments_are_postings(conn: AsyncConnection, tenant: str) -> Proof:
    """An approved adjustment is posted once; a pending or rejected one is not."""
    booked = (
        select(postings.c.seq, total(-postings.c.amount).label("amount"))
        .where(
            postings.c.tenant == tenant,
            postings.c.cell == OFFICE_CELL,
            postings.c.account == "merchant.adjustment",
        )
        .group_by(postings.c.seq)
        .subquery("booked")
    )
    expected = case((adjustments.c.status == "approved", adjustments.c.amount), else_=0)
    found = func.coalesce(booked.c.amount, 0)
    rows = await conn.execute(
        select(adjustments.c.id, expected, found)
        .select_from(adjustments.outerjoin(booked, booked.c.seq == adjustments.c.n))
        .where(adjustments.c.tenant == tenant, expected != found)
        .limit(_SHOWN)
    )
    broken = [Broken("adjustment equals its postings", n, str(a), str(b)) for n, a, b in rows]
    checked = await conn.scalar(
        select(func.count()).select_from(adjustments).where(adjustments.c.tenant == tenant)
    )
    return Proof("adjustments", checked or 0, broken)


async def _statements(conn: AsyncConnection, tenant: str) -> Proof:
    """Totals and lines of every statement equal the sum of its postings."""
    names = (
        await conn.scalars(
            select(statements.c.id).where(statements.c.tenant == tenant).order_by(statements.c.id)
        )
    ).all()
    broken: list[Broken] = []
    for start in range(0, len(names), _AT_ONCE):
        for wrong in await prove(conn, tenant, *names[start : start + _AT_ONCE]):
            where = f"{wrong['id']} {_line(wrong['line'])} {wrong['field']}"
            expected, found = str(wrong["postings"]), str(wrong["statement"])
            broken.append(Broken("statement equals its postings", where, expected, found))
    return Proof("statements", len(names), broken)


def _line(line: Any) -> str:
    return "totals" if line is None else "/".join(part or "-" for part in line)
