"""What settlement needs of a campaign's terms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

MALL = "mall"
STORED_VALUE = "stored_value"
WHOLE = 10_000  # 100 % in hundredths of a percent


class LedgerError(ValueError):
    """A fact that cannot be put into the books; the text says why."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What settlement needs of a campaign's terms; percentages in hundredths of a percent."""

    funding: tuple[tuple[str, int], ...]  # (party, percent) as named; "redeeming" = who redeems
    commission: int = 0
    uses: int = 1  # of a pass
    breakage: str = MALL  # whose the excess is: the mall's, or the redeeming "merchant"'s
    value: int = 0  # of stored value, when it was issued


def read_terms(body: Mapping[str, Any]) -> Terms:
    """Settlement's part of a campaign's body (CONTRACT.md section 2); LedgerError when malformed.

    ``funding`` absent or null: the mall bears all.
    """
    funding = body.get("funding")
    if funding is None:
        funding = {MALL: 100}
    if isinstance(funding, Mapping):
        pairs = [("redeeming" if p == "merchant" else p, share) for p, share in funding.items()]
    else:
        pairs = [(part["party"], part["percent"]) for part in funding]
    shares = tuple((str(party), _hundredths(percent)) for party, percent in pairs)
    if sum(percent for _, percent in shares) != WHOLE:
        raise LedgerError(f"funding adds up to something else than 100 %: {funding}")
    settlement = body.get("settlement") or {}
    uses = (body.get("usage") or {}).get("uses") or 1
    commission = _hundredths(settlement.get("commission_percent") or 0)
    value = body["benefit"]["amount"] if body.get("kind") == STORED_VALUE else 0
    return Terms(shares, commission, uses, settlement.get("breakage") or MALL, value)


def _hundredths(percent: object) -> int:
    try:
        exact = Decimal(str(percent)) * 100
    except InvalidOperation:
        raise LedgerError(f"not a percentage: {percent!r}") from None
    if exact != exact.to_integral_value() or not 0 <= exact <= WHOLE:
        raise LedgerError(f"not a percentage with at most two decimals: {percent!r}")
    return int(exact)
