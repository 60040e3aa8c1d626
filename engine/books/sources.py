"""Where a claim came from: the attribution tags that it carries."""

from __future__ import annotations

from functools import lru_cache

import msgspec

_ENTRY_LENGTH = 64  # of source.entry as kept for attribution
_source = msgspec.json.Decoder().decode


@lru_cache(maxsize=1024)  # most people come by a few ways
def entry_of(source: str) -> str:
    """The tag ``entry`` of a claim's source (JSON or ""), "" without one."""
    if not source:
        return ""
    try:
        told = _source(source)
    except msgspec.DecodeError:
        return ""
    entry = told.get("entry") if isinstance(told, dict) else None
    return entry[:_ENTRY_LENGTH] if isinstance(entry, str) else ""
