"""The load generator of benchmarks/http_load.py for any list of POSTs, each sent once.

``python -m benchmarks.peers.http_posts``: takes one JSON line on stdin, ``Posts``, and answers one
line on stdout, ``Result``. Closed loop. Bodies come from a file, one a line.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec

from api.loops import run
from benchmarks.http_load import Load, Plan, Result


class Posts(msgspec.Struct):
    """What to send."""

    port: int
    path: str
    headers: dict[str, str]
    bodies: str  # a file
    connections: int
    seconds: float
    keyed: bool = False  # an Idempotency-Key for each, its number


class PostLoad(Load):
    """Sends the bodies of a file in order, then stops."""

    def __init__(self, posts: Posts) -> None:
        super().__init__(
            Plan(
                port=posts.port, key="", campaign="", connections=posts.connections, first=0,
                seconds=posts.seconds,
            )
        )  # fmt: skip
        self._lines = Path(posts.bodies).read_bytes().splitlines()
        headers = "".join(f"{name}: {value}\r\n" for name, value in posts.headers.items())
        self._start = f"POST {posts.path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}".encode()
        self._keyed = posts.keyed

    def request(self) -> bytes:
        """The next one; a run must end before they do."""
        body = self._lines[self.sent]
        key = b"Idempotency-Key: post-%09d\r\n" % self.sent if self._keyed else b""
        self.sent += 1
        if self.sent >= len(self._lines) - self.plan.connections:
            self.sending = False
        return b"%s%sContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
            self._start, key, len(body), body,
        )  # fmt: skip


def send(posts: Posts) -> Result:
    """In a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.peers.http_posts"],
        input=msgspec.json.encode(posts), stdout=subprocess.PIPE, check=True,
    )  # fmt: skip
    return msgspec.json.decode(done.stdout, type=Result)


if __name__ == "__main__":
    result = run(PostLoad(msgspec.json.decode(sys.stdin.buffer.readline(), type=Posts)).run())
    print(msgspec.json.encode(result).decode())
