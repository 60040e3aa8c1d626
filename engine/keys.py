"""Every key and id, spelled once. The same spellings in Lua: ``engine/lua/lib/keys.lua``.

A cell's keys all carry its tag, so one act touches one slot:

==================== ====== ===============================================================
``{tag}:cell``       hash   epoch, seq, definitions (stores ``s<id>``, lots ``l<id>``,
                            ``settings``), ``v<store>``, ``v<store>/<campaign>``
                            validations of the day
``{tag}:facts``      stream the outbox: entries ``<epoch>-<last seq>``, field ``f``
``{tag}:w:<h>``      hash   a wallet: ``u`` user, ``C<serial>`` coupons, ``n<campaign>`` counts,
                            ``a<audience>`` memberships, ``h<store>/<order_ref>`` open hold,
                            ``p`` points, ``q`` open orders, ``t`` coupons on their way here
``{tag}:g:<id>``     hash   a campaign's share: issue, t<revision>, left, issued, redeemed, …
``{tag}:o:<id>``     zset   open holds on a campaign that has a budget or a limit of uses
``{tag}:h:<id>``     string who was given a coupon of it, in order: beginnings of handles
``{tag}:frozen``     set    handles of frozen members
``{tag}:r:<h><s>``   string a redemption (records.RedemptionRecord)
``{tag}:p:<h><s>``   string an entry of points (records.EntryRecord)
``{tag}:points``     zset   people by the time their next lot of points expires, for the sweeper
``{tag}:b:<h><s>``   string a purchase (records.PurchaseRecord)
``{tag}:t:<h>``      string whose purchase a transaction is: ``h`` stands for its id
``{tag}:q:<h><s>``   string an order (records.OrderRecord)
``{tag}:l:<id>``     zset   open orders of a campaign by the time they lapse: ``<h><s>:<quantity>``
``{tag}:orders``     zset   open orders by the time they lapse, for the sweeper
``{tag}:x:<id>``     list   codes of a third party that are still to be given out
``{tag}:z:<c>:<id>`` list   such codes on their way to cell ``c``, the last sent last
``{tag}:sent``       zset   what was sent to other cells (``to:what:id``) by when
``{tag}:c:<h><s>``   string an attempt at a gate (checkin_records.CheckInRecord)
``{tag}:j:<h><s>``   string who came and went with a ticket (AttendanceRecord)
``{tag}:e:<id>``     hash   an event's quotas: ``s<quota>`` share, ``m<quota>`` moved here from
                            other cells, ``u<quota>`` used, ``v<quota>`` version,
                            ``o<quota>`` sent, ``i<quota>`` received, ``k<quota>`` kept
``{tag}:m:<e>/<q>``  zset   open orders of a quota: ``<h><s>:<quantity>:<campaign>``
``{tag}:n:<id>``     zset   a campaign's waiting line: handles by priority, then place
``{tag}:u:<id>``     hash   version, last, why, named of the line; ``e<h>`` who joined it
``{tag}:lines``      zset   campaigns whose line is open, all of score 0
``{tag}:v:<h>``      string a vehicle; ``h`` stands for its plate (parking/records.py, as below)
``{tag}:s:<h>``      string a stay; ``h`` stands for its lot and session
``{tag}:k:<h>``      string a pocket: validations given to a stay, a plate or a person
``{tag}:a:<h><s>``   string what an Idempotency-Key is used for; 60 days (notes.py)
``{tag}:y:<h><s>``   string how a person paid for a stay (parking/records.StayUse)
``{tag}:d:<h>``      string stays of the day that a person's tier was used for
``{tag}:holds``      zset   open holds by the time they lapse (``<h><s>``), for the sweeper
``{tag}:i:<h><s>``   string a gift (gift_records.GiftRecord)
``{tag}:gifts``      zset   open gifts by the time they lapse, for the sweeper
``{tag}:takes``      zset   coupons on their way to somebody by the time they were asked for
==================== ====== ===============================================================

Ids: coupon ``C``, redemption ``R``, reversal ``V``, order ``O``, entry of points ``P``,
validation ``K``, gift and group ``G``, check-in ``I``, place in a waiting line ``W``, each +
handle (16) + serial (11) in Base32.
The handle names the cell, so every id and every scanned code goes straight to its slot.
"""

