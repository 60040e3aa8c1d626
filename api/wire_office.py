"""JSON ↔ definitions: campaigns, settings, people, merchants, stores, keys, audit.

The bodies of campaigns, settings, merchants and stores themselves are in ``engine.definitions``.
Replies are plain dicts, because receipts keep them; the Structs here describe them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType, field

from api.routes import Id, Page
from api.wire import Text128
from engine.books.definitions import Body
from engine.books.definitions_campaigns import MAX_STOCK, CampaignRow
from engine.definitions import (
    MAX_MONEY,
    Campaign,
    Merchant,
    Settings,
    Store,
    Time,
    format_time,
)
from engine.definitions.advice import split_advice
from engine.definitions.bodies import Status
from engine.records import UserRecord
from engine.views import Live, QuotaLeft

HIDDEN = "********"  # stands for a secret in replies; sent back, the secret stays as it is

Users = Annotated[list[Id], Meta(max_length=10_000)]


class Request(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Base of the request bodies here."""


# ---- campaigns -------------------------------------------------------------------------------


class QuotaReply(msgspec.Struct, kw_only=True):
    """A quota of the event, whichever campaign its tickets are of."""

    id: str
    total: int
    left: int


class LiveReply(msgspec.Struct, kw_only=True):
    """Counters over all cells, at most a second old.

    ``left``: the room there is, in the stock and in all ``quotas`` (of a ticket); null = unlimited.
    """

    left: int | None
    set_aside: int
    issued: int
    redeemed: int
    budget_left: int | None
    as_of: Time
    quotas: list[QuotaReply] | UnsetType = UNSET


class CampaignReply(Campaign, frozen=True, kw_only=True):
    """A campaign, every default filled in. ``live`` is null while no cell can be asked."""

    revision: int
    created_at: Time
    updated_at: Time
    live: LiveReply | None
    warnings: list[str]


class CampaignList(msgspec.Struct, kw_only=True):
    """Campaigns by id."""

    items: list[CampaignReply]
    next_cursor: str | None


class CampaignQuery(Page):
    """``status``: only those."""

    status: Status | None = None


class CreateQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """``dry_run=true``: nothing is created, the answer says what it could cost."""

    dry_run: bool = False


class DryRunReply(msgspec.Struct, kw_only=True):
    """What looks odd, and the most it can cost (fen); null = without bound."""

    warnings: list[str]
    max_exposure: int | None


DRY_RUN_RESPONSE = {
    "description": "A dry run; nothing was created",
    "content": {
        "application/json": {
            "schema": msgspec.json.schema_components([DryRunReply])[1]["DryRunReply"]
        }
    },
}


class StockRequest(Request):
    """How many more coupons there are to be; fewer when negative."""

    add: Annotated[int, Meta(ge=-MAX_STOCK, le=MAX_STOCK)] = 0
    add_budget: Annotated[int, Meta(ge=-MAX_MONEY, le=MAX_MONEY)] = 0


def campaign_reply(row: CampaignRow, live: Live | None, cells: int, language: str) -> Body:
    """A campaign as it is shown."""
    return {
        **row.body,
        "revision": row.revision,
        "created_at": format_time(row.created_ms),
        "updated_at": format_time(row.updated_ms),
        "live": None if live is None else live_reply(live),
        "warnings": [one.text(language) for one in split_advice(cells, row.budgets)],
    }


def live_reply(live: Live) -> Body:
    """The counters as they are shown."""
    shown: Body = {
        "left": live.left,
        "set_aside": live.set_aside,
        "issued": live.issued,
        "redeemed": live.redeemed,
        "budget_left": live.budget_left,
        "as_of": format_time(live.as_of),
    }
    if live.quotas is not None:
        shown["quotas"] = [asdict(quota) for quota in live.quotas]
    return shown


def untouched(row: CampaignRow, event: Sequence[QuotaLeft]) -> Live:
    """The counters of a campaign at the moment it is created; ``event``: what its quotas have."""
    live = Live(row.total, 0, 0, 0, row.created_ms, row.body["stock"].get("budget"))
    if row.body["event"] is None:
        return live
    known = {quota.id: quota for quota in event}
    quotas = tuple(
        known.get(one["id"], QuotaLeft(one["id"], one["total"], one["total"]))
        for one in row.body["event"]["quotas"] or []
    )
    bounds = [quota.left for quota in quotas] + ([] if row.total is None else [row.total])
    return replace(live, left=min(bounds, default=None), quotas=quotas)


# ---- settings --------------------------------------------------------------------------------


class SettingsReply(Settings, frozen=True, kw_only=True):
    """The settings, every default filled in; secrets are hidden."""

    revision: int


def settings_reply(settings: Body) -> Body:
    """The settings as they are shown: HS256 keys are secrets."""
    shown = {
        kid: {**key, "key": HIDDEN} if key["alg"] == "HS256" else key
        for kid, key in settings["jwt_keys"].items()
    }
    return {**settings, "jwt_keys": shown}


