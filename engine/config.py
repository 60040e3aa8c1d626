"""Settings, by environment: every ``HEXIAO_*`` variable, read once and checked at the start.

A wrong setting is a ``SettingsError`` whose text is one sentence a line, each naming the variable
and what it must be. Values of secrets never appear in it.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
from functools import cached_property
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

PREFIX = "HEXIAO_"
ID_PATTERN = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
SHORTEST_KEY = 24
_DRIVERS = {
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
}


class SettingsError(ValueError):
    """The environment asks for something impossible; the text says what to set, a line each."""


class Settings(BaseSettings):
    """What one process needs to know before it can serve. Made by ``load_settings``."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, extra="ignore", frozen=True
    )

    # Loopback: a laptop's first run is nobody else's business; a container sets 0.0.0.0.
    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    """0: any free port, named in the ready line."""
    workers: int = Field(default=1, ge=1, le=256)
    """API processes."""
    redis_url: str | None = Field(default=None, repr=False)
    """None: the embedded server under ``data_dir``."""
    database_url: str = Field(default="", repr=False)
    """The books, spelled for SQLAlchemy with an async driver; unset: SQLite in ``data_dir``."""
    data_dir: Path = Path("var")
    cells: int = Field(default=1, ge=1, le=4096)
    """Fixed when the tenant is made."""
    secret: str | None = Field(default=None, repr=False)
    """What codes are signed with and handles are derived from; read it by ``load_secret``."""
    operator_key: str | None = Field(default=None, repr=False)
    """An operator key of ``tenant`` that is good from the start."""
    tenant: str = "mall"
    timezone: str = "Asia/Shanghai"
    currency: str = "CNY"
    rehearsal: bool = False
    """Operators set the clock by ``Hexiao-Now``; never on a server that people use."""
    appendfsync: Literal["always", "everysec"] = "always"
    """Of the embedded Redis; ``everysec`` may lose the last second of a power cut."""
    writer_lag_limit_ms: int = Field(default=30_000, ge=1)
    """Facts older than this and not in the books make ``/readyz`` answer 503."""
    outbox_hours: float = Field(default=24, ge=0)
    """How long Redis keeps facts that the books hold already, by the facts' own time."""
    test_acts_per_second: float = Field(default=0, ge=0)
    """A hook for tests of overload: acts that a process does in a second at most; 0 = as it can."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @field_validator("redis_url")
    @classmethod
    def _redis_scheme(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("must begin with redis://, rediss:// or unix://")
        return value

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        # Made absolute here, so that a process started elsewhere by this one means the same place.
        return value.expanduser().absolute()

    @field_validator("secret", "operator_key")
    @classmethod
    def _long_enough(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(rf"[!-~]{{{SHORTEST_KEY},}}", value):
            raise ValueError(f"must be {SHORTEST_KEY} or more visible ASCII characters, no blanks")
        return value

    @field_validator("tenant")
    @classmethod
    def _tenant_id(cls, value: str) -> str:
        if not ID_PATTERN.fullmatch(value):
            raise ValueError("must be 1 to 64 of the characters A-Z a-z 0-9 _ . : -")
        return value

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError):
            raise ValueError("must be the name of a time zone, such as Asia/Shanghai") from None
        return value

    @field_validator("currency")
    @classmethod
    def _currency_code(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Z]{3}", value):
            raise ValueError("must be the three capital letters of a currency, such as CNY")
        return value

    @model_validator(mode="before")
    @classmethod
    def _books_url(cls, values: dict[str, Any]) -> dict[str, Any]:
        data_dir = Path(values.get("data_dir") or cls.model_fields["data_dir"].default)
        own = f"sqlite:///{data_dir.expanduser().absolute()}/hexiao.db"
        given = values.get("database_url") or own
        return {**values, "database_url": async_database_url(given)}

    @property
    def embedded(self) -> bool:
        """Whether Redis is the embedded one."""
        return self.redis_url is None

    @property
    def redis_dir(self) -> Path:
        """Where the embedded Redis keeps its files."""
        return self.data_dir / "redis"

    @cached_property
    def zone(self) -> ZoneInfo:
        """The tenant's time zone."""
        return ZoneInfo(self.timezone)


def async_database_url(url: str) -> str:
    """Spell a database URL with the async driver that the books use.

    ``postgresql://`` and ``postgres://`` become asyncpg's, ``sqlite://`` aiosqlite's; libpq's
    ``sslmode`` becomes asyncpg's ``ssl``. ValueError for anything else.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ValueError("must be a URL such as postgresql://user:password@host/name") from None
    driver = _DRIVERS.get(parsed.drivername)
    if driver is None:
        raise ValueError("must begin with postgresql:// or sqlite:///")
    if driver.startswith("postgresql") and "sslmode" in parsed.query:
        parsed = parsed.set(query={
            "ssl" if name == "sslmode" else name: value for name, value in parsed.query.items()
        })
    return parsed.set(drivername=driver).render_as_string(hide_password=False)


def load_settings(**overrides: Any) -> Settings:
    """Read the environment; a keyword overrides its variable, None meaning "not given".

    SettingsError when something is wrong, all of it at once.
    """
    try:
        return Settings(**{name: value for name, value in overrides.items() if value is not None})
    except ValidationError as error:
        raise SettingsError("\n".join(_sentence(dict(e)) for e in error.errors())) from None


def _sentence(error: dict[str, Any]) -> str:
    # The only error without a field is that of _books_url.
    name = error["loc"][0] if error["loc"] else "database_url"
    text = re.sub(r"^(Value error, |Input )", "", error["msg"])
    return f"{PREFIX}{str(name).upper()} {text[:1].lower()}{text[1:]}."


def load_secret(settings: Settings) -> bytes:
    """The tenant's master secret: what HEXIAO_SECRET says, else one kept in the data directory.

    The kept one is made once, 256 random bits in hex, mode 0600. With a Redis of your own it must
    be set: handles and codes that live there would mean nothing to a second machine's own secret.
    """
    if settings.secret is not None:
        return settings.secret.encode()
    if not settings.embedded:
        raise SettingsError(
            "HEXIAO_SECRET must be set when HEXIAO_REDIS_URL is, the same for every process of"
            " this mall (try: openssl rand -hex 32)."
        )
    path = settings.data_dir / "secret"
    if not path.exists():
        _make_secret(path)
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise SettingsError(f"{path} can be read by others; make it yours alone: chmod 600 {path}.")
    kept = path.read_text().strip()
    if len(kept) < SHORTEST_KEY:
        raise SettingsError(f"{path} is cut short; put it back from a backup of {path.parent}.")
    return kept.encode()


def _make_secret(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".secret.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        # A link appears whole or not at all, and loses against another process that was first.
        os.link(draft, path)
    except FileExistsError:
        return
    finally:
        draft.unlink(missing_ok=True)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)  # losing the name after a power cut would orphan every handle
    finally:
        os.close(directory)
