"""A demo mall, built through the public HTTP API only: what ``hexiao serve --demo`` shows.

Ids and Idempotency-Keys are fixed, so building it again finds it there and changes nothing.
"""

from __future__ import annotations

import time
from typing import Any

import aiohttp
import orjson

from api.demo_mall import (
    AUDIENCE,
    CAMPAIGNS,
    EARN,
    GIFT,
    GRANT,
    KEYS,
    LOTS,
    MERCHANTS,
    ORDER,
    PAID,
    PARKING,
    POINTS,
    POOL,
    PRINTS,
    PURCHASE,
    STORES,
    TRY,
    USERS,
    VEHICLES,
    WAITERS,
    dated,
)
from engine.definitions import format_time
from engine.errors import HexiaoError

REQUEST_SECONDS = 30.0


class DemoFailed(HexiaoError):  # noqa: N818 - says what the server answered
    """The server refused a part of the demo."""


class Client:
    """The public API, as any caller uses it."""

    def __init__(self, session: aiohttp.ClientSession, url: str, operator_key: str) -> None:
        self._session = session
        self._url = url
        self._key = operator_key

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str = "",
        idempotency_key: str = "",
        missing: bool = False,
    ) -> Any:
        """The JSON answered; None for a 404 where ``missing`` allows it. DemoFailed else."""
        headers = {"Authorization": f"Bearer {key or self._key}", "Hexiao-Actor": "demo"}
        if idempotency_key:
            headers["Idempotency-Key"] = idempotency_key
        if body is not None:
            csv = isinstance(body, bytes)
            headers["Content-Type"] = "text/csv" if csv else "application/json"
        async with self._session.request(
            method,
            self._url + path,
            data=body if body is None or isinstance(body, bytes) else orjson.dumps(body),
            headers=headers,
        ) as response:
            raw = await response.read()
            if response.status == 404 and missing:
                return None
            if response.status >= 300:
                raise DemoFailed(f"{method} {path}: {response.status} {raw.decode()[:300]}")
            return orjson.loads(raw)


async def build_demo(base_url: str, operator_key: str) -> list[str]:
    """Build the mall at ``base_url``; returns lines to print: address, keys, what to try."""
    url = base_url.rstrip("/")
    timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        client = Client(session, url, operator_key)
        for merchant_id, name in MERCHANTS.items():
            await client.ask("PUT", f"/v1/merchants/{merchant_id}", {"name": name})
        for store_id, store in STORES.items():
            await client.ask("PUT", f"/v1/stores/{store_id}", store)
        await _campaigns(client)
        for user_id, profile in USERS.items():
            await client.ask("PUT", f"/v1/users/{user_id}", profile)
        audience, members = AUDIENCE
        await client.ask(
            "POST",
            f"/v1/audiences/{audience}/members",
            {"add": members},
            idempotency_key=f"demo-{audience}",
        )
        await _points(client)
        await _parking(client)
        await _order(client)
        await _given(client)
        campaign, codes = POOL
        path = f"/v1/campaigns/{campaign}/pool"
        await client.ask("POST", path, codes, idempotency_key="demo-pool")
        await client.ask("POST", "/v1/grants", GRANT, idempotency_key="demo-grant")
        keys = {name: await _key(client, name, body) for name, body in KEYS.items()}
        return await _what_to_try(client, url, {"operator": operator_key, **keys})


async def _order(client: Client) -> None:
    """Something is bought, and paid; something is waited for."""
    made = await client.ask("POST", "/v1/orders", ORDER, idempotency_key="demo-order")
    path = f"/v1/orders/{made['id']}/pay"
    await client.ask("POST", path, PAID, idempotency_key="demo-pay")
    campaign, people = WAITERS
    for user in people:
        path, body = f"/v1/campaigns/{campaign}/waitlist", {"user_id": user}
        await client.ask("POST", path, body, idempotency_key=f"demo-wait-{user}")


async def _given(client: Client) -> None:
    """A coupon is offered as a gift; others are printed."""
    claimed = await client.ask("POST", "/v1/claims", GIFT, idempotency_key="demo-ice-cream")
    path = f"/v1/coupons/{claimed['id']}/gifts"
    await client.ask("POST", path, {}, idempotency_key="demo-gift")
    campaign, body = PRINTS
    path = f"/v1/campaigns/{campaign}/prints"
    await client.ask("POST", path, body, idempotency_key="demo-prints")


