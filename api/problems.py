"""Refusals and faults as RFC 9457 ``application/problem+json``, in English or Chinese.

A handler returns ``refusal(call, answer.outcome, answer.details)``; deeper down ``raise
Refused(outcome, **details)`` or ``errors.InvalidRequest(field, detail)`` does the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import orjson

from engine.definitions import format_time
from engine.outcomes import SENTENCES, Outcome, sentence

PROBLEM = "application/problem+json"

# Members of details that are moments: ms inside, RFC 3339 outside.
_MOMENTS = frozenset({"retry_at", "until", "opens_at"})


class Refused(Exception):  # noqa: N818 - an outcome on its way out, not an error of ours
    """Leave a handler with a refusal. ``detail`` replaces the outcome's own sentence."""

    def __init__(self, outcome: Outcome, **details: Any) -> None:
        super().__init__(outcome.code)
        self.outcome = outcome
        self.details = details


def problem(
    outcome: Outcome, language: str = "en", *, status: int = 0, say: bool = False, **details: Any
) -> dict[str, Any]:
    """The members of a problem document.

    ``details`` are the engine's (``field``, ``coupon_id``, ``short_by``, ``retry_at`` in ms,
    ``failed``: [{coupon_id, outcome}] …); ``detail`` among them replaces the sentence, ``None``
    leaves a member out. ``say`` adds the sentence for the person in front of the screen.
    """
    text = details.pop("detail", None) or sentence(outcome, language, **details)
    members: dict[str, Any] = {
        "type": f"/problems/{outcome.code}",
        "title": SENTENCES[outcome].en.rstrip("."),
        "status": status or outcome.status,
        "code": outcome.code,
        "detail": text,
    }
    for name, value in details.items():
        if value is not None:
            members[name] = _member(name, value)
    if say:
        members["say"] = text
    return members


def _member(name: str, value: Any) -> Any:
    if name in _MOMENTS and isinstance(value, int):
        return format_time(value)
    if isinstance(value, Outcome):
        return value.code
    if isinstance(value, Mapping):
        return {
            ("code" if key == "outcome" else key): _named(key, inner)
            for key, inner in value.items()
            if inner is not None and not (key == "short_by" and inner == 0)
        }
    if isinstance(value, list | tuple):
        return [_member("", inner) for inner in value]
    return value


def _named(key: str, value: Any) -> Any:
    return Outcome(value).code if key == "outcome" else _member(key, value)


@lru_cache(maxsize=2048)
def plain(outcome: Outcome, language: str, say: bool) -> bytes:
    """The whole document of a refusal that has nothing to add: most of a flash sale's answers."""
    return orjson.dumps(problem(outcome, language, say=say))
