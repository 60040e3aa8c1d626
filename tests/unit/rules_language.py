"""Worked examples of the arithmetic as people write them; docs/RULES.md says how to read one.

The answers are rendered as text and compared with the lines that start with ``->``.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from engine.best import best
from engine.definitions import Campaign, checked, compile_terms, parse_time
from engine.outcomes import Outcome
from engine.records import (
    AppliedCoupon,
    CouponRecord,
    CouponState,
    Line,
    LineShare,
    PointsLot,
    PointsRecord,
    SettingsRecord,
    Tender,
)
from engine.rules import Candidate, Judgement, Scene, judge, reverse
from engine.tenders import purse_of

ZONE = ZoneInfo("Asia/Shanghai")
OFFSET = 8 * 3_600_000
NOW = "2026-01-05 12:00"  # a Monday

# Where a word of an example stands in a campaign.
PARTS = {
    "benefit": ("amount", "steps", "every", "max_amount", "percent_off", "sku", "item", "value"),
    "usage": ("min_spend", "min_spend_base", "min_quantity", "stores", "channels", "weekdays",
              "hours", "include", "exclude", "uses"),
    "stacking": ("class", "group", "group_limit", "per_redemption", "order", "base"),
}  # fmt: skip
PART_OF = {name: part for part, names in PARTS.items() for name in names}
LISTS = ("stores", "channels", "weekdays", "categories", "skus")

PLAIN: dict[str, Any] = {
    "id": "campaign",
    "name": "campaign",
    "kind": "coupon",
    "benefit": {"type": "amount_off", "amount": 1},
    "stock": {"total": 1000},
    "validity": {"type": "relative", "minutes": 10_080},
}


def ms(local: str) -> int:
    """Unix ms of a local ``2026-01-05 12:00`` or ``2026-01-05``."""
    moment = datetime.fromisoformat(local).replace(tzinfo=ZONE)
    return parse_time(moment.isoformat(timespec="seconds"))


def _value(name: str, text: str) -> Any:
    if name == "steps":
        pairs = [pair.split(":") for pair in text.split(",")]
        return [{"min": int(least), "amount": int(amount)} for least, amount in pairs]
    if name == "hours":
        return [span.split("-") for span in text.split(",") if span]
    if name in LISTS:
        return [_plain(item) for item in text.split(",") if item]
    return _plain(text)


def _plain(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def campaign(words: str, **more: Any) -> Campaign:
    """The campaign that ``amount_off amount=2000 min_spend=10000`` describes, checked."""
    benefit, *settings = words.split()
    body: dict[str, Any] = {**PLAIN, "benefit": {"type": benefit}}
    for setting in settings:
        path, _, text = setting.partition("=")
        name, _, member = path.partition(".")
        if name not in PART_OF:
            raise ValueError(f"unknown word: {setting}")
        part = body.setdefault(PART_OF[name], {})
        if member:
            part.setdefault(name, {})[member] = _value(member, text)
        else:
            part[name] = _value(name, text)
    if benefit == "stored_value":
        body["kind"] = "stored_value"
    elif body.get("usage", {}).get("uses", 1) > 1:
        body["kind"] = "pass"
    for part, told in more.items():
        body[part] = {**body.get(part, {}), **told} if part in ("usage", "stacking") else told
    return checked(body)


ABOUT_COUPON = (
    "campaign", "from", "until", "state", "step", "presented", "stale", "status", "used", "spent",
)  # fmt: skip


def coupon(name: str, words: str, now: int) -> Candidate:
    """One coupon, issued a day ago; words of ABOUT_COUPON are about it, the rest its terms."""
    about: dict[str, str] = {}
    terms = []
    for word in words.split():
        key, _, text = word.partition("=")
        if key in ABOUT_COUPON:
            about[key] = text
        else:
            terms.append(word)
    issued = now - 86_400_000
    record = CouponRecord(
        campaign_id=about.get("campaign", name),
        terms_revision=1,
        state=CouponState[about.get("state", "issued").upper()],
        issued=issued,
        valid_from=ms(about["from"].replace("T", " ")) - issued if "from" in about else 0,
        valid_until=ms(about["until"].replace("T", " ")) - issued if "until" in about else 0,
        fingerprint="f",
        channel="app",
        step=int(about.get("step", 0)),
        used=int(about.get("used", 0)),
        spent=int(about.get("spent", 0)),
        held_until=now + 1 if about.get("state") == "held" else 0,
    )
    return Candidate(
        name,
        record,
        compile_terms(campaign(" ".join(terms))),
        campaign_status=about.get("status", "active"),
        step=int(about.get("presented", 0)),
        stale="stale" in about,
    )


def lines_of(words: str) -> list[Line]:
    """``23800``, or lines ``id sku category xQUANTITY AMOUNT`` parted by commas; "" = no basket."""
    if not words:
        return []
    if words.isdigit():
        return [Line("1", int(words), 1, "", "")]
    lines = []
    for text in words.split(","):
        name, sku, category, quantity, amount = text.split()
        lines.append(Line(name, int(amount), int(quantity.removeprefix("x")), sku, category))
    return lines


class Example:
    """A basket, coupons and what is asked of them; ``answers`` says what came out."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.coupons: list[tuple[str, str]] = []
        self.scene = Scene(ms(NOW), OFFSET, "s1", "cashier")
        self.returns: list[str] = []
        self.best = False
        self.use = ["free"]
        self.asked, self.owned = "0", 0  # points to pay with, of so many
        self.settings = SettingsRecord(0)

    def tell(self, line: str) -> None:
        """One line of an example, without its comment."""
        word, _, rest = line.strip().partition(" ")
        rest = rest.strip()
        match word:
            case "basket":
                self.lines += lines_of(rest)
            case "coupon":
                name, _, words = rest.partition(" ")
                self.coupons.append((name, words))
            case "at":
                self.scene = replace(self.scene, now=ms(rest))
            case "store":
                self.scene = replace(self.scene, store_id=rest)
            case "channel":
                self.scene = replace(self.scene, channel=rest)
            case "floor":
                self.scene = replace(self.scene, payable_floor=int(rest))
            case "choose":
                self.best = rest.startswith("best")
                self.use = rest.split()[1:] or ["free"]
            case "points":
                self.asked, self.owned = rest.split()[0], int(rest.split()[-1])
            case "rate":
                self.settings.points_per_yuan = int(rest)
            case "points_cap":
                self.settings.points_max_per_redemption = int(rest)
            case "points_percent":
                self.settings.points_max_basis_points = round(float(rest) * 100)
            case "return":
                self.returns.append(rest)
            case "user":
                self.scene = replace(self.scene, user_frozen=rest == "frozen")
            case _:
                raise ValueError(f"unknown line: {line}")

    def judged(self) -> Judgement:
        candidates = [coupon(name, words, self.scene.now) for name, words in self.coupons]
        now = self.scene.now
        record = PointsRecord(self.owned, 0, [PointsLot("p", self.owned, 0, 0)])
        asked = -1 if self.asked == "all" else int(self.asked)
        purse = purse_of(asked, record, self.settings, now)
        if self.best:
            return best(candidates, self.lines, self.scene, use=self.use, purse=purse).judgement
        return judge(candidates, self.lines, self.scene, purse=purse)

    def answers(self) -> list[str]:
        judgement = self.judged()
        said = [self._applied(c.id, c.discount, c.value, c.shares) for c in judgement.applied]
        for paid in judgement.tenders:
            parts = ", ".join(f"{self.lines[s.line].id}: {s.discount}" for s in paid.shares)
            more = f" ({parts})" if len(self.lines) > 1 else ""
            what = f"{paid.id} pays" if paid.id else f"{paid.points} points pay"
            said.append(f"{what} {paid.amount}{more}, {paid.balance} left")
        for skip in judgement.skipped:
            short = f", short by {skip.short_by}" if skip.short_by else ""
            said.append(f"{skip.id or 'points'}: {skip.outcome.code}{short}")
        amount = sum(line.amount for line in self.lines)
        said.append(f"pay {amount - judgement.discount - judgement.tendered}")
        return said + self._returned(judgement)

    def _applied(self, name: str, discount: int, value: int, shares: list[LineShare]) -> str:
        if value or not discount:  # an exchange, or an admission
            return f"{name} is exchanged, worth {value}"
        if len(self.lines) == 1:
            return f"{name} takes {discount}"
        parts = ", ".join(f"{self.lines[s.line].id}: {s.discount}" for s in shares)
        return f"{name} takes {discount} ({parts})"

    def _returned(self, judgement: Judgement) -> list[str]:
        lines = msgspec.convert(msgspec.to_builtins(self.lines), list[Line])
        coupons = [
            AppliedCoupon(c.id, c.id, 1, "", c.value, c.discount, c.shares, 0)
            for c in judgement.applied
        ]
        tenders = [
            Tender(0 if t.id else 1, t.id, t.amount, t.points, lines=t.shares)
            for t in judgement.tenders
        ]
        said = []
        for words in self.returns:
            result = give_back(lines, coupons, _goods(words, lines), tenders)
            if isinstance(result, Outcome):
                said.append(result.code)
                continue
            gross, back, home, given = result
            coming = f"; back to the wallet: {', '.join(home)}" if home else ""
            for tender, (fen, points) in zip(tenders, given, strict=True):
                what = tender.serial or f"{points} points"
                coming += f"; {fen} to {what}" if fen else ""
            refund = gross - back - sum(fen for fen, _ in given)
            said.append(f"refund {refund} of {gross}{coming}")
        return said