async def _points(client: Client) -> None:
    """A rule for what purchases earn, unless there is one; a purchase, and a present."""
    if (await client.ask("GET", "/v1/settings"))["earn"] is None:
        await client.ask("PATCH", "/v1/settings", {"earn": EARN})
    bought = {**PURCHASE, "occurred_at": format_time(int(time.time() * 1000))}
    await client.ask("POST", "/v1/purchases", bought, idempotency_key="demo-purchase")
    await client.ask("POST", "/v1/points/earn", POINTS, idempotency_key="demo-points")


async def _parking(client: Client) -> None:
    """A car park, a family's car, and what the mall gives, unless it is set."""
    if (await client.ask("GET", "/v1/settings"))["parking"] is None:
        await client.ask("PATCH", "/v1/settings", {"parking": PARKING})
    for lot_id, lot in LOTS.items():
        await client.ask("PUT", f"/v1/lots/{lot_id}", lot)
    for plate, users in VEHICLES.items():
        await client.ask("PUT", f"/v1/vehicles/{plate}", {"user_ids": users})


async def _campaigns(client: Client) -> None:
    """Those that are not there yet; one that an operator has changed stays as it is."""
    for campaign in dated(CAMPAIGNS, int(time.time() * 1000)):
        path = f"/v1/campaigns/{campaign['id']}"
        if await client.ask("GET", path, missing=True) is None:
            key = f"demo-{campaign['id']}"
            await client.ask("POST", "/v1/campaigns", campaign, idempotency_key=key)


async def _key(client: Client, name: str, body: dict[str, str]) -> str:
    """The text of a demo key: the same request gives the same key."""
    made = await client.ask("POST", "/v1/keys", body, idempotency_key=f"demo-{name}")
    return str(made["key"])


async def _what_to_try(client: Client, url: str, keys: dict[str, str]) -> list[str]:
    claim = {"campaign_id": TRY["campaign"], "user_id": TRY["user"], "channel": "miniapp"}
    coupon = await client.ask(
        "POST", "/v1/claims", claim, key=keys["storefront"], idempotency_key="demo-claim"
    )
    path = f"/v1/coupons/{coupon['id']}/code?form=static"
    shown = await client.ask("GET", path, key=keys["storefront"])
    redemption = {
        "coupons": [{"code": shown["code"]}],
        "store_id": TRY["store"],
        "channel": "cashier",
        "order_ref": "POS-778",
        "basket": {"amount": 12800},
    }
    width = max(map(len, keys))
    counts = f"{len(MERCHANTS)} merchants, {len(STORES)} stores, {len(CAMPAIGNS)} campaigns"
    return [
        "",
        f"A demo mall with {counts}. Documentation: {url}/docs",
        f"Console: {url}/console/ (paste one of these keys)",
        *(f"  {name:<{width}}  {text}" for name, text in keys.items()),
        "",
        "# Claim a coupon. The same Idempotency-Key always finds the same coupon.",
        _curl("POST", f"{url}/v1/claims", keys["storefront"], claim, "demo-claim"),
        "# Its code, to be shown at the till (this form is for print; the other turns every 30 s).",
        _curl("GET", url + path, keys["storefront"]),
        "# The till scans it: 10 yuan off 128. Again with the same key: the same answer.",
        _curl("POST", f"{url}/v1/redemptions", keys["terminal"], redemption, "demo-redeem"),
        "",
    ]


def _curl(
    method: str, url: str, key: str, body: dict[str, Any] | None = None, idempotency_key: str = ""
) -> str:
    """One line for a POSIX shell; nothing in it needs more than single quotes."""
    words = ["curl -s" if method == "GET" else f"curl -s -X {method}", f"'{url}'"]
    words.append(f"-H 'Authorization: Bearer {key}'")
    if idempotency_key:
        words.append(f"-H 'Idempotency-Key: {idempotency_key}'")
    if body is not None:
        words.append("-H 'Content-Type: application/json'")
        words.append(f"-d '{orjson.dumps(body).decode()}'")
    return " ".join(words)
