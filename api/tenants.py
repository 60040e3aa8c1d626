"""The malls this process serves: each with its engine, books, codes and settings as they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.books.db import Books
    from engine.codes import Codes
    from engine.engine import Engine


@dataclass(slots=True)
class Tenant:
    """What a handler may use of the mall that the key names; nothing of another is in reach."""

    id: str
    cells: int
    timezone: str
    currency: str
    engine: Engine
    books: Books
    codes: Codes
    control: Any  # engine.control: publish_campaign, publish_store, publish_settings, withdraw
    secret: bytes  # the signing secret, for what is derived from it (keys' texts)
    settings: Any  # engine.definitions.Settings, refreshed within a second of a change
    settings_revision: int = 1
    definitions: int = -1  # the tenants.definitions that all of the above was read at
