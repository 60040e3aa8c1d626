"""What an Idempotency-Key is used for, where the record that it makes has a name of its own.

A coupon's id comes from its key, so the record tells what the key was used for. A purchase is
named by its transaction, a stay by its session, a place by its line: there a note under the key
says which (lua/lib/notes.lua), for 60 days.
"""

from __future__ import annotations

import asyncio

import msgspec

from engine import keys, line_commands
from engine.acting import Acting
from engine.outcomes import Outcome

_name = msgspec.msgpack.Decoder(str).decode


async def noted(acting: Acting, kind: str, handle: str, key: str, now: int) -> str:
    """What a key was used for, "" = nothing yet; as it is now, where an act decides again."""
    tag = acting.tag_of(handle)
    serials = acting.serials(kind, handle, key, now or acting.clock())[:2]
    found = await asyncio.gather(
        *(acting.read_key(keys.note_key(tag, handle, serial)) for serial in serials)
    )
    return next((use.decode() for use in found if use), "")


async def note(
    acting: Acting,
    kind: str,
    handle: str,
    key: str,
    use: str,
    now: int,
    *,
    free_of: str = "",
    refused: bool = False,
) -> str:
    """Note that a key is used for this, "" then; else what it is noted for already: this, maybe.

    ``free_of``: that was asked, and does not know the key. ``refused``: it was not used for this.
    """
    serial, before, _ = acting.serials(kind, handle, key, now or acting.clock())
    command = line_commands.NoteKey(
        handle=handle, now=now, use=use, serial=serial, serial_before=before, free_of=free_of,
        refused=int(refused),
    )  # fmt: skip
    reply = await acting.act("note_key", command)
    return "" if reply.outcome == Outcome.DONE else _name(reply.value)
