"""One dispatch for every route: judge the request in the contract's order, call, answer.

Order: 503 when too many are in flight, 401, 403, then 400 in all its forms (clock, key, media
type, size, query, body), then the handler. No middleware, no access log, nothing made per
request that is not used: claims pass through here by the ten thousand a second.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import re
import secrets
import sqlite3
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

import msgspec
import orjson
import structlog
from aiohttp import web
from multidict import istr
from redis.exceptions import RedisError
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from api.problems import PROBLEM, Refused
from api.reading import (
    VISIBLE,
    at_hand,
    check_free,
    clean,
    deadline_ms,
    free_fields,
    invalid,
    language_of,
    read_body,
    storable,
)
from api.responses import respond, whole
from api.routes import SAYING, Begun, Call, NoQuery, Reply, Route, refusal
from engine import batching
from engine.config import ID_PATTERN
from engine.definitions import InvalidDefinitionError, parse_time
from engine.errors import InvalidRequest, Unavailable
from engine.keys import split_id
from engine.outcomes import Outcome

if TYPE_CHECKING:
    from api.auth import Auth, Key
    from api.express import Asked
    from api.metrics import Metrics
    from api.readiness import Readiness
    from api.refusals import Refusals

log = structlog.get_logger()
R = TypeVar("R")

MAX_IN_FLIGHT = 4096  # requests of one process; more are told to come back
SPARED = 1024  # that may come in beyond that, to take coupons back or let a car out

PATH: web.RequestKey[Mapping[str, str]] = web.RequestKey("path", Mapping)  # its parameters
# TimeoutError is an OSError; sqlite3's own comes where rows go by the raw driver.
_UNREACHABLE = RedisError | OSError | PoolTimeout | sqlite3.OperationalError
_NO_PARAMETERS: Mapping[str, str] = {}

_JSON_MEDIA = re.compile(r"application/([a-z0-9.+-]+\+)?json", re.IGNORECASE)
_JUDGED = (200, 201, 409)  # what may tell a refused try; all else is no try, or was never judged
# Header names made once: a plain string is folded to lower case at every look-up.
_AUTHORIZATION = istr("Authorization")
_REQUEST_ID = istr("X-Request-Id")
_LANGUAGE = istr("Accept-Language")
_DEADLINE = istr("Hexiao-Deadline-Ms")
_NOW = istr("Hexiao-Now")
_ACTOR = istr("Hexiao-Actor")
_KEY = istr("Idempotency-Key")
_ENCODING = istr("Content-Encoding")
_MEDIA = istr("Content-Type")


class Gate:
    """What all endpoints of a process share: who may ask, how many are inside, what is counted."""

    __slots__ = (
        "auth",
        "draining",
        "in_flight",
        "metrics",
        "readiness",
        "refresh",
        "refusals",
        "rehearsal",
        "stamp",
        "tally",
    )
    readiness: Readiness  # told by the service that makes both
    refusals: Refusals  # the same
    # Take up changed settings and keys: after a change, this process is the first to know.
    refresh: Callable[[], Awaitable[None]]

    def __init__(self, auth: Auth, metrics: Metrics, *, rehearsal: bool) -> None:
        self.auth = auth
        self.metrics = metrics
        self.rehearsal = rehearsal
        self.in_flight = 0
        self.draining = False  # about to stop: connections are closed with their next answer
        self.stamp = secrets.token_hex(6) + "-"  # of request ids made here
        self.tally = itertools.count(1)

    def request_id(self, given: str | None) -> str:
        """The caller's X-Request-Id, or one of ours where it has none that can be echoed."""
        if given and VISIBLE.fullmatch(given):
            return given
        return f"{self.stamp}{next(self.tally):x}"


