"""Lots, and whose car a plate is."""

from __future__ import annotations

from api import wire_stays as shapes
from api.directory import after, one_of, page
from api.lookups import caught_up
from api.office import by, written
from api.problems import Refused
from api.routes import Call, Reply, ShortPage, refusal, route
from engine.books import definitions_parking as parking
from engine.definitions import Lot
from engine.errors import InvalidRequest
from engine.outcomes import Outcome
from engine.parking.plates import normalise
from engine.parking.records import VehicleRecord

READERS = {"storefront", "finance", "desk", "merchant", "parking"}


@route(
    "PUT",
    "/v1/lots/{id}",
    body=Lot,
    reply=shapes.LotReply,
    summary="Make a lot, or replace it; its operator from now on is the merchant named.",
    tags=("parking",),
)
async def put_lot(call: Call) -> Reply:
    tenant, lot_id = call.tenant, call.path["id"]
    answer = await parking.put_lot(tenant.books, tenant.id, by(call), lot_id, call.body)
    return await written(call, answer, lambda: tenant.control.publish_lot(lot_id))


@route(
    "GET",
    "/v1/lots",
    roles=READERS,
    query=shapes.LotQuery,
    reply=shapes.LotList,
    summary="Lots by id; a merchant sees those it operates, a lot's key its own.",
    tags=("parking",),
)
async def list_lots(call: Call) -> Reply:
    tenant, query = call.tenant, call.query
    rows = await parking.list_lots(
        tenant.books,
        tenant.id,
        only=call.bound_lot(None) or None,
        merchant_id=call.bound_merchant(query.merchant_id) or None,
        after=after(query),
        limit=query.limit + 1,
    )
    return page(rows, query.limit)


@route(
    "GET",
    "/v1/lots/{id}",
    roles=READERS,
    reply=shapes.LotReply,
    summary="One lot.",
    tags=("parking",),
)
async def get_lot(call: Call) -> Reply:
    tenant, lot_id = call.tenant, call.path["id"]
    if call.key.lot_id not in ("", lot_id):
        raise Refused(Outcome.NOT_FOUND)
    rows = await parking.list_lots(
        tenant.books, tenant.id, only=lot_id, merchant_id=call.key.merchant_id or None, limit=1
    )
    return one_of(rows)


# ---- vehicles --------------------------------------------------------------------------------


@route(
    "PUT",
    "/v1/vehicles/{plate}",
    roles={"storefront"},
    body=shapes.VehicleRequest,
    reply=shapes.VehicleReply,
    summary="Say whose car a plate is; only an operator may take it from all who have it.",
    tags=("parking",),
    errors=(Outcome.PLATE_TAKEN,),
)
async def put_vehicle(call: Call) -> Reply:
    users = call.body.user_ids
    if len(set(users)) < len(users):
        raise InvalidRequest("user_ids", "Someone is named twice.", "同一用户出现了两次。")
    return await _set(call, users)


@route(
    "DELETE",
    "/v1/vehicles/{plate}",
    roles={"storefront"},
    reply=shapes.VehicleReply,
    summary="The car is nobody's any more.",
    tags=("parking",),
)
async def delete_vehicle(call: Call) -> Reply:
    return await _set(call, [])


async def _set(call: Call, users: list[str]) -> Reply:
    answer = await call.tenant.engine.parking.set_vehicle(
        normalise(call.path["plate"]),
        users,
        who=call.who(),
        anyones=call.key.role == "operator",
        now=call.now,
    )
    if answer.value is None:
        return refusal(call, answer.outcome, answer.details)
    return Reply(_shown(answer.value))


@route(
    "GET",
    "/v1/vehicles/{plate}",
    roles={"storefront", "desk"},
    reply=shapes.VehicleReply,
    summary="Whose car a plate is.",
    tags=("parking",),
)
async def get_vehicle(call: Call) -> Reply:
    found = await call.tenant.engine.parking.vehicle(normalise(call.path["plate"]))
    if found is None:
        raise Refused(Outcome.NOT_FOUND)
    return Reply(_shown(found))


@route(
    "GET",
    "/v1/users/{id}/vehicles",
    roles={"storefront", "desk", "user"},
    query=ShortPage,
    reply=shapes.VehicleList,
    summary="A member's cars.",
    tags=("parking",),
)
async def list_vehicles(call: Call) -> Reply:
    tenant = call.tenant
    await caught_up(tenant)
    found = await parking.vehicles_of(tenant.books, tenant.id, call.path["id"])
    items = [
        shapes.VehicleReply(plate=plate, user_ids=_seen(call, users))
        for plate, users in found.items()
    ]
    items, next_cursor = call.query.part(items)
    return Reply(shapes.VehicleList(items=items, next_cursor=next_cursor))


def _shown(vehicle: VehicleRecord) -> shapes.VehicleReply:
    return shapes.VehicleReply(plate=vehicle.plate, user_ids=vehicle.user_ids)


def _seen(call: Call, users: list[str]) -> list[str]:
    """An end user is told that the car is theirs, not with whom they share it."""
    return [call.key.user_id] if call.key.role == "user" else users
