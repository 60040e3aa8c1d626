"""One class an act: what a script is asked to do, as data (MessagePack arrays, in field order).

Common fields: ``handle`` names the wallet; ``now`` is 0 (the server's clock decides) or, on a
rehearsal server, Unix ms; ``offset`` is the tenant's UTC offset in ms at the time of the act;
``window`` is the 30-day window that ``serial`` was derived in, ``serial_before`` belongs to the
window before; ``fingerprint`` tells one request from another under the same key; ``who`` is JSON
that goes into the fact untouched (key id, label, role, actor, staff, request id).
The header of each script names the same fields in the same order; a test holds them together.
"""

from __future__ import annotations

import msgspec


class Operation(msgspec.Struct, array_like=True, frozen=True, kw_only=True):
    """Base of all: the first fields of every operation."""

    handle: str
    now: int


class Command(Operation, frozen=True, kw_only=True):
    """Base of those whose facts say who did it."""

    who: str


class Claim(Command, frozen=True, kw_only=True):
    """Claim one coupon of a campaign for a user."""

    user_id: str
    campaign_id: str
    channel: str
    serial: str
    serial_before: str
    window: int
    fingerprint: str
    offset: int
    extra: str  # JSON {"source"?, "metadata"?} kept with the coupon, or ""
    source: str  # JSON object or "", for the fact
    metadata: str  # JSON object or "", for the fact


class Shut(msgspec.Struct, array_like=True, frozen=True, kw_only=True):
    """Promise that nobody is given a coupon of a campaign for a moment; of no wallet."""

    campaign_id: str
    offset: int
    known: int  # characters of the list of holders that are known
    freezes: int  # of the cell, when its frozen members were told; -1 = never
    lasts: int = 100  # ms that "sold out" may last: other cells may have some by then


class StockSend(msgspec.Struct, array_like=True, frozen=True, kw_only=True):
    """Send part of a cell's stock of a campaign, or of a quota, to another; of no wallet."""

    now: int
    what: str  # stock or quota
    id: str  # campaign, or event/quota
    to: int  # cell
    sent: int  # there so far, in all: another number means that another was faster
    wanted: int  # at least, if there is so much; else half of it


class StockReceive(msgspec.Struct, array_like=True, frozen=True, kw_only=True):
    """Receive what another cell has sent; of no wallet."""

    now: int
    what: str
    id: str
    sender: int  # cell
    total: int  # that it has ever sent here
    wanted: int  # here at once: so much is not sent on for a moment
    codes: list[str] | None = None  # of third parties, the last sent last; None = not asked for


class Profile(Command, frozen=True, kw_only=True):
    """Tell a user's tier and whether they are frozen; what is None stays as it is."""

    user_id: str
    tier: str | None
    tier_until: int | None
    frozen: int | None


class Member(Command, frozen=True, kw_only=True):
    """Put a user into an audience or take them out."""

    user_id: str
    audience_id: str
    present: int


class Presented(msgspec.Struct, array_like=True, frozen=True):
    """A coupon as a till presents it."""

    serial: str
    step: int = 0  # full step of a rotating code; 0 when named by id or static code
    stale: int = 0  # 1: an authentic code that is too old


class Redeem(Command, frozen=True, kw_only=True):
    """Redeem or hold coupons of one wallet for one basket."""

    serial: str
    serial_before: str
    window: int
    fingerprint: str
    offset: int
    coupons: list[Presented]
    member_step: int  # full step of the member code that named the person, 0 without
    member_stale: int
    store_id: str
    terminal_id: str
    staff_id: str
    channel: str
    order_ref: str
    amount: int
    lines: msgspec.Raw  # text that is packed: [(id, amount, quantity, sku, category), …]
    hold_seconds: int  # 0 = redeem at once
    all_or_nothing: int  # 1 = policy "all"
    expected: int = -1  # what it takes off, else WALLET_MOVED: of a set that was searched
    expected_tendered: int = 0  # and what is then paid with stored value and points
    points: int = 0  # to pay with, last; -1 = as many as are useful
    skipped: list[tuple[str, int, int]] = []  # of a wallet that was searched: serial, why, short by


class Finish(Command, frozen=True, kw_only=True):
    """Release a hold."""

    redemption: str  # serial of the redemption
    key: str  # digest of the Idempotency-Key
    fingerprint: str
    store_id: str  # the store the caller is bound to, "" when to none


class Commit(Finish, frozen=True, kw_only=True):
    """Commit a hold."""

    amount: int = -1  # what was tendered at last, -1 = all that was held


class Reverse(Command, frozen=True, kw_only=True):
    """Reverse a redemption, whole or by line."""

    redemption: str
    serial: str  # of the reversal
    serial_before: str
    window: int
    fingerprint: str
    reason: str
    lines: list[tuple[str, int]] | None  # (line id, gross amount returned); None = all left
    restore: int
    store_id: str  # the store the caller is bound to, "" when to none


