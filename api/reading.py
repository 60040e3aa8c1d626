"""What can be wrong with a request's parts, before anything is known about coupons."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec
from aiohttp import web

from api.problems import Refused
from engine.definitions import problem_of
from engine.errors import InvalidRequest
from engine.outcomes import Outcome

BODY_SECONDS = 30.0  # a body that trickles longer than that is cut off
MAX_DEPTH = 32  # of free-form JSON such as metadata
MAX_INTEGER = 1 << 53  # beyond it, other languages read another number

VISIBLE = re.compile(r"[!-~]{1,128}")


def at_hand(request: web.Request, limit: int) -> bytes | None:
    """The body where it came with the head, else None; BODY_TOO_LARGE beyond ``limit`` bytes."""
    length = request.content_length
    if length is not None and length > limit:
        raise Refused(Outcome.BODY_TOO_LARGE)
    content = request.content
    return content.read_nowait() if content.is_eof() else None


async def read_body(request: web.Request, limit: int) -> bytes:
    """The body as it comes in, at most ``limit`` bytes of it: BODY_TOO_LARGE beyond that."""
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    chunks, size = [], 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.content.iter_any():
                size += len(chunk)
                if size > limit:
                    raise Refused(Outcome.BODY_TOO_LARGE)
                chunks.append(chunk)
    except TimeoutError:
        raise InvalidRequest("", "The body did not arrive in time.") from None
    except web.HTTPException as error:
        raise InvalidRequest("", "The body could not be read.") from error
    return b"".join(chunks)


def free_fields(body: Any) -> tuple[str, ...]:
    """Names of a body's free-form fields ("" = the body itself is one), such as metadata."""
    if body is None:
        return ()
    if not (isinstance(body, type) and issubclass(body, msgspec.Struct)):
        return ("",)
    free = (msgspec.inspect.DictType, msgspec.inspect.AnyType, msgspec.inspect.RawType)
    names = []
    info = msgspec.inspect.type_info(body)
    assert isinstance(info, msgspec.inspect.StructType)
    for one in info.fields:
        types = one.type.types if isinstance(one.type, msgspec.inspect.UnionType) else (one.type,)
        if any(isinstance(kind, free) for kind in types):
            names.append(one.name)
    return tuple(names)


def check_free(value: Any, path: str, depth: int) -> None:
    """Refuse free-form JSON that some store or reader behind us could not hold."""
    if depth > MAX_DEPTH:
        raise InvalidRequest(path, f"It is nested deeper than {MAX_DEPTH} levels.")
    if isinstance(value, str):
        if "\0" in value:
            raise InvalidRequest(path, "It holds the character U+0000.")
    elif isinstance(value, bool | None):
        pass
    elif isinstance(value, int):
        if not -MAX_INTEGER <= value <= MAX_INTEGER:
            raise InvalidRequest(path, "The number is too large.")
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            check_free(name, path, depth)
            check_free(inner, f"{path}.{name}" if path else str(name), depth + 1)
    elif isinstance(value, list | tuple):
        for n, inner in enumerate(value):
            check_free(inner, f"{path}[{n}]", depth + 1)


def invalid(error: msgspec.DecodeError) -> InvalidRequest:
    """What msgspec found, as a field (JSON path) and a sentence."""
    if isinstance(error, msgspec.ValidationError):
        found = problem_of(error)
        return InvalidRequest(clean(found.field), clean(found.detail_en, 300), found.detail_zh)
    return InvalidRequest("", clean(str(error), 300) + ".", "请求体不是有效的 JSON。")


def deadline_ms(text: str) -> int:
    """Hexiao-Deadline-Ms: how long after its arrival a request is still worth doing."""
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise InvalidRequest("Hexiao-Deadline-Ms", "It must be a number of milliseconds.")
    return int(text)


@lru_cache(maxsize=1024)
def language_of(accept: str) -> str:
    """``en`` or ``zh-CN``, whichever Accept-Language likes better; English where it is silent."""
    best, best_quality = "en", 0.0
    for part in accept[:256].split(","):
        name, _, parameter = part.strip().partition(";")
        match = re.fullmatch(r"\s*q=([01](?:\.\d{0,3})?)\s*", parameter) if parameter else None
        quality = float(match[1]) if match else 0.0 if parameter else 1.0
        language = {"zh": "zh-CN", "en": "en"}.get(name[:2].lower())
        if language and quality > best_quality:
            best, best_quality = language, quality
    return best


def clean(text: str, length: int = 100) -> str:
    """Text from a request, fit to be sent back."""
    return text[:length].encode("utf-8", "replace").decode()


def storable(text: str) -> bool:
    """Whether it is text that every store behind us can keep: no NUL, no lone surrogate."""
    if text.isascii():
        return "\0" not in text
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False