def _goods(words: str, lines: list[Line]) -> list[tuple[int, int]] | None:
    if words == "all":
        return None
    index = {line.id: i for i, line in enumerate(lines)}
    pairs = [part.split() for part in words.split(",")]
    return [(index[name], int(amount)) for name, amount in pairs]


def give_back(
    lines: list[Line],
    coupons: list[AppliedCoupon],
    goods: list[tuple[int, int]] | None,
    tenders: list[Tender],
) -> tuple[int, int, list[str], list[tuple[int, int]]] | Outcome:
    """Reverse and enter it in the records.

    (gross, discount back, coupons wholly back, fen and points back of each tender).
    """
    result = reverse(lines, coupons, goods, tenders)
    if isinstance(result, Outcome):
        return result
    for tender, given in zip(tenders, result.tenders, strict=True):
        tender.back += given.amount
        tender.points_back += given.points
        for place, amount in given.lines:
            next(s for s in tender.lines if s.line == place).back += amount
    for line in result.lines:
        lines[line.line].returned += line.gross
    home = []
    for applied, coupon_back in zip(coupons, result.coupons, strict=True):
        for share, (_, amount) in zip(applied.lines, coupon_back.lines, strict=True):
            share.back += amount
        if coupon_back.whole and not applied.returned:
            applied.returned = 1
            home.append(applied.serial)
    gross = sum(line.gross for line in result.lines)
    back = sum(line.discount_back for line in result.lines)
    return gross, back, home, [(given.amount, given.points) for given in result.tenders]


def run(text: str) -> tuple[list[str], list[str]]:
    """(what came out, what is written after ``->``); lines may be parted by ``|`` as well."""
    example, expected = Example(), []
    for raw in text.replace("|", "\n").splitlines():
        line = raw.split("#")[0].strip()
        if line.startswith("->"):
            expected.append(line.removeprefix("->").strip())
        elif line:
            example.tell(line)
    return example.answers(), expected
