"""The tables of the books (SQLAlchemy Core), the same on SQLite and PostgreSQL.

Times are Unix milliseconds in BIGINT, money is fen in BIGINT, JSON is text. Every table starts
with the tenant. ``facts``, ``claim_runs`` and ``postings`` are append-only; projections carry
``version`` (the fact's seq) and only move forward. Migrations: ``engine/books/migrations``
(Alembic).
What finance adds (adjustments, fundings, tracked events) is in ``schema_finance``, points and
purchases in ``schema_points``, lots and stays in ``schema_parking``, jobs and refused tries in
``schema_office``, orders and refunds in ``schema_orders``, third parties' codes in
``schema_pools``, notices in ``schema_events``, what went from cell to cell in ``schema_moves``,
check-ins in ``schema_checkins``, quotas in ``schema_quotas``, invitations and groups in
``schema_social``, waiting lines in ``schema_waiting``.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from engine.books.schema_base import Fen, Id, Ms, Party, tenant_column
from engine.books.schema_base import metadata as metadata
from engine.books.schema_checkins import checkins as checkins
from engine.books.schema_events import notices as notices
from engine.books.schema_finance import adjustments as adjustments
from engine.books.schema_finance import fundings as fundings
from engine.books.schema_finance import track_events as track_events
from engine.books.schema_moves import stock_moves as stock_moves
from engine.books.schema_office import attempts as attempts
from engine.books.schema_office import job_items as job_items
from engine.books.schema_office import jobs as jobs
from engine.books.schema_orders import orders as orders
from engine.books.schema_orders import refunds as refunds
from engine.books.schema_parking import lots as lots
from engine.books.schema_parking import parking_overrides as parking_overrides
from engine.books.schema_parking import parking_stays as parking_stays
from engine.books.schema_parking import parking_validations as parking_validations
from engine.books.schema_parking import vehicle_users as vehicle_users
from engine.books.schema_points import points_entries as points_entries
from engine.books.schema_points import purchase_refunds as purchase_refunds
from engine.books.schema_points import purchases as purchases
from engine.books.schema_pools import pool_batches as pool_batches
from engine.books.schema_pools import pool_codes as pool_codes
from engine.books.schema_pools import pools as pools
from engine.books.schema_quotas import quotas as quotas
from engine.books.schema_social import group_members as group_members
from engine.books.schema_social import groups as groups
from engine.books.schema_social import invitation_friends as invitation_friends
from engine.books.schema_social import invitations as invitations
from engine.books.schema_waiting import waitlist as waitlist

_NO_CLAIM = "type <> 'claimed'"
NO_CLAIM = text(f"facts.{_NO_CLAIM}")  # a query by act must say so: then ``facts_act`` serves it

# ---- definitions: born here, published to the cells -----------------------------------------

tenants = Table(
    "tenants",
    metadata,
    Column("id", Id, primary_key=True),
    Column("cells", Integer, nullable=False),
    Column("timezone", String(64), nullable=False),
    Column("currency", String(3), nullable=False),
    Column("handle_key", LargeBinary, nullable=False),  # made once, never rotated
    Column("definitions", BigInteger, nullable=False, default=0),  # raised by every definition
    Column("settings", Text, nullable=False),  # JSON
    Column("settings_revision", BigInteger, nullable=False, default=1),
    Column("created_ms", Ms, nullable=False),
)

keys = Table(
    "keys",
    metadata,
    tenant_column(),
    Column("id", Id, primary_key=True),
    Column("role", String(16), nullable=False),
    Column("label", String(128), nullable=False),
    Column("digest", String(64), nullable=False),  # SHA-256 of the key, hex
    Column("store_id", Id),
    Column("lot_id", Id),
    Column("merchant_id", Id),
    Column("event_id", Id),
    Column("created_ms", Ms, nullable=False),
    Column("revoked_ms", Ms),
    UniqueConstraint("digest"),
)

merchants = Table(
    "merchants",
    metadata,
    tenant_column(),
    Column("id", Id, primary_key=True),
    Column("name", String(256), nullable=False),
    Column("body", Text, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("created_ms", Ms, nullable=False),
)

stores = Table(
    "stores",
    metadata,
    tenant_column(),
    Column("id", Id, primary_key=True),
    Column("merchant_id", Id, nullable=False),
    Column("name", String(256), nullable=False),
    Column("closed", Integer, nullable=False, default=0),
    Column("body", Text, nullable=False),
    Column("revision", BigInteger, nullable=False),  # what the cells must have at least
    Column("created_ms", Ms, nullable=False),
)

campaigns = Table(
    "campaigns",
    metadata,
    tenant_column(),
    Column("id", Id, primary_key=True),
    Column("revision", BigInteger, nullable=False),  # of the body: what If-Match names
    Column("version", BigInteger, nullable=False),  # of revision or stock: what cells must have
    Column("status", String(16), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("body", Text, nullable=False),  # as POSTed/PATCHed, JSON
    Column("total", BigInteger),  # stock; null = unlimited
    Column("shares", Text, nullable=False),  # JSON list: stock per cell ([] when unlimited)
    # JSON list: budget per cell in fen ([] when unlimited)
    Column("budgets", Text, nullable=False, default="[]", server_default="[]"),
    # Of a ticket; "" else.
    Column("event_id", Id, nullable=False, default="", server_default=text("''")),
    Column("created_ms", Ms, nullable=False),
    Column("updated_ms", Ms, nullable=False),
    Index("campaigns_event", "tenant", "event_id"),
)

campaign_terms = Table(
    "campaign_terms",
    metadata,
    tenant_column(),
    Column("campaign_id", Id, primary_key=True),
    Column("revision", BigInteger, primary_key=True),
    Column("body", Text, nullable=False),  # the campaign's body at that revision, JSON
    Column("created_ms", Ms, nullable=False),
)

receipts = Table(
    "receipts",
    metadata,
    tenant_column(),
    Column("scope", String(256), primary_key=True),  # the resource in the path
    Column("key", String(128), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("status", Integer, nullable=False),
    Column("body", Text, nullable=False),
    Column("created_ms", Ms, nullable=False),
    Index("receipts_created", "created_ms"),
)

audit = Table(
    "audit",
    metadata,
    tenant_column(),
    Column("n", BigInteger, primary_key=True),
    Column("at_ms", Ms, nullable=False),
    Column("actor", String(128), nullable=False),  # Hexiao-Actor, else the key's label
    Column("key_id", Id, nullable=False),
    Column("label", String(128), nullable=False),
    Column("role", String(16), nullable=False),
    Column("action", String(64), nullable=False),  # e.g. campaign.patch
    Column("object", String(192), nullable=False),  # e.g. campaign:noodle-20
    Column("detail", Text, nullable=False),  # JSON
    Index("audit_object", "tenant", "object", "n"),
    Index("audit_actor", "tenant", "actor", "n"),
)

counters = Table(
    "counters",
    metadata,
    tenant_column(),
    Column("name", String(32), primary_key=True),  # postings, audit, …: gapless numbers
    Column("value", BigInteger, nullable=False),
)

# ---- the outbox's other end ------------------------------------------------------------------

cells = Table(
    "cells",
    metadata,
    tenant_column(),
    Column("cell", Integer, primary_key=True),
    Column("replid", String(64)),  # master_replid of the server this cell was last compared with
    Column("epoch", BigInteger, nullable=False, default=1),
    Column("seq", BigInteger, nullable=False, default=0),  # last one committed, gapless up to it
    Column("complete_ms", Ms, nullable=False, default=0),  # books hold all facts before this time
    Column("lease_owner", String(64)),
    Column("lease_until_ms", Ms, nullable=False, default=0),
    Column("fence", BigInteger, nullable=False, default=0),  # raised with each change of owner
)

writers = Table(  # which writer processes are alive, so that they share the cells evenly
    "writers",
    metadata,
    Column("id", Id, primary_key=True),
    Column("seen_ms", Ms, nullable=False),
)

facts = Table(
    "facts",
    metadata,
    tenant_column(),
    Column("cell", Integer, primary_key=True),
    Column("epoch", BigInteger, primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("type", String(24), nullable=False),
    Column("act", String(64), nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("at_ms", Ms, nullable=False),
    Column("digest", String(32), nullable=False),  # of the payload: same key, other payload = alarm
    Column("body", Text, nullable=False),  # JSON, field names as in engine/facts.py
    # A claim is found by its coupon (``coupons.born``): most facts are claims, and an index of
    # scattered ids costs a page to write for each.
    Index(
        "facts_act",
        "tenant",
        "act",
        sqlite_where=text(_NO_CLAIM),
        postgresql_where=text(_NO_CLAIM),
    ),
)

claim_runs = Table(  # facts of claims, packed: see ``claim_runs``
    "claim_runs",
    metadata,
    tenant_column(),
    Column("cell", Integer, primary_key=True),
    Column("epoch", BigInteger, primary_key=True),
    Column("seq", BigInteger, primary_key=True),  # of the last
    Column("first", BigInteger, nullable=False),  # seq
    Column("claims", LargeBinary, nullable=False),  # a MessagePack array of facts, as they came
)

refused_facts = Table(
    "refused_facts",
    metadata,
    tenant_column(),
    Column("cell", Integer, primary_key=True),
    Column("epoch", BigInteger, primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("entry", String(48), nullable=False),
    Column("error", Text, nullable=False),
    Column("raw", LargeBinary, nullable=False),
    Column("created_ms", Ms, nullable=False),
)

# ---- projections -----------------------------------------------------------------------------

users = Table(
    "users",
    metadata,
    tenant_column(),
    Column("user_id", Id, primary_key=True),
    Column("tier", String(64), nullable=False, default=""),
    Column("tier_until_ms", Ms, nullable=False, default=0),
    Column("frozen", Integer, nullable=False, default=0),
    Column("version", BigInteger, nullable=False),
)

audience_members = Table(
    "audience_members",
    metadata,
    tenant_column(),
    Column("audience_id", Id, primary_key=True),
    Column("user_id", Id, primary_key=True),
    Column("present", Integer, nullable=False),
    Column("version", BigInteger, nullable=False),
)

coupons = Table(
    "coupons",
    metadata,
    tenant_column(),
    Column("id", Id, primary_key=True),
    Column("cell", Integer, nullable=False),
    Column("campaign_id", Id, nullable=False),
    Column("terms_revision", BigInteger, nullable=False),
    Column("user_id", Id, nullable=False),
    Column("state", String(16), nullable=False),  # as reconcile.wallets.STATES
    Column("issued_ms", Ms, nullable=False),
    Column("valid_from_ms", Ms, nullable=False),
    Column("valid_until_ms", Ms, nullable=False),  # 0 = no end
    Column("channel", String(64), nullable=False),
    Column("entry", String(64), nullable=False, default=""),  # source.entry, for attribution
    Column("tier", String(64), nullable=False, default=""),  # the user's at the claim
    Column("source", Text, nullable=False, default=""),
    Column("metadata", Text, nullable=False, default=""),
    Column("redemption_id", Id),  # that holds or has redeemed it
    Column("changed_ms", Ms, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("used", BigInteger, nullable=False, default=0, server_default="0"),  # of a pass
    Column("spent", Fen, nullable=False, default=0, server_default="0"),  # of stored value
    # Bought with an order, for how much, how much of that its uses have used up; 1: refunded whole.
    Column("order_id", Id, nullable=False, default="", server_default=text("''")),
    Column("paid", Fen, nullable=False, default=0, server_default="0"),
    Column("paid_used", Fen, nullable=False, default=0, server_default="0"),
    Column("restocked", Integer, nullable=False, default=0, server_default="0"),
    # Of one that was given on: the coupon that it was, which stands for it in what was issued.
    Column("came_from", Id, nullable=False, default="", server_default=text("''")),
    Column("came_used", BigInteger, nullable=False, default=0, server_default="0"),  # of ``used``
    # The version of the fact that made it, which tells where that is (``projections.place_of``).
    Column("born", BigInteger, nullable=False, default=0, server_default="0"),
    # None by person: an id begins with the person's handle (``keys.ids_between``).
    Index("coupons_campaign", "tenant", "campaign_id", "issued_ms"),
    Index("coupons_ends", "tenant", "valid_until_ms"),
    Index(
        "coupons_came_from",
        "tenant",
        "came_from",
        sqlite_where=text("came_from <> ''"),
        postgresql_where=text("came_from <> ''"),
    ),
)

redemptions = Table(
    "redemptions",
    metadata,
    tenant_column(),
    Column("id", Id, primary_key=True),
    Column("cell", Integer, nullable=False),
    Column("state", String(16), nullable=False),  # held | redeemed | released | reversed
    Column("at_ms", Ms, nullable=False),  # of the redemption (commit), of the hold while held
    Column("until_ms", Ms, nullable=False, default=0),
    Column("user_id", Id, nullable=False),
    Column("store_id", Id, nullable=False),
    Column("merchant_id", Id, nullable=False),
    Column("terminal_id", Id, nullable=False, default=""),
    Column("staff_id", Id, nullable=False, default=""),
    Column("channel", String(64), nullable=False, default=""),
    Column("order_ref", String(129), nullable=False, default=""),
    Column("amount", Fen, nullable=False),
    Column("discount", Fen, nullable=False),
    Column("payable", Fen, nullable=False),
    Column("discount_back", Fen, nullable=False, default=0),
    Column("refunded", Fen, nullable=False, default=0),  # of payable, by reversals
    Column("lines", Text, nullable=False),  # JSON
    Column("version", BigInteger, nullable=False),
    Column("tendered", Fen, nullable=False, default=0, server_default="0"),
    Column("tendered_back", Fen, nullable=False, default=0, server_default="0"),
    Column("lot_id", Id, nullable=False, default="", server_default=text("''")),  # of parking
    Column("deductions", Text, nullable=False, default="[]", server_default="[]"),  # JSON
    Column("skipped", Text, nullable=False, default="[]", server_default="[]"),  # JSON
    Index("redemptions_order_ref", "tenant", "order_ref"),
    Index("redemptions_store", "tenant", "store_id", "at_ms"),
    Index("redemptions_user", "tenant", "user_id", "at_ms"),
    Index("redemptions_at", "tenant", "at_ms"),
)

# A tender is a part too: benefit "stored_value", or "points" of no coupon (""); and so is what
# else was taken off a parking fee: benefit "tier", "merchant", "spend" or "manual", as coupon_id
# that with its number.
redemption_coupons = Table(
    "redemption_coupons",
    metadata,
    tenant_column(),
    Column("redemption_id", Id, primary_key=True),
    Column("position", Integer, primary_key=True),  # in order of application
    Column("coupon_id", Id, nullable=False),
    Column("campaign_id", Id, nullable=False),
    Column("terms_revision", BigInteger, nullable=False),
    Column("benefit", String(24), nullable=False),
    Column("discount", Fen, nullable=False),
    Column("value", Fen, nullable=False, default=0),
    Column("discount_back", Fen, nullable=False, default=0),
    Column("sales", Fen, nullable=False, default=0),  # its part of payable
    Column("lines", Text, nullable=False),  # JSON [[line index, discount or tendered], …]
    Column("tendered", Fen, nullable=False, default=0, server_default="0"),
    Column("tendered_back", Fen, nullable=False, default=0, server_default="0"),
    Column("points", BigInteger, nullable=False, default=0, server_default="0"),
    Column("points_back", BigInteger, nullable=False, default=0, server_default="0"),
    Column("balance", BigInteger, nullable=False, default=0, server_default="0"),  # after it
    Column("uses", BigInteger, nullable=False, default=1, server_default="1"),  # of a pass: > 1
    Column("paid", Fen, nullable=False, default=0, server_default="0"),  # of its price, used up
    Index("redemption_coupons_coupon", "tenant", "coupon_id"),
    Index("redemption_coupons_campaign", "tenant", "campaign_id"),
)

reversals = Table(
    "reversals",
    metadata,
    tenant_column(),
    Column("id", Id, primary_key=True),
    Column("redemption_id", Id, nullable=False),
    Column("at_ms", Ms, nullable=False),
    Column("store_id", Id, nullable=False),
    Column("gross", Fen, nullable=False),
    Column("discount_back", Fen, nullable=False),
    Column("refund", Fen, nullable=False),
    Column("reason", Text, nullable=False, default=""),
    Column("body", Text, nullable=False),  # JSON: lines, coupons, tenders, deductions
    Index("reversals_redemption", "tenant", "redemption_id"),
    Index("reversals_at", "tenant", "at_ms"),
)

# ---- money -----------------------------------------------------------------------------------

entries = Table(  # one settled act on one coupon: what a statement lists
    "entries",
    metadata,
    tenant_column(),
    Column("cell", Integer, primary_key=True),
    Column("epoch", BigInteger, primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("position", Integer, primary_key=True),  # of the coupon in the act
    Column("kind", String(16), nullable=False),  # redemption | reversal
    Column("act", Id, nullable=False),  # redemption or reversal id
    Column("redemption_id", Id, nullable=False),
    Column("coupon_id", Id, nullable=False),
    Column("campaign_id", Id, nullable=False),
    Column("merchant_id", Id, nullable=False),
    Column("store_id", Id, nullable=False),
    Column("lot_id", Id, nullable=False, default=""),
    Column("order_ref", String(129), nullable=False, default=""),
    Column("at_ms", Ms, nullable=False),
    Column("sales", Fen, nullable=False),
    Column("discount", Fen, nullable=False),
    Column("prepaid", Fen, nullable=False, default=0),
    Column("mall_bears", Fen, nullable=False),
    Column("merchant_bears", Fen, nullable=False),
    Column("others_bear", Fen, nullable=False),
    Column("stored_value", Fen, nullable=False, default=0),
    Column("points_value", Fen, nullable=False, default=0),
    Column("commission", Fen, nullable=False, default=0),
    Column("statement_id", Id),
    Column("late", Integer, nullable=False, default=0),
    # Of what was paid and came to nothing, the merchant's.
    Column("breakage", Fen, nullable=False, default=0, server_default="0"),
    Index("entries_open", "tenant", "merchant_id", "statement_id", "at_ms"),
    Index("entries_statement", "tenant", "statement_id"),
    Index("entries_redemption", "tenant", "redemption_id"),
)

postings = Table(
    "postings",
    metadata,
    tenant_column(),
    Column("n", BigInteger, primary_key=True),  # gapless per tenant
    Column("cell", Integer, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("position", Integer, nullable=False),  # of the entry it belongs to
    Column("act", Id, nullable=False),
    Column("at_ms", Ms, nullable=False),
    Column("account", String(48), nullable=False),  # see books/ledger.py
    Column("party", Party, nullable=False),  # mall, merchant:ID, sponsor:ID, customers
    Column("amount", Fen, nullable=False),  # debit positive, credit negative
    Column("currency", String(3), nullable=False),
    Column("merchant_id", Id, nullable=False),
    Column("store_id", Id, nullable=False),
    Column("campaign_id", Id, nullable=False),
    Column("redemption_id", Id, nullable=False),
    Column("coupon_id", Id, nullable=False),
    Index("postings_at", "tenant", "at_ms"),
    Index("postings_act", "tenant", "cell", "epoch", "seq"),
)

statements = Table(
    "statements",
    metadata,
    tenant_column(),
    Column("id", Id, primary_key=True),
    Column("merchant_id", Id, nullable=False),
    Column("start_ms", Ms, nullable=False),
    Column("end_ms", Ms, nullable=False),
    Column("status", String(16), nullable=False),
    Column("currency", String(3), nullable=False),
    Column("body", Text, nullable=False),  # JSON: lines, totals
    Column("created_ms", Ms, nullable=False),
    # Since when the status is so, why it was last disputed, how it was paid.
    Column("status_ms", Ms, nullable=False, default=0, server_default="0"),
    Column("reason", Text, nullable=False, default="", server_default=text("''")),
    Column("payment_ref", String(128), nullable=False, default="", server_default=text("''")),
    UniqueConstraint("tenant", "merchant_id", "start_ms", "end_ms"),
)
