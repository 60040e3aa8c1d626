"""What the books have not been told yet, read from the outbox: callers see their own acts."""

from __future__ import annotations

from typing import Any

from redis.exceptions import RedisError

from engine import facts, keys
from engine.errors import Unavailable
from engine.server import Server

MOST = 200  # entries, each of a batch: a writer that is further behind is late with lists, too


async def orders_of(server: Server, tag: str, handle: str, epoch: int, seq: int) -> list[str]:
    """Ids of the orders that a person placed after a position of their cell, the oldest first."""
    key, mine = keys.facts_key(tag), keys.make_id("O", handle, "")
    words = ("XRANGE", key, f"({epoch}-{seq}", "+", "COUNT", MOST)
    found: list[tuple[bytes, dict[bytes, bytes]]]
    try:
        found = await server.ask(server.node_of(key), *words)
    except (RedisError, OSError) as error:
        raise Unavailable("Redis does not answer") from error
    mark = mine.encode()  # most entries hold nothing of theirs: those are not unpacked
    told: list[Any] = [
        fact for _, fields in found if mark in fields[b"f"] for fact in facts.decode(fields[b"f"])
    ]
    return [
        fact.act for fact in told if isinstance(fact, facts.Ordered) and fact.act.startswith(mine)
    ]
