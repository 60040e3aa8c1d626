"""A fact as the books keep it in words: its fields by name."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import msgspec

from engine import facts

_fields = msgspec.json.Decoder(dict[str, Any]).decode


class InWords(NamedTuple):
    """A fact with the names of its fields: a row of ``facts``, or a claim out of its run."""

    type: str
    act: str
    at_ms: int
    body: dict[str, Any]


def words_of(row: Any) -> InWords:
    """A row of ``facts``."""
    return InWords(row.type, row.act, row.at_ms, _fields(row.body))


def in_words(fact: facts.AnyFact) -> InWords:
    """A claim out of its run."""
    return InWords(facts.type_of(fact), fact.act, fact.at, body_of(fact))


def body_of(struct: msgspec.Struct) -> dict[str, Any]:
    """A fact with its field names, as ``facts.body`` keeps it."""
    body = msgspec.structs.asdict(struct)
    for name in _lists_of(type(struct)):
        body[name] = [body_of(v) if isinstance(v, msgspec.Struct) else v for v in body[name]]
    return body


@cache
def _lists_of(kind: type[msgspec.Struct]) -> tuple[str, ...]:
    """The fields of a struct that hold a list; most facts have none."""
    return tuple(
        one.name
        for one in msgspec.structs.fields(kind)
        if isinstance(msgspec.inspect.type_info(one.type), msgspec.inspect.ListType)
    )
