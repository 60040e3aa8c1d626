"""What lies in Redis of parking, as the scripts pack it; see ``engine/records.py``.

Plates and stays have handles of their own (``Parking.plate_handle``, ``stay_handle``), which name
their cells as a person's does. Times are Unix ms, money is fen, "" and 0 mean "none".
"""

from __future__ import annotations

import msgspec


class LotRecord(msgspec.Struct, array_like=True):
    """Field ``l<lot>`` of a cell's definitions."""

    version: int
    merchant_id: str  # its operator
    grace_minutes: int  # -1 = as the settings say


class VehicleRecord(msgspec.Struct, array_like=True):
    """Key ``v:<handle of the plate>``: whose car it is; the first one is asked first."""

    plate: str
    user_ids: list[str]


class CorrectionRecord(msgspec.Struct, array_like=True):
    """A plate that was read wrong, corrected."""

    serial: str
    fingerprint: str
    at: int
    before: str
    after: str


class OverrideRecord(msgspec.Struct, array_like=True):
    """What the booth takes off a stay by hand; the last one counts."""

    serial: str
    fingerprint: str
    at: int
    amount: int
    reason: str
    staff_id: str


class StayRecord(msgspec.Struct, array_like=True):
    """Key ``s:<handle of the stay>``: one session in one lot.

    ``user_id`` and ``owner`` (their handle): the person first recorded for it, who it stays with.
    """

    lot_id: str
    session_id: str
    plate: str
    entered: int
    recorded: int
    closed: int = 0  # when its exit was recorded
    exited: int = 0  # when the car left, as the lot says
    user_id: str = ""
    owner: str = ""
    corrections: list[CorrectionRecord] = []
    overrides: list[OverrideRecord] = []


class ValidationRecord(msgspec.Struct, array_like=True):
    """Parking that a shop gave, in the pocket of a stay, a plate or a person.

    Key ``k:<handle>`` holds a list of these. Its id is ``K`` + that handle + ``serial``.
    ``stay``: the handle of the stay that takes it, "" as long as none does; first wins.
    """

    serial: str
    fingerprint: str
    at: int
    campaign_id: str
    terms_revision: int
    store_id: str
    merchant_id: str  # who bears it: the store's merchant of that moment
    minutes: int
    amount: int  # fen at most, -1 = all of the fee; 0 where it gives minutes
    valid_from: int
    valid_until: int  # 0 = no end
    stay: str = ""


class StayPayment(msgspec.Struct, array_like=True):
    """One payment of a stay, by the vendor's ``fee_id``; what it took off is in its redemption."""

    fee_id: str
    serial: str  # of the redemption that stands under it, or stood last
    attempt: int  # how many under this fee_id ended unused before it
    fee_total: int
    already_paid: int
    already_deducted: int  # by earlier payments of the stay
    leave_by: int
    untold: int = 0  # 1: minutes of it are worth what the vendor says at the commit


class StayUse(msgspec.Struct, array_like=True):
    """Key ``y:<handle><serial>``: how a person pays for one stay, in the person's cell."""

    lot_id: str
    session_id: str
    payments: list[StayPayment] = []


class TierUse(msgspec.Struct, array_like=True):
    """Of the list at key ``d:<handle>``: a stay that a tier was used for."""

    day: int  # number of the local day
    use: str  # serial of the stay
    redemption: str  # serial; it counts while that stands