from __future__ import annotations

from functools import lru_cache

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
HANDLE_LENGTH = 16
SERIAL_LENGTH = 11
HOLDER_LENGTH = 6  # of a handle, where a campaign lists who was given one: 30 bits
ID_LENGTH = 1 + HANDLE_LENGTH + SERIAL_LENGTH
WINDOW_MS = 30 * 86_400_000
SLOTS = 16384
PRINTED = "print/"  # begins the owner's name of a printed coupon; no user id holds a "/"

_VALUES = {char: value for value, char in enumerate(ALPHABET)}
_ALPHABET_SET = frozenset(ALPHABET)


def handle_value(handle: str) -> int:
    """The 80-bit number that a handle spells; KeyError on a foreign character."""
    value = 0
    for char in handle:
        value = value << 5 | _VALUES[char]
    return value


def cell_of(handle: str, cells: int) -> int:
    """The cell that holds all live state of this person."""
    return handle_value(handle) % cells if cells > 1 else 0


def make_id(kind: str, handle: str, serial: str) -> str:
    """``kind``: the letter of such an id."""
    return kind + handle + serial


def ids_between(kind: str, handle: str) -> tuple[str, str]:
    """The first and the last id of that kind that a person can have."""
    return make_id(kind, handle, "0" * SERIAL_LENGTH), make_id(kind, handle, "Z" * SERIAL_LENGTH)


def split_id(kind: str, text: str) -> tuple[str, str] | None:
    """(handle, serial) of an id of that kind; None when it is not one."""
    if len(text) != ID_LENGTH or text[0] != kind or not _ALPHABET_SET.issuperset(text[1:]):
        return None
    return text[1 : 1 + HANDLE_LENGTH], text[1 + HANDLE_LENGTH :]


def window_of(now_ms: int) -> int:
    """The 30-day window that an id made now is derived in."""
    return now_ms // WINDOW_MS


def crc16(data: bytes) -> int:
    """CRC-16/XMODEM, as Redis Cluster hashes keys to slots (redis.io, cluster specification)."""
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021) & 0xFFFF if crc & 0x8000 else crc << 1
    return crc


@lru_cache(maxsize=4096)
def cell_tag(tenant: str, cell: int, cells: int) -> str:
    """The hash tag of a cell, braces included, chosen so that cells spread evenly over the slots.

    The tag is ``{tenant.cell}`` where one cell is all there is; else ``{tenant.cell.n}`` with the
    smallest n whose slot lies in the cell's own part of the slot range.
    """
    if cells == 1:
        return f"{{{tenant}.0}}"
    low, high = cell * SLOTS // cells, (cell + 1) * SLOTS // cells
    n = 0
    while not low <= crc16(f"{tenant}.{cell}.{n}".encode()) % SLOTS < high:
        n += 1
    return f"{{{tenant}.{cell}.{n}}}"


def cell_key(tag: str) -> str:
    """Hash: epoch, seq and the definitions of a cell."""
    return f"{tag}:cell"


def facts_key(tag: str) -> str:
    """Stream: the outbox of a cell."""
    return f"{tag}:facts"


def wallet_key(tag: str, handle: str) -> str:
    """Hash: one person's live state."""
    return f"{tag}:w:{handle}"


def campaign_key(tag: str, campaign_id: str) -> str:
    """Hash: a campaign's share in this cell."""
    return f"{tag}:g:{campaign_id}"


def pool_key(tag: str, campaign_id: str) -> str:
    """List: codes of a third party that are still to be given out."""
    return f"{tag}:x:{campaign_id}"


def moving_key(tag: str, to: int, campaign_id: str) -> str:
    """List: such codes on their way to another cell, the last sent last."""
    return f"{tag}:z:{to}:{campaign_id}"


def redemption_key(tag: str, handle: str, serial: str) -> str:
    """String: one redemption."""
    return f"{tag}:r:{handle}{serial}"


def opens_key(tag: str, campaign_id: str) -> str:
    """Sorted set: open holds on a limited campaign by the time they lapse."""
    return f"{tag}:o:{campaign_id}"