def settings_patch(patch: Body) -> Body:
    """A patch without the hidden secrets that a caller read and sent back."""
    keys = patch.get("jwt_keys")
    if not isinstance(keys, dict):
        return patch
    kept = {
        kid: {name: value for name, value in key.items() if (name, value) != ("key", HIDDEN)}
        if isinstance(key, dict)
        else key
        for kid, key in keys.items()
    }
    return {**patch, "jwt_keys": kept}


# ---- people ----------------------------------------------------------------------------------


class ProfileRequest(Request):
    """What a mall tells of a member; what is absent stays as it is.

    A ``tier`` told without ``tier_until`` has no end; ``null`` takes the tier away.
    """

    tier: Id | UnsetType | None = UNSET
    tier_until: Time | UnsetType | None = UNSET
    frozen: bool | UnsetType = UNSET


class ProfileReply(msgspec.Struct, kw_only=True):
    """A member as told."""

    user_id: str
    tier: str | None
    tier_until: Time | None
    frozen: bool


class MembersRequest(Request):
    """Whom to put into an audience, whom to take out."""

    add: Users = field(default_factory=list)
    remove: Users = field(default_factory=list)


class MembersReply(msgspec.Struct, kw_only=True):
    """How many memberships this changed."""

    audience_id: str
    changed: int


def profile_reply(user_id: str, user: UserRecord) -> Body:
    """A member as the wallet has them."""
    return {
        "user_id": user_id,
        "tier": user.tier or None,
        "tier_until": format_time(user.tier_until) if user.tier_until else None,
        "frozen": bool(user.frozen),
    }


# ---- merchants and stores --------------------------------------------------------------------


class MerchantReply(Merchant, frozen=True, kw_only=True):
    """A merchant."""

    id: str
    revision: int


class MerchantList(msgspec.Struct, kw_only=True):
    """Merchants by id."""

    items: list[MerchantReply]
    next_cursor: str | None


class StoreReply(Store, frozen=True, kw_only=True):
    """A store."""

    id: str
    revision: int


class StoreList(msgspec.Struct, kw_only=True):
    """Stores by id."""

    items: list[StoreReply]
    next_cursor: str | None


class StoreQuery(Page):
    """``merchant_id``: only this merchant's."""

    merchant_id: Id | None = None


# ---- keys ------------------------------------------------------------------------------------

KeyRole = Literal[
    "operator",
    "storefront",
    "payments",
    "terminal",
    "desk",
    "gate",
    "parking",
    "merchant",
    "finance",
]


class KeyRequest(Request):
    """A terminal is bound to a store, parking to a lot, a merchant's key to the merchant.

    A gate may be bound to an event, and to a store, whose merchant its entries are settled with.
    """

    role: KeyRole
    label: Annotated[Text128, Meta(min_length=1)]
    store_id: Id | None = None
    lot_id: Id | None = None
    merchant_id: Id | None = None
    event_id: Id | None = None


class KeyReply(msgspec.Struct, kw_only=True):
    """A key, without its text."""

    id: str
    role: KeyRole
    label: str
    store_id: str | None
    lot_id: str | None
    merchant_id: str | None
    event_id: str | None
    created_at: Time
    revoked_at: Time | None


class KeyMade(KeyReply, kw_only=True):
    """A new key; ``key`` is its text, shown this once."""

    key: str


class KeyList(msgspec.Struct, kw_only=True):
    """Keys in the order they were made, revoked ones included."""

    items: list[KeyReply]
    next_cursor: str | None


def key_reply(row: Body) -> Body:
    """A key as it is shown."""
    shown = {name: value for name, value in row.items() if not name.endswith("_ms")}
    return {
        **shown,
        "created_at": format_time(row["created_ms"]),
        "revoked_at": format_time(row["revoked_ms"]) if row["revoked_ms"] else None,
    }


# ---- audit -----------------------------------------------------------------------------------


class AuditQuery(Page):
    """``object``: one (``store:s1`` or ``s1``) or a kind (``store``); ``actor``: person or key."""

    actor: Text128 | None = None
    object: Annotated[str, Meta(max_length=192)] | None = None
    from_: Time | None = field(name="from", default=None)
    to: Time | None = None


class AuditRow(msgspec.Struct, kw_only=True):
    """One change of a definition; ``n`` has no gaps."""

    n: int
    at: Time
    actor: str
    key_id: str
    label: str
    role: str
    action: str
    object: str
    detail: dict[str, Any]


class AuditList(msgspec.Struct, kw_only=True):
    """Changes, newest first."""

    items: list[AuditRow]
    next_cursor: str | None


def audit_reply(row: Body) -> Body:
    """A row of the audit as it is shown."""
    shown = {name: row[name] for name in AuditRow.__struct_fields__ if name != "at"}
    return {**shown, "at": format_time(row["at_ms"])}
