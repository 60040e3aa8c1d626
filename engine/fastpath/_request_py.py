"""Read an HTTP request that came whole and in one piece, if it is a plain one.

Most are: a request line, a dozen headers spelled the way everybody spells them, a body as long as
is said. ``read`` takes those apart at a fraction of what a parser costs that must take whatever
comes. It is strict, so that there are no two ways to understand what it takes: any other request,
right or wrong, is None, and belongs to a parser. Grammar: RFC 9112, RFC 9110 section 5.5.
"""

from __future__ import annotations

import re

MOST_HEAD = 8000  # bytes, request line and headers
MOST_HEADERS = 64
MOST_BODY = 1 << 20

# Told to the caller, under these names.
TOLD = (
    "Accept",
    "Accept-Language",
    "Authorization",
    "Content-Type",
    "Hexiao-Actor",
    "Hexiao-Now",
    "Idempotency-Key",
    "If-Match",
    "X-Request-Id",
)
# Of no interest, but once at most.
ONCE = ("Connection", "Content-Length", "Host", "User-Agent")
# Where one of these is, the request is not plain: it frames the message, asks for another way of
# answering, or parsers count how often it is there.
STRANGE = (
    "Content-Encoding",
    "Content-Location",
    "Content-Range",
    "ETag",
    "Expect",
    "HTTP2-Settings",
    "Hexiao-Deadline-Ms",
    "Max-Forwards",
    "Proxy-Connection",
    "Sec-WebSocket-Key1",
    "Server",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
)

_LINE = re.compile(rb"([A-Z]+ /[!-~]*) HTTP/1\.1\r\n")
# One blank after the colon, none at the end, nothing but visible ASCII and blanks between.
_HEADER = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+): ([!-~](?:[ -~]*[!-~])?)\r\n")
_LENGTH = re.compile(rb"[0-9]{1,7}")
_SPELLED = {name.lower().encode(): name for name in TOLD + ONCE}
_STRANGE = frozenset(name.lower().encode() for name in STRANGE)


def read(data: bytes) -> tuple[bytes, dict[str, str], bytes] | None:
    """(``b"POST /v1/claims"``, the headers of TOLD that are there, the body), else None."""
    line = _LINE.match(data)
    if line is None:
        return None
    headers: dict[str, str] = {}
    at = line.end()
    for _ in range(MOST_HEADERS + 1):
        header = _HEADER.match(data, at)
        if header is None:
            break
        name = header[1].lower()
        if name in _STRANGE:
            return None
        spelled = _SPELLED.get(name)
        if spelled is not None:
            if spelled in headers:
                return None
            headers[spelled] = header[2].decode("ascii")
        at = header.end()
    else:
        return None
    begins = at + 2
    if data[at:begins] != b"\r\n" or begins > MOST_HEAD or headers.pop("Host", None) is None:
        return None
    length = headers.pop("Content-Length", "0")
    if not _LENGTH.fullmatch(length.encode()) or int(length) > MOST_BODY:
        return None
    if len(data) - begins != int(length):
        return None
    headers.pop("User-Agent", None)
    if headers.pop("Connection", "keep-alive").lower() != "keep-alive":
        return None
    return line[1], headers, data[begins:]