class Endpoint:
    """Serves one route."""

    __slots__ = (
        "count", "decoder", "free", "gate", "most", "owner", "params", "query_names", "route",
    )  # fmt: skip

    def __init__(self, route: Route, gate: Gate) -> None:
        self.route = route
        self.gate = gate
        self.params = re.findall(r"\{(\w+)\}", route.path)
        self.query_names = frozenset(one.encode_name for one in msgspec.structs.fields(route.query))
        self.decoder = None if route.body is None else msgspec.json.Decoder(route.body)
        self.free = free_fields(route.body)
        self.owner = route.path.split("/")[2] if self.params and "user" in route.roles else ""
        self.most = MAX_IN_FLIGHT + (0 if route.sheds else SPARED)
        self.count = gate.metrics.counter(route.method, route.path)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """The aiohttp handler."""
        call = self._call(request)
        reply = await self._reply(call, self._answer(call, request.headers))
        return self._told(call, reply, respond)

    # ---- the short way (express.py), one after the other -------------------------------------

    def known(self, headers: Mapping[str, str]) -> Key | None:
        """The key of a request that may go the short way, None where it may not."""
        gate = self.gate
        if self.route.public or gate.draining or _DEADLINE in headers:
            return None
        return gate.auth.known(headers.get(_AUTHORIZATION))

    def judge(self, asked: Asked, key: Key, raw: bytes) -> tuple[Call, Reply | Begun | None]:
        """Everything before the handler, at once; the reply where that is one already.

        Else what the reply waits for, to be told to ``finish``; None where it takes the handler.
        """
        route = self.route
        call = self._call(cast("web.Request", asked))
        headers = asked.headers
        try:
            self._let_in(call, key)
            call.deadline = None
            self._head(call, headers, key)
            if self.decoder is not None:
                self._check_media(headers, there=bool(raw))
                if len(raw) > self.route.max_body:
                    raise Refused(Outcome.BODY_TOO_LARGE)
                self._take(call, raw, key)
            reply = route.at_once(call) if route.at_once else None
            if reply is not None or route.begun is None:
                return call, reply
            begun = route.begun(call)
        except Exception as error:  # noqa: BLE001 - the last resort: told, logged, counted
            return call, told(call, error)
        if begun is not None:
            self.gate.in_flight += 1
        return call, begun

    def finish(self, call: Call, begun: Begun) -> Reply | Coroutine[Any, Any, Reply]:
        """The reply now that what it waited for has come; or what else it takes."""
        self.gate.in_flight -= 1
        # Raised here, it would hold the future by its traceback, and the future it: a cycle that
        # keeps call and body, and a flood fails by the ten thousand.
        failed = begun.future.exception()
        if isinstance(failed, Exception):
            return told(call, failed)
        try:
            return begun.finish(begun.future.result())
        except Exception as error:  # noqa: BLE001 - the last resort: told, logged, counted
            return told(call, error)

    async def piece(self, call: Call, answer: Awaitable[Reply]) -> bytes:
        """The handler's answer, or the rest of what was begun, as it leaves, head and body."""
        return self.written(call, await self._reply(call, answer))

    def written(self, call: Call, reply: Reply) -> bytes:
        """A reply as it leaves."""
        return self._told(call, reply, whole)

    # ---- what both ways do -------------------------------------------------------------------

    def _call(self, request: web.Request) -> Call:
        gate, headers = self.gate, request.headers
        call = Call()
        call.gate = gate
        call.request = request
        call.path = request[PATH] if self.params else _NO_PARAMETERS
        call.route = self.route
        call.request_id = gate.request_id(headers.get(_REQUEST_ID))
        call.say = self.route.say
        call.language = language_of(headers.get(_LANGUAGE, ""))
        return call

    async def _reply(self, call: Call, answer: Awaitable[Reply]) -> Reply:
        gate = self.gate
        gate.in_flight += 1
        try:
            return await answer
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - the last resort: told, logged, counted
            return told(call, error)
        finally:
            gate.in_flight -= 1

    def _told(self, call: Call, reply: Reply, write: Callable[[Call, Reply], R]) -> R:
        """A reply written, counted, and kept where it is a refused try."""
        try:
            written = write(call, reply)
        except (TypeError, ValueError, RecursionError):  # an answer that is no JSON: our mistake
            log.exception("unexpected", route=self.route.path, request=call.request_id)
            reply = fault(call)
            written = write(call, reply)
        status = reply.status or self.route.status
        self.count(status, reply.code)
        if self.route.attempts and status in _JUDGED:
            self.gate.refusals.saw(call, reply)
        return written

    def _let_in(self, call: Call, key: Key | None) -> None:
        """Whether there is room, and the key may come here."""
        route = self.route
        if self.gate.in_flight > self.most:
            raise Unavailable("too many requests in flight")
        if key is None:
            raise Refused(Outcome.UNAUTHENTICATED)
        call.key = key
        call.tenant = key.tenant
        call.say = route.say or key.role in SAYING
        if key.role not in route.roles:
            raise Refused(Outcome.FORBIDDEN)

    async def _answer(self, call: Call, headers: Mapping[str, str]) -> Reply:
        route = self.route
        gate = self.gate
        if route.public:
            return await route.handler(call)
        header = headers.get(_AUTHORIZATION)
        key = gate.auth.known(header) or await gate.auth.find(header)
        self._let_in(call, key)
        assert key is not None
        deadline = headers.get(_DEADLINE)
        if deadline is None:
            call.deadline = None
            self._head(call, headers, key)
            if self.decoder is not None and not self._body_at_hand(call, headers, key):
                await self._body(call, key)
            return await self._handled(call)
        return await self._in_time(call, headers, key, deadline_ms(deadline))

    async def _in_time(
        self, call: Call, headers: Mapping[str, str], key: Key, patience_ms: int
    ) -> Reply:
        """The same under Hexiao-Deadline-Ms: what has not left for Redis by then never does.

        What has left is waited for, so that 503 says that nothing was done.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + patience_ms / 1000
        call.deadline = until
        token = batching.deadline.set(until)
        try:
            self._head(call, headers, key)
            if self.decoder is not None and not self._body_at_hand(call, headers, key):
                await self._body(call, key)
            if loop.time() >= until:
                raise Unavailable("the deadline of the request has passed")
            return await self._handled(call)
        finally:
            batching.deadline.reset(token)

    async def _handled(self, call: Call) -> Reply:
        at_once = self.route.at_once
        known = at_once(call) if at_once else None
        return known if known is not None else await self.route.handler(call)

    def _head(self, call: Call, headers: Mapping[str, str], key: Key) -> None:
        """Everything that can be wrong with a request before its body is looked at."""
        route = self.route
        request = call.request
        if self.params:
            self._check_path(call, key)
        actor = headers.get(_ACTOR)
        if actor and (len(actor) > 128 or not storable(actor)):
            raise InvalidRequest("Hexiao-Actor", "Use at most 128 characters of UTF-8.")
        call.actor = actor or key.label
        now = headers.get(_NOW)
        if now is not None:
            call.tenant.told = self._told_time(now, key)
        call.now = call.tenant.told  # of a rehearsal; else 0
        if route.idempotent:
            given = headers.get(_KEY)
            if given is None and "dry_run" in self.query_names and self._query(request).dry_run:
                given = ""  # it changes nothing
            elif given is None or not VISIBLE.fullmatch(given):
                raise Refused(Outcome.IDEMPOTENCY_KEY_REQUIRED)
            call.idempotency_key = given
        else:
            call.idempotency_key = ""
        if "?" in request.raw_path:
            call.query = self._query(request)
        elif route.query is NoQuery:
            call.query = None
        else:
            call.query = msgspec.convert({}, route.query)
        call.body = None

    def _check_path(self, call: Call, key: Key) -> None:
        for name in self.params:
            value = call.path[name]
            if name == "plate":
                continue  # its handler knows what a plate is
            if not ID_PATTERN.fullmatch(value):
                if self.route.method == "PUT":
                    raise InvalidRequest(name, "Use 1 to 64 of A-Z a-z 0-9 _ . : -")
                raise Refused(Outcome.NOT_FOUND)
        if self.owner and key.role == "user":
            first = call.path[self.params[0]]
            if self.owner == "users":
                call.own(first)
            elif self.owner == "coupons" and (parts := split_id("C", first)):
                call.own_handle(parts[0])

    def _told_time(self, text: str, key: Key) -> int:
        if not self.gate.rehearsal:
            raise InvalidRequest("Hexiao-Now", "Only a rehearsal server takes this header.")
        if key.role != "operator":
            raise InvalidRequest("Hexiao-Now", "Only operator keys may set the clock.")
        try:
            return parse_time(text)
        except ValueError:
            raise InvalidRequest("Hexiao-Now", "It must be an RFC 3339 time.") from None

    def _query(self, request: web.Request) -> Any:
        values: dict[str, str] = {}
        for name, value in request.query.items():
            if name not in self.query_names:
                raise InvalidRequest(clean(name), "There is no such query parameter here.")
            if name in values:
                raise InvalidRequest(name, "It is given twice.")
            if not storable(value):
                raise InvalidRequest(name, "It holds characters that are not text.")
            if value:  # a form sends what is left empty, too
                values[name] = value
        try:
            return msgspec.convert(values, self.route.query, strict=False)
        except msgspec.ValidationError as error:
            raise invalid(error) from None

    def _body_at_hand(self, call: Call, headers: Mapping[str, str], key: Key) -> bool:
        """Take the body where it came with the head, as it does mostly; else False."""
        request = call.request
        self._check_media(headers, there=request.body_exists)
        raw = at_hand(request, self.route.max_body)
        if raw is None:
            return False
        self._take(call, raw, key)
        return True

    async def _body(self, call: Call, key: Key) -> None:
        """Take the body that is still on its way."""
        self._take(call, await read_body(call.request, self.route.max_body), key)

    def _take(self, call: Call, raw: bytes, key: Key) -> None:
        """Decode the body and judge it."""
        assert self.decoder is not None
        try:
            body = call.body = self.decoder.decode(raw or b"{}")
        except UnicodeDecodeError:
            raise InvalidRequest("", "The body is not UTF-8.") from None
        except RecursionError:
            raise InvalidRequest("", "The body is nested too deeply.") from None
        except msgspec.DecodeError as error:  # ValidationError is one
            raise invalid(error) from None
        if b"\\u0000" in raw:
            check_free(msgspec.to_builtins(body), "", 0)
        for name in self.free:
            value = getattr(body, name) if name else body
            if value:
                check_free(value, name, 0)
        if key.role == "user":
            user_id = getattr(body, "user_id", None)
            if isinstance(user_id, str):
                call.own(user_id)

    def _check_media(self, headers: Mapping[str, str], *, there: bool) -> None:
        """``there``: whether a body comes with the request."""
        media = headers.get(_MEDIA)
        if _ENCODING in headers and headers[_ENCODING].lower() != "identity":
            raise Refused(Outcome.UNSUPPORTED_MEDIA_TYPE)
        if media != "application/json" and not self._media_fits(media, there):
            raise Refused(Outcome.UNSUPPORTED_MEDIA_TYPE)

    def _media_fits(self, media: str | None, there: bool) -> bool:
        if media is None:
            return not there
        name = media.partition(";")[0].strip()
        return name.lower() in self.route.accepts or bool(_JSON_MEDIA.fullmatch(name))


def told(call: Call, error: Exception) -> Reply:
    """An exception as the reply that tells it."""
    if isinstance(error, Refused):
        return refusal(call, error.outcome, error.details)
    if isinstance(error, InvalidRequest):
        chinese = call.language != "en" and error.detail_zh
        return refusal(
            call,
            Outcome.INVALID_REQUEST,
            {"field": error.field or None, "detail": chinese or error.detail},
        )
    if isinstance(error, InvalidDefinitionError):
        return refusal(call, Outcome.INVALID_REQUEST, definition_details(error, call.language))
    if isinstance(error, Unavailable):
        return unavailable(call, error)
    if is_outage(error):
        log.warning(
            "unreachable", route=call.route.path, request=call.request_id, error=repr(error)[:300]
        )
        return unavailable(call, Unavailable())
    log.exception("unexpected", exc_info=error, route=call.route.path, request=call.request_id)
    return fault(call)


def definition_details(error: InvalidDefinitionError, language: str) -> dict[str, Any]:
    """Everything that is wrong with a definition; ``field`` and ``detail`` tell the first."""
    first = error.problems[0]
    found = [{"field": one.field, "detail": one.detail(language)} for one in error.problems]
    return {"field": first.field, "detail": first.detail(language), "errors": found}


def is_outage(error: Exception) -> bool:
    """Whether Redis or the books could not be reached or would not answer in time."""
    if isinstance(error, DBAPIError):
        return isinstance(error, OperationalError | InterfaceError) or error.connection_invalidated
    return isinstance(error, _UNREACHABLE)


def unavailable(call: Call, error: Unavailable) -> Reply:
    """503 with Retry-After."""
    outcome = Outcome.RECOVERING if error.recovering else Outcome.OVERLOADED
    reply = refusal(call, outcome)
    seconds = max(1, math.ceil(error.retry_after))
    if seconds > 1:  # else it comes with the status: in a flood this answer must cost little
        reply.headers = {"Retry-After": str(seconds)}
    return reply


def fault(call: Call) -> Reply:
    """500: our mistake; the request id finds it in the log."""
    chinese = call.language != "en"
    members = {
        "type": "/problems/internal_error",
        "title": "Something broke",
        "status": 500,
        "code": "internal_error",
        "detail": "系统内部错误,已记录。" if chinese else "Something broke here; it is logged.",
        "request_id": call.request_id,
    }
    return Reply(orjson.dumps(members), 500, content_type=PROBLEM, code="internal_error")
