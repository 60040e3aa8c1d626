"""Lots in the books, and what the books know of vehicles and stays."""

from __future__ import annotations

from functools import partial
from typing import Any

from sqlalchemy import and_, or_, select

from engine.books import schema
from engine.books.db import Books
from engine.books.definitions import Body, By, Change, change
from engine.books.definitions_directory import NAMED_IN, listed, must_exist, put
from engine.definitions import Lot, name_in
from engine.views import Answer


async def put_lot(books: Books, tenant: str, by: By, lot_id: str, lot: Lot) -> Answer[Body]:
    """Make a lot or replace it; its operator must be a merchant. The same again changes nothing."""

    async def work(doing: Change) -> Body:
        await must_exist(doing, schema.merchants, "merchant_id", lot.merchant_id)
        columns = {"name": name_in(lot.name, NAMED_IN), "merchant_id": lot.merchant_id}
        return await put(doing, schema.lots, "lot", lot_id, lot, columns)

    return await change(books, tenant, by, work)


list_lots = partial(listed, schema.lots)


async def vehicles_of(books: Books, tenant: str, user_id: str) -> dict[str, list[str]]:
    """A person's cars: plate to whose they are, by plate."""
    cars = schema.vehicle_users
    mine = select(cars.c.plate).where(
        cars.c.tenant == tenant, cars.c.user_id == user_id, cars.c.present == 1
    )
    query = (
        select(cars.c.plate, cars.c.user_id)
        .where(cars.c.tenant == tenant, cars.c.present == 1, cars.c.plate.in_(mine))
        .order_by(cars.c.plate, cars.c.position)
    )
    found: dict[str, list[str]] = {}
    async with books.connect() as connection:
        for plate, user in await connection.execute(query):
            found.setdefault(plate, []).append(user)
    return found


async def list_stays(
    books: Books,
    tenant: str,
    *,
    plate: str | None = None,
    user_id: str | None = None,
    lot_id: str | None = None,
    live: bool = False,
    before: tuple[int, str] | None = None,
    limit: int = 50,
) -> list[Any]:
    """Rows of stays, the latest entry first; ``before``: (entered, id) where a page ended.

    A person's are those recorded for them, and those that are nobody's yet of a car of theirs.
    """
    c = schema.parking_stays.c
    query = select(schema.parking_stays).where(c.tenant == tenant)
    if plate is not None:
        query = query.where(c.plate == plate)
    if user_id is not None:
        cars = schema.vehicle_users.c
        mine = select(cars.plate).where(
            cars.tenant == tenant, cars.user_id == user_id, cars.present == 1
        )
        query = query.where(
            or_(c.user_id == user_id, and_(c.user_id == "", c.plate != "", c.plate.in_(mine)))
        )
    if lot_id is not None:
        query = query.where(c.lot_id == lot_id)
    if live:
        query = query.where(c.closed_ms == 0)
    if before is not None:
        entered, ident = before
        query = query.where(
            or_(c.entered_ms < entered, and_(c.entered_ms == entered, c.id > ident))
        )
    async with books.connect() as connection:
        rows = await connection.execute(query.order_by(c.entered_ms.desc(), c.id).limit(limit))
        return list(rows.all())
