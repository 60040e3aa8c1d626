"""How the tables describe a campaign: words of docs/RULES.md, and these about giving out."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from engine.definitions import format_time
from tests.unit.rules_language import PART_OF

# Where a word about giving out stands in a campaign's body.
ISSUE: dict[str, tuple[str, str]] = {
    "per_user": ("issue", "per_user"),
    "per_day": ("issue", "per_user_per_day"),
    "per_week": ("issue", "per_user_per_week"),
    "per_month": ("issue", "per_user_per_month"),
    "all_per_minute": ("issue", "per_minute"),
    "all_per_day": ("issue", "per_day"),
    "start": ("issue", "start"),
    "end": ("issue", "end"),
    "early": ("issue", "early"),  # early=gold:2026-01-01T00:00,silver:…
    "tiers": ("issue", "tiers"),
    "audiences": ("issue", "audiences"),
    "claim_channels": ("issue", "channels"),
    "status": ("status", ""),
    "stock": ("stock", "total"),
    "budget": ("stock", "budget"),
    "uses_per_day": ("usage", "per_day"),
    "uses_per_store": ("usage", "per_store_per_day"),
    "valid": ("validity", ""),  # valid=2026-01-01T00:00..2026-02-01T00:00
    "minutes": ("validity", "minutes"),
    "delay": ("validity", "delay_minutes"),
    "until": ("validity", "until"),
}
LISTS = ("tiers", "audiences", "claim_channels")
TIMES = ("start", "end", "until")


def ms(text: str, zone: ZoneInfo) -> int:
    """Unix ms of a local ``2026-01-05 12:00[:30]``, or of one with an offset."""
    moment = datetime.fromisoformat(text.replace("T", " "))
    aware = moment if moment.tzinfo else moment.replace(tzinfo=zone)
    return int(aware.timestamp() * 1000)


def body_of(words: str, zone: ZoneInfo) -> tuple[str, dict[str, Any]]:
    """(the words that docs/RULES.md knows, the rest as parts of a campaign's body)."""
    known, body = [], dict[str, Any]()
    for word in words.split():
        name, _, text = word.partition("=")
        if name not in ISSUE:
            known.append(word)
            continue
        part, member = ISSUE[name]
        value = _value(name, text, zone)
        if member:
            body.setdefault(part, {})[member] = value
        else:
            body[part] = value
    if "validity" in body:
        body["validity"].setdefault("type", "relative")
    return " ".join(known), body


def patch_of(words: str, zone: ZoneInfo) -> dict[str, Any]:
    """The words as a JSON Merge Patch; only plain values."""
    known, body = body_of(words, zone)
    for word in known.split():
        name, _, text = word.partition("=")
        body.setdefault(PART_OF[name], {})[name] = _plain(text)
    return body


def _value(name: str, text: str, zone: ZoneInfo) -> Any:
    if name in LISTS:
        return [item for item in text.split(",") if item]
    if name in TIMES and text != "null":
        return format_time(ms(text, zone))
    if name == "early":
        pairs = [pair.split(":", 1) for pair in text.split(",")]
        return [{"tiers": [tier], "start": format_time(ms(start, zone))} for tier, start in pairs]
    if name == "valid":
        ends = zip(("start", "end"), text.split(".."), strict=True)
        return {"type": "fixed"} | {k: format_time(ms(v, zone)) for k, v in ends if v}
    return _plain(text)


def _plain(text: str) -> Any:
    return None if text == "null" else int(text) if text.isdigit() else text