def holders_key(tag: str, campaign_id: str) -> str:
    """String: who was given a coupon of a campaign, HOLDER_LENGTH characters of a handle each."""
    return f"{tag}:h:{campaign_id}"


def frozen_key(tag: str) -> str:
    """Set: handles of the frozen members of a cell."""
    return f"{tag}:frozen"


def holds_key(tag: str) -> str:
    """Sorted set: open holds by the time they lapse."""
    return f"{tag}:holds"


def points_key(tag: str, handle: str, serial: str) -> str:
    """String: one entry of points."""
    return f"{tag}:p:{handle}{serial}"


def points_due_key(tag: str) -> str:
    """Sorted set: people by the time their next lot of points expires."""
    return f"{tag}:points"


def purchase_key(tag: str, handle: str, serial: str) -> str:
    """String: one purchase of a person."""
    return f"{tag}:b:{handle}{serial}"


def transaction_key(tag: str, handle: str) -> str:
    """String: whose purchase a transaction is; ``handle`` stands for the transaction's id."""
    return f"{tag}:t:{handle}"


def order_key(tag: str, handle: str, serial: str) -> str:
    """String: one order."""
    return f"{tag}:q:{handle}{serial}"


def orders_key(tag: str) -> str:
    """Sorted set: open orders by the time they lapse."""
    return f"{tag}:orders"


def pending_key(tag: str, campaign_id: str) -> str:
    """Sorted set: open orders of a campaign by the time they lapse."""
    return f"{tag}:l:{campaign_id}"


def sent_key(tag: str) -> str:
    """Sorted set: stock that was sent to other cells (``to:what:id``) by when, for the sweeper."""
    return f"{tag}:sent"


def checkin_key(tag: str, handle: str, serial: str) -> str:
    """String: one attempt at a gate."""
    return f"{tag}:c:{handle}{serial}"


def attendance_key(tag: str, handle: str, serial: str) -> str:
    """String: who came and went with a ticket; ``serial`` is its own."""
    return f"{tag}:j:{handle}{serial}"


def quotas_key(tag: str, event_id: str) -> str:
    """Hash: the quotas of an event."""
    return f"{tag}:e:{event_id}"


def lapsing_key(tag: str, event_id: str, quota_id: str) -> str:
    """Sorted set: open orders of a quota by the time they lapse."""
    return f"{tag}:m:{event_id}/{quota_id}"


def line_key(tag: str, campaign_id: str) -> str:
    """Hash: a campaign's waiting line and who joined it; ``line_order_key`` has their order."""
    return f"{tag}:u:{campaign_id}"


def line_order_key(tag: str, campaign_id: str) -> str:
    """Sorted set: who waits for a campaign, first come first."""
    return f"{tag}:n:{campaign_id}"


def lines_key(tag: str) -> str:
    """Sorted set: campaigns whose waiting line is open."""
    return f"{tag}:lines"


def note_key(tag: str, handle: str, serial: str) -> str:
    """String: what an Idempotency-Key is used for; ``serial`` stands for the key."""
    return f"{tag}:a:{handle}{serial}"


def vehicle_key(tag: str, handle: str) -> str:
    """String: a vehicle; ``handle`` stands for its plate."""
    return f"{tag}:v:{handle}"


def stay_key(tag: str, handle: str) -> str:
    """String: a stay; ``handle`` stands for its lot and session."""
    return f"{tag}:s:{handle}"


def pocket_key(tag: str, handle: str) -> str:
    """String: validations given to a stay, a plate or a person."""
    return f"{tag}:k:{handle}"


def stay_use_key(tag: str, handle: str, serial: str) -> str:
    """String: how a person paid for a stay; ``serial`` stands for the stay."""
    return f"{tag}:y:{handle}{serial}"


def gift_key(tag: str, handle: str, serial: str) -> str:
    """String: one gift."""
    return f"{tag}:i:{handle}{serial}"


def gifts_key(tag: str) -> str:
    """Sorted set: open gifts by the time they lapse."""
    return f"{tag}:gifts"


def takes_key(tag: str) -> str:
    """Sorted set: coupons on their way to somebody by the time they were asked for."""
    return f"{tag}:takes"


def tier_use_key(tag: str, handle: str) -> str:
    """String: stays of the day that a person's tier was used for."""
    return f"{tag}:d:{handle}"
