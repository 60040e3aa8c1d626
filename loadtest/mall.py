"""The mall that the load scenarios use: made over HTTP by an operator's key, told in one file.

Standard library only: locust runs in an environment of its own (README.md, "Why its own").
"""

from __future__ import annotations

import json
import os
import secrets
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

FILE = "LOADTEST_MALL"  # environment: where the file is
FLASH_STOCK = 300
TARIFF = {"unit_minutes": 60, "unit_fee": 1000}
Mall = dict[str, Any]
"""``url``; keys: ``operator``, ``storefront``, ``terminal``, ``parking``; campaigns: ``flash``,
``ten``, ``lunch``, ``hour`` (of parking); ``mark``: what its people's ids begin with."""


class MallError(Exception):
    """The server did not do what the load needs; the text says what."""


def ask(url: str, key: str, method: str, path: str, body: Any = None) -> Any:
    """One request; the body of its answer. MallError for a refusal."""
    request = urllib.request.Request(
        url + path,
        None if body is None else json.dumps(body).encode(),
        {
            "Authorization": f"Bearer {key}",
            "Content-Type": "application/json",
            "Idempotency-Key": secrets.token_hex(12),
        },
        method=method,
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        told = json.loads(error.read() or b"null")
        raise MallError(f"{method} {path}: {error.code} {told}") from None
    except OSError as error:
        raise MallError(f"{method} {path}: {error}") from None


def make(url: str, operator: str) -> Mall:
    """Merchant, store, campaigns and keys, new ones each time."""
    mark = secrets.token_hex(3)

    def put(path: str, body: Any) -> None:
        ask(url, operator, "PUT", path, body)

    def campaign(name: str, **parts: Any) -> str:
        body = {
            "id": f"{name}-{mark}",
            "name": {"en": name},
            "kind": "coupon",
            "benefit": {"type": "amount_off", "amount": 2000},
            "stock": {"total": None},
            "validity": {"type": "relative", "minutes": 10080},
        }
        ask(url, operator, "POST", "/v1/campaigns", body | parts)
        return str(body["id"])

    def key(role: str, **bound: str) -> str:
        label = {"role": role, "label": f"load test {mark}"}
        return str(ask(url, operator, "POST", "/v1/keys", label | bound)["key"])

    put("/v1/merchants/load", {"name": "Load"})
    put("/v1/stores/load", {"name": "Load", "merchant_id": "load"})
    put("/v1/lots/load", {"name": "Load", "merchant_id": "load", "tariff": TARIFF})
    return {
        "url": url,
        "operator": operator,
        "mark": mark,
        "flash": campaign("flash", stock={"total": FLASH_STOCK}, issue={"per_user": 1}),
        "ten": campaign("ten", stock={"total": FLASH_STOCK}, issue={"per_user": 1}),
        "lunch": campaign("lunch", usage={"min_spend": 5000}),
        "hour": campaign(
            "hour", kind="parking", benefit={"type": "parking_minutes", "minutes": 60}
        ),
        "parking": key("parking", lot_id="load"),
        "storefront": key("storefront"),
        "terminal": key("terminal", store_id="load"),
    }


def known() -> Mall:
    """The mall of this run, as the file says."""
    mall: Mall = json.loads(Path(os.environ[FILE]).read_text())
    return mall
