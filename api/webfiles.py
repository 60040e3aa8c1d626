"""Files of ``api/web`` as they are served: with a type, a policy, and an ETag to ask again by."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from api.problems import Refused
from api.routes import Call, Reply
from engine.outcomes import Outcome

WEB = Path(__file__).parent / "web"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}


@dataclass(slots=True, frozen=True)
class _File:
    body: bytes
    type: str
    etag: str


class Folder:
    """The files of one folder, in memory; whatever is not of TYPES (licences) is not served."""

    def __init__(self, name: str, policy: str) -> None:
        self._policy = policy
        self._files: Mapping[str, _File] = {
            path.name: _read(path)
            for path in (WEB / name).iterdir()
            if path.suffix in TYPES and path.is_file()
        }

    @property
    def names(self) -> frozenset[str]:
        """What is served."""
        return frozenset(self._files)

    def reply(self, call: Call, name: str) -> Reply:
        """The file, or 304 where the caller has it as it is; ``not_found`` for any other name."""
        found = self._files.get(name)
        if found is None:
            raise Refused(Outcome.NOT_FOUND)
        headers = {
            "Cache-Control": "no-cache",  # kept, and asked for by ETag before it is used
            "Content-Security-Policy": self._policy,
            "ETag": found.etag,
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }
        known = call.request.headers.get("If-None-Match", "")
        if known and (known.strip() == "*" or found.etag in _tags(known)):
            return Reply(None, 304, content_type=found.type, headers=headers)
        return Reply(found.body, content_type=found.type, headers=headers)


def _read(path: Path) -> _File:
    body = path.read_bytes()
    return _File(body, TYPES[path.suffix], f'"{hashlib.sha256(body).hexdigest()[:32]}"')


def _tags(header: str) -> list[str]:
    """The entity tags of If-None-Match; weak and strong ones are the same here."""
    return [tag.strip().removeprefix("W/") for tag in header.split(",")]
