"""The Lua loader: headers as contracts, includes flattened once, names put in at load.

A script is ``engine/lua/<verb>.lua``; the folder is the list. Its header comment says what it
does, its flags, the libraries it includes, its keys (in KEYS, or ``derived`` from them), its
arguments and outcomes. Libraries (``engine/lua/lib``) name what they include on their first line.
``OUTCOME.SOLD_OUT``, ``COUPON.state``, ``CLAIM.handle`` and the like become the numbers of
``engine/outcomes.py``, ``engine/records.py`` and ``engine/commands.py``: one list each, and an
unknown name fails at load.

Of a library a script carries only the functions that it can reach: each call makes them anew, and
Lua's collector walks through all that is loaded (a claim takes a fifth less time for it). So a
function of a library stands at the margin and is called by its name, ``library.name``.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from pathlib import Path

import msgspec

from engine import (
    checkin_records,
    commands,
    gift_records,
    line_commands,
    order_records,
    records,
    waiting_records,
)
from engine.outcomes import Outcome
from engine.parking import records as parking

LUA = Path(__file__).parent / "lua"

_ENUMS: dict[str, type[IntEnum]] = {
    "OUTCOME": Outcome,
    "COUPON_STATE": records.CouponState,
    "REDEMPTION_STATE": records.RedemptionState,
    "TENDER_KIND": records.TenderKind,
    "ORDER_STATE": order_records.OrderState,
    "GIFT_STATE": gift_records.GiftState,
    "WAITER_STATE": waiting_records.WaiterState,
}
_STRUCTS: dict[str, type[msgspec.Struct]] = {
    "COUPON": records.CouponRecord,
    "USER": records.UserRecord,
    "COUNT": records.CountRecord,
    "ISSUE": records.Issue,
    "RATE": records.RateRecord,
    "PROMISE": records.PromiseRecord,
    "USES": records.UsesRecord,
    "TERMS": records.Terms,
    "EVENT": records.EventTerms,
    "STORE": records.StoreRecord,
    "SETTINGS": records.SettingsRecord,
    "POINTS": records.PointsRecord,
    "PART": records.PointsLot,
    "POINTS_HOLD": records.PointsHold,
    "ENTRY": records.EntryRecord,
    "EARN": records.EarnRule,
    "SPECIAL": records.SpecialDays,
    "PURCHASE": records.PurchaseRecord,
    "BACK": records.PurchaseRefund,
    "LINE": records.Line,
    "SHARE": records.LineShare,
    "APPLIED": records.AppliedCoupon,
    "COUPON_HOLD": records.CouponHold,
    "TENDER": records.Tender,
    "DEDUCTION": records.Deduction,
    "REVERSAL": records.ReversalRecord,
    "ACT": records.Act,
    "REDEMPTION": records.RedemptionRecord,
    "ORDER": order_records.OrderRecord,
    "ITEM": order_records.OrderItem,
    "OPEN_ORDER": order_records.OpenOrder,
    "REFUNDED": order_records.RefundRecord,
    "GIVEN": gift_records.GiftRecord,
    "TAKE": gift_records.Take,
    "SCAN": checkin_records.CheckInRecord,
    "PASSING": checkin_records.Passing,
    "ATTENDANCE": checkin_records.AttendanceRecord,
    "WAITER": waiting_records.Waiter,
    "JOINED": waiting_records.Joined,
    "CLAIM": commands.Claim,
    "SHUT": commands.Shut,
    "STOCKSEND": commands.StockSend,
    "STOCKRECEIVE": commands.StockReceive,
    "PROFILE": commands.Profile,
    "MEMBER": commands.Member,
    "PRESENTED": commands.Presented,
    "REDEEM": commands.Redeem,
    "FINISH": commands.Finish,
    "COMMIT": commands.Commit,
    "REVERSE": commands.Reverse,
    "VOID": commands.Void,
    "LAPSE": commands.Lapse,
    "RESERVE": commands.Reserve,
    "PAY": commands.Pay,
    "READY": commands.Ready,
    "CANCEL": commands.Cancel,
    "UNPAID": commands.Unpaid,
    "REPAY": commands.Repay,
    "UNREPAY": commands.Unrepay,
    "GIFT": commands.Gift,
    "ENDGIFT": commands.Endgift,
    "ASK": commands.Ask,
    "SEND": commands.Send,
    "RECEIVE": commands.Receive,
    "LINEOPEN": line_commands.LineOpen,
    "LINEMARK": line_commands.LineMark,
    "NOTEKEY": line_commands.NoteKey,
    "LINEJOIN": line_commands.LineJoin,
    "LINELEAVE": line_commands.LineLeave,
    "LINEMOVE": line_commands.LineMove,
    "LINEREAD": line_commands.LineRead,
    "LOT": parking.LotRecord,
    "CAR": parking.VehicleRecord,
    "STAY": parking.StayRecord,
    "CORRECTION": parking.CorrectionRecord,
    "OVERRIDE": parking.OverrideRecord,
    "VALIDATION": parking.ValidationRecord,
    "PAYMENT": parking.StayPayment,
    "STAY_USE": parking.StayUse,
    "TIER_USE": parking.TierUse,
    "VEHICLE": commands.Vehicle,
    "ATTEND": commands.Attend,
    "AMEND": commands.Amend,
    "VALIDATE": commands.Validate,
    "POCKET": commands.Pocket,
    "PARK": commands.Park,
    "CHECKIN": commands.CheckIn,
    "CREDIT": commands.Credit,
    "UNDO": commands.Undo,
    "EXPIRE": commands.Expire,
    "NAMED": commands.Named,
    "BUY": commands.Buy,
    "REFUND": commands.Refund,
}
_NAME = re.compile(r"\b([A-Z][A-Z_]*)\.(\w+)\b")
_FUNCTION = re.compile(r"(?:local )?function ([\w.]+)\(")
_WORD = re.compile(r"[A-Za-z_]\w*(?:\.\w+)?")
_WHERE = re.compile(r"(?:user_script|@?f_\w+):(\d+)")


@dataclass(frozen=True, slots=True)
class Header:
    """What a script says of itself."""

    purpose: str
    flags: tuple[str, ...]
    include: tuple[str, ...]
    keys: tuple[str, ...]
    derived: tuple[str, ...]
    outcomes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Script:
    """A script ready to load: flattened source, its SHA-1 and where each line came from."""

    verb: str
    header: Header
    source: str
    sha: str
    lines: tuple[str, ...]  # "claim.lua:12" for each line of the source, from line 1

    def where(self, error: str) -> str:
        """The error with ``user_script:N`` replaced by the file and line it came from."""

        def place(match: re.Match[str]) -> str:
            number = int(match.group(1))
            return self.lines[number - 1] if 0 < number <= len(self.lines) else match.group(0)

        return _WHERE.sub(place, error)


def _number(match: re.Match[str]) -> str:
    table, name = match.groups()
    if table in _ENUMS:
        return str(int(_ENUMS[table][name]))
    if table in _STRUCTS:
        return str(_STRUCTS[table].__struct_fields__.index(name) + 1)
    return match.group(0)


def _named(line: str, place: str) -> str:
    try:
        return _NAME.sub(_number, line)
    except (KeyError, ValueError) as error:
        raise ValueError(f"{place}: unknown name ({error})") from None


def parse_header(text: str) -> Header:
    """The header of a script's text; ValueError when it has none."""
    match = re.match(r"--\[\[\n(.*?)\n\]\]", text, re.DOTALL)
    if not match:
        raise ValueError("a script opens with a --[[ header ]]")
    purpose, _, rest = match.group(1).partition("\n\n")
    sections: dict[str, str] = {}
    name = ""
    for line in rest.splitlines():
        head = re.match(r"(\w+):\s*(.*)", line)
        if head:
            name = head.group(1)
            sections[name] = head.group(2)
        else:
            sections[name] += "\n" + line.strip()

    def words(section: str) -> tuple[str, ...]:
        return (
            tuple(re.split(r"[\s,]+", sections.get(section, "").strip()))
            if sections.get(section, "").strip()
            else ()
        )

    def first_words(section: str, skip_number: bool) -> tuple[str, ...]:
        rows = [row.split() for row in sections.get(section, "").splitlines() if row.strip()]
        return tuple(row[1] if skip_number else row[0] for row in rows)

    return Header(
        purpose=purpose,
        flags=words("flags"),
        include=words("include"),
        keys=first_words("keys", True),
        derived=first_words("derived", False),
        outcomes=words("outcomes"),
    )