class Void(Command, frozen=True, kw_only=True):
    """Withdraw a coupon that is not used."""

    serial: str
    key: str
    fingerprint: str
    reason: str


class Lapse(Command, frozen=True, kw_only=True):
    """Tell the books that a hold's time has passed (the sweeper; the clock decided long ago)."""

    redemption: str


class Reserve(Command, frozen=True, kw_only=True):
    """Order coupons: set aside until they are paid, or until the time is over."""

    user_id: str
    serial: str
    serial_before: str
    window: int
    fingerprint: str
    offset: int
    items: list[tuple[str, int]]  # campaign, quantity; each campaign once
    hold_seconds: int
    channel: str
    source: str  # JSON object or ""
    head: int = 0  # 1: whoever it is for is at the head of the waiting line
    spare: list[str] | None = None  # of an offer: serials for what a claim takes beside its own
    waits: int = 0  # 1: it is paid once its group has formed


class Ready(Command, frozen=True, kw_only=True):
    """The group of an order has formed."""

    order: str
    pay_seconds: int  # how long it may be paid from now on, if it has not lapsed


class Pay(Command, frozen=True, kw_only=True):
    """An order was paid: issue its coupons."""

    order: str  # serial
    key: str
    fingerprint: str
    payment_ref: str
    paid_amount: int
    serials: list[str]  # of coupons, more than any order needs
    offset: int


class Cancel(Command, frozen=True, kw_only=True):
    """Cancel an order that is not paid."""

    order: str
    key: str
    fingerprint: str
    group: int = 0  # 1: its group did not form


class Unpaid(Command, frozen=True, kw_only=True):
    """Tell the books that an order's time has passed (the sweeper; the clock decided long ago)."""

    order: str


class Repay(Command, frozen=True, kw_only=True):
    """Send back what was paid for what is unused of a coupon."""

    serial: str  # of the coupon
    key: str
    fingerprint: str
    refund_ref: str
    reason: str
    entry: str  # serial of the entry of points, where points come back


class Unrepay(Command, frozen=True, kw_only=True):
    """The money of a refund could not be sent: give the coupon back."""

    serial: str
    key: str
    refund_ref: str
    offset: int
    entry: str  # serial of the entry of points, where points are taken again


class CheckIn(Command, frozen=True, kw_only=True):
    """A ticket at a gate, in or out."""

    serial: str  # of the attempt: from the gate and the nonce of the scan
    serial_before: str
    window: int
    fingerprint: str
    offset: int
    tickets: list[Presented]  # the one that was scanned, or a member's, the likeliest first
    member_step: int  # full step of the member code that named the person, 0 without
    member_stale: int
    event_id: str  # the gate's, "" = any
    gate: str
    out: int  # 0 in, 1 out
    staff_id: str
    store_id: str  # the caller's own, "" when bound to none
    scanned: int  # ms by the gate's clock, of what happened while it could not ask; 0 = now


class Credit(Command, frozen=True, kw_only=True):
    """Make an entry of points: earn, spend, adjust."""

    user_id: str
    kind: str
    points: int  # signed: what the balance changes by
    reason: str
    ref: str
    available: int  # ms; 0 = now
    expires: int  # ms; 0 = never
    serial: str
    serial_before: str
    window: int
    fingerprint: str


class Undo(Command, frozen=True, kw_only=True):
    """Reverse an entry of points, in part or whole."""

    entry: str  # serial
    points: int  # -1 = all that is left
    policy: str
    reason: str
    serial: str
    serial_before: str
    window: int
    fingerprint: str


class Expire(Operation, frozen=True, kw_only=True):
    """Tell the books which lots of points have expired (the sweeper)."""


class Named(Operation, frozen=True, kw_only=True):
    """Say whose purchase a transaction is; ``handle`` stands for the transaction."""

    user_id: str
    store_id: str  # must exist; "" = not asked


class Buy(Command, frozen=True, kw_only=True):
    """Take in a purchase; ``serial`` derives from its transaction."""

    key: tuple[str, str, str]  # its serial, that of the window before, and what it is used for
    serial: str
    user_id: str
    transaction_id: str
    store_id: str
    amount: int
    occurred: int
    day: int  # number of the local day of ``occurred``
    offset: int
    channel: str
    receipt_no: str
    fingerprint: str


class Refund(Command, frozen=True, kw_only=True):
    """Take in a refund of a purchase."""

    key: tuple[str, str, str]  # as Buy.key
    serial: str
    user_id: str
    transaction_id: str
    refund_id: str
    amount: int


class Vehicle(Command, frozen=True, kw_only=True):
    """Say whose car a plate is; ``handle`` stands for the plate."""

    plate: str
    user_ids: list[str]  # [] = nobody's any more
    anyones: int  # 1: also where it belongs to others, none of whom stays


