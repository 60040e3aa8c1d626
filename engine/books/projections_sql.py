"""The statements that write projections, over the rows of a batch (see ``bulk``)."""

from __future__ import annotations

from engine.books.bulk import Bulk

FACTS_NEW = Bulk.of(
    "tenant text, cell bigint, epoch bigint, seq bigint, type text, act text, fingerprint text,"
    " at_ms bigint, digest text, body text",
    "INSERT INTO facts (tenant, cell, epoch, seq, type, act, fingerprint, at_ms, digest, body)"
    " SELECT tenant, cell, epoch, seq, type, act, fingerprint, at_ms, digest, body FROM v"
    " WHERE tenant = {tenant}"
    " ON CONFLICT (tenant, cell, epoch, seq) DO NOTHING RETURNING epoch, seq",
)
USERS_PUT = Bulk.of(
    "user_id text, tier text, tier_until_ms bigint, frozen bigint, version bigint",
    "INSERT INTO users (tenant, user_id, tier, tier_until_ms, frozen, version)"
    " SELECT {tenant}, user_id, tier, tier_until_ms, frozen, version FROM v WHERE true"
    " ON CONFLICT (tenant, user_id) DO UPDATE SET tier = excluded.tier,"
    " tier_until_ms = excluded.tier_until_ms, frozen = excluded.frozen,"
    " version = excluded.version WHERE users.version < excluded.version",
)
MEMBERS_PUT = Bulk.of(
    "audience_id text, user_id text, present bigint, version bigint",
    "INSERT INTO audience_members (tenant, audience_id, user_id, present, version)"
    " SELECT {tenant}, audience_id, user_id, present, version FROM v WHERE true"
    " ON CONFLICT (tenant, audience_id, user_id) DO UPDATE SET present = excluded.present,"
    " version = excluded.version WHERE audience_members.version < excluded.version",
)
STOCK_MOVES_PUT = Bulk.of(
    "cell bigint, what text, item text, direction text, peer bigint, total bigint",
    "INSERT INTO stock_moves (tenant, cell, what, item, direction, peer, total)"
    " SELECT {tenant}, cell, what, item, direction, peer, total FROM v WHERE true"
    " ON CONFLICT (tenant, cell, what, item, direction, peer) DO UPDATE SET"
    " total = excluded.total WHERE stock_moves.total < excluded.total",
)
COUPONS_SET = Bulk.of(
    "id text, state text, redemption_id text, changed_ms bigint, version bigint",
    "UPDATE coupons SET state = v.state, redemption_id = v.redemption_id,"
    " changed_ms = v.changed_ms, version = v.version FROM v"
    " WHERE coupons.tenant = {tenant} AND coupons.id = v.id AND coupons.version < v.version",
)
# Only those that this hold still holds: others moved on when its time had passed.
COUPONS_FREE = Bulk.of(
    "id text, changed_ms bigint, version bigint",
    "UPDATE coupons SET state = 'issued', redemption_id = NULL, changed_ms = v.changed_ms,"
    " version = v.version FROM v JOIN redemption_coupons AS used"
    " ON used.tenant = {tenant} AND used.redemption_id = v.id"
    " WHERE coupons.tenant = {tenant} AND coupons.id = used.coupon_id"
    " AND coupons.redemption_id = v.id AND coupons.state = 'held'"
    " AND coupons.version < v.version",
)
# Of several uses: they keep their state until nothing is left; withdrawn or given on
# is that. -1 = as is.
COUPONS_USE = Bulk.of(
    "id text, state text, used bigint, spent bigint, changed_ms bigint, version bigint",
    "UPDATE coupons SET"
    " state = CASE WHEN coupons.state IN ('voided', 'refunded', 'transferred')"
    " THEN coupons.state"
    " ELSE v.state END,"
    " used = CASE WHEN v.used < 0 THEN coupons.used ELSE v.used END,"
    " spent = CASE WHEN v.spent < 0 THEN coupons.spent ELSE v.spent END,"
    " changed_ms = v.changed_ms,"
    " version = CASE WHEN coupons.version < v.version THEN v.version ELSE coupons.version END"
    " FROM v WHERE coupons.tenant = {tenant} AND coupons.id = v.id",
)
REDEMPTIONS_DROP = Bulk.of(  # a commit carries the whole redemption again
    "id text", "DELETE FROM redemptions WHERE tenant = {tenant} AND id IN (SELECT id FROM v)"
)
PARTS_DROP = Bulk.of(
    "id text",
    "DELETE FROM redemption_coupons WHERE tenant = {tenant}"
    " AND redemption_id IN (SELECT id FROM v)",
)
REDEMPTIONS_RELEASE = Bulk.of(
    "id text, changed_ms bigint, version bigint",
    "UPDATE redemptions SET state = 'released', version = v.version FROM v"
    " WHERE redemptions.tenant = {tenant} AND redemptions.id = v.id"
    " AND redemptions.state = 'held' AND redemptions.version < v.version",
)
REDEMPTIONS_BACK = Bulk.of(
    "id text, back bigint, refund bigint, whole bigint, version bigint, tendered bigint",
    "UPDATE redemptions SET discount_back = redemptions.discount_back + v.back,"
    " tendered_back = redemptions.tendered_back + v.tendered,"
    " refunded = redemptions.refunded + v.refund,"
    " state = CASE WHEN v.whole = 1 THEN 'reversed' ELSE redemptions.state END,"
    " version = v.version FROM v"
    " WHERE redemptions.tenant = {tenant} AND redemptions.id = v.id",
)
PARTS_BACK = Bulk.of(
    "redemption_id text, coupon_id text, back bigint, tendered bigint, points bigint",
    "UPDATE redemption_coupons SET discount_back = redemption_coupons.discount_back + v.back,"
    " tendered_back = redemption_coupons.tendered_back + v.tendered,"
    " points_back = redemption_coupons.points_back + v.points"
    " FROM v WHERE redemption_coupons.tenant = {tenant}"
    " AND redemption_coupons.redemption_id = v.redemption_id"
    " AND redemption_coupons.coupon_id = v.coupon_id",
)