def _include(name: str, done: list[str], out: list[tuple[str, str]]) -> None:
    """Append a library, what it includes first, each once."""
    if name in done:
        return
    path = LUA / "lib" / f"{name}.lua"
    text = path.read_text(encoding="utf-8").splitlines()
    first = re.match(r"-- include: (.*)", text[0])
    for other in re.split(r"[\s,]+", first.group(1).strip()) if first else ():
        _include(other, done, out)
    done.append(name)
    out.extend((line, f"lib/{name}.lua:{n}") for n, line in enumerate(text, 1))


@cache
def load(verb: str) -> Script:
    """The script of a verb; ValueError when its header or a name in it is wrong."""
    text = (LUA / f"{verb}.lua").read_text(encoding="utf-8")
    header = parse_header(text)
    shebang = "#!lua" + (f" flags={','.join(header.flags)}" if header.flags else "")
    out: list[tuple[str, str]] = [(shebang, f"{verb}.lua:1")]
    done: list[str] = []
    for name in header.include:
        _include(name, done, out)
    out.extend((line, f"{verb}.lua:{n}") for n, line in enumerate(text.splitlines(), 1))
    body, comment = [], False
    for line, place in out:
        comment = comment or line.startswith("--[[")
        # The header is for people; it stays out of what every call compiles and hashes.
        body.append(("" if comment else _named(line, place), place))
        if line.startswith("]]"):
            comment = False
    kept = _reached([(line, at) for line, at in body if line.strip() and not _is_comment(line)])
    source = "\n".join(line for line, _ in kept) + "\n"
    sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
    return Script(verb, header, source, sha, tuple(place for _, place in kept))


def _reached(lines: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The lines without those functions of libraries that nothing else names."""
    chunks: list[tuple[str | None, list[tuple[str, str]]]] = []  # (name of a function, its lines)
    inside = False
    for line, place in lines:
        opens = _FUNCTION.match(line) if place.startswith("lib/") and not inside else None
        if opens or not inside:
            chunks.append((opens and opens.group(1), [(line, place)]))
        else:
            chunks[-1][1].append((line, place))
        ended = line == "end" or (opens is not None and line.endswith(" end"))
        inside = (inside or opens is not None) and not ended
    words = [set(_WORD.findall("\n".join(line for line, _ in part))) for _, part in chunks]
    kept = {n for n, (name, _) in enumerate(chunks) if name is None}
    while True:
        named = set().union(*(words[n] for n in kept))
        more = {n for n, (name, _) in enumerate(chunks) if name in named} - kept
        if not more:
            return [line for n, (_, part) in enumerate(chunks) if n in kept for line in part]
        kept |= more


def _is_comment(line: str) -> bool:
    return line.lstrip().startswith("--")


def verbs() -> list[str]:
    """All verbs: the folder is the list."""
    return sorted(path.stem for path in LUA.glob("*.lua"))