class Attend(Command, frozen=True, kw_only=True):
    """A car entered, a stay found its person, or it left; ``handle`` stands for the stay."""

    what: str  # entered | owned | left
    lot_id: str
    session_id: str
    plate: str  # "" = not known
    entered: int
    exited: int  # of what = left
    user_id: str  # of what = owned, as is
    owner: str  # their handle


class Amend(Command, frozen=True, kw_only=True):
    """Correct the plate of a stay, or take money off by hand; ``handle`` stands for the stay."""

    what: str  # plate | override
    serial: str
    serial_before: str
    window: int
    fingerprint: str
    plate: str
    owner: str  # of what = plate: whose holds were released, "" = nobody's
    keep: int  # 1: that person stays (something was committed)
    amount: int
    reason: str
    staff_id: str


class Validate(Command, frozen=True, kw_only=True):
    """A shop gives parking to a stay, a plate or a person; ``handle`` stands for which."""

    serial: str
    serial_before: str
    window: int
    fingerprint: str
    offset: int
    stay: int  # 1: handle is a stay's, which must be open
    lot_id: str
    session_id: str
    plate: str
    user_id: str
    campaign_id: str
    store_id: str
    per_day: int  # what a store may give a day, over all cells; -1 = unlimited


class Pocket(Operation, frozen=True, kw_only=True):
    """The validations of a stay, a plate or a person that a stay has or may take."""

    stay: str  # handle of the stay
    take: int  # 1: from now on they are that stay's


class Park(Command, frozen=True, kw_only=True):
    """Quote, hold or commit what is taken off the fee of a stay; ``handle``: whose it is.

    A stay of nobody is paid under its own handle, with ``user_id`` "". -1 = unlimited.
    """

    mode: int  # 0 quote, 1 hold, 2 commit
    user_id: str
    use: str  # serial of the stay in the person's cell
    serial: str  # of the redemption that is made
    attempt: int  # how many under this fee_id came before it and ended unused
    fingerprint: str
    offset: int
    lot_id: str
    merchant_id: str  # the lot's operator
    session_id: str
    fee_id: str
    order_ref: str
    staff_id: str
    channel: str
    fee_total: int
    already_paid: int
    as_of: int
    leave_ms: int  # how long the car may stay once it is paid for
    hold_seconds: int
    worth: list[tuple[int, int]] | None  # (minutes, fen) by the tariff; None = it is not known
    coupons: list[Presented]
    member_step: int
    member_stale: int
    all_or_nothing: int
    searched: int  # 1: the coupons were searched, not named; any refusal is WALLET_MOVED
    expected: int  # what they must take off then, -1 = whatever it is
    # type, id, minutes, fen (-1 = all), bearer, campaign
    given: list[tuple[str, str, int, int, str, str]]
    tiers: list[tuple[str, int, int, int]]  # tier, minutes, fen, stays a day
    spend: list[tuple[int, int, int]]  # least sum of receipts, minutes, fen
    bearer: str  # of both
    receipts: list[tuple[str, str]]  # transaction id, serial of the purchase
    caps: tuple[int, int, int, int]  # a stay's coupons, minutes, fen, points
    points: int  # -1 = as many as are useful, 0 = none
    before: tuple[int, int, int]  # minutes, fen and coupons that the stay had as nobody's
    vendor: list[tuple[str, int]] | None  # (type or coupon serial, fen): the vendor's own amounts


class Gift(Command, frozen=True, kw_only=True):
    """Offer a coupon as a gift."""

    coupon: str  # serial
    serial: str
    serial_before: str
    window: int
    fingerprint: str
    seconds: int  # how long it may be taken


class Endgift(Command, frozen=True, kw_only=True):
    """End an open gift: taken back, declined, lapsed."""

    gift: str  # serial
    state: int  # gift_records.GiftState


class Ask(Command, frozen=True, kw_only=True):
    """Ask for a coupon that is given on: whether this person may have it."""

    user_id: str
    serial: str
    serial_before: str
    window: int
    fingerprint: str
    offset: int
    campaign_id: str
    source: str  # id of the coupon
    gift: str  # serial, "" of a printed coupon


class Send(Command, frozen=True, kw_only=True):
    """Let a coupon go to the first who asks for it."""

    coupon: str  # serial
    gift: str  # serial, "" of a printed coupon
    to_user: str
    to_coupon: str  # id of the coupon that it goes on as


class Receive(Command, frozen=True, kw_only=True):
    """Put a coupon that was given on into the wallet (``won`` 1), or give up asking for it."""

    user_id: str
    serial: str
    won: int
    source: str
    campaign_id: str
    fingerprint: str
    offset: int
    terms_revision: int
    valid_from: int
    valid_until: int  # 0 = no end
    channel: str
    extra: str  # JSON kept with the coupon, or ""
    told_source: str  # JSON object or "", for the fact
    told_metadata: str
    paid: int  # fen that were paid for it
    used: int  # uses and fen of it that are gone
    spent: int
