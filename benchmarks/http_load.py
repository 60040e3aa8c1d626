"""A load generator cheap enough not to be the limit: bytes made ahead, answers barely read.

A process of its own (``python -m benchmarks.http_load``): takes one JSON line a run on stdin,
``Plan``, and answers one line on stdout, ``Result``. It claims, or does what else ``REQUESTS``
knows. Each run opens its connections anew and keeps them. Closed loop: the next request of a
connection leaves when its answer has come. Open loop (``rate``): requests leave when they are due,
and what waits for a free connection counts from when it was due, so a slow server can't hide by
slowing its callers.
"""

from __future__ import annotations

import asyncio
import resource
import sys
from array import array
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from itertools import chain
from time import perf_counter

import msgspec

from api.loops import run

WARM_UP_SECONDS = 0.5
ANSWER_SECONDS = 30.0  # for what is in flight when a run ends
TICK_SECONDS = 0.001
LOOK_SECONDS = 0.01

# The first line and the body of each act: the campaign first, then the person's number.
REQUESTS = {
    "claim": (
        b"POST /v1/claims",
        b'{"campaign_id":"%(campaign)s","user_id":"member:%%010d","channel":"app"}',
    ),
    "join": (b"POST /v1/campaigns/%(campaign)s/waitlist", b'{"user_id":"member:%%010d"}'),
    "ask": (b"GET /v1/campaigns/%(campaign)s/waitlist/member:%%010d", b""),
}  # fmt: skip


class Plan(msgspec.Struct):
    """One run. ``first``: the number of its first request; users and keys carry the number."""

    port: int
    key: str
    campaign: str
    connections: int
    first: int
    seconds: float
    rate: float = 0.0  # requests a second; 0 = closed loop
    most: int = 1 << 60  # requests after which to stop, warm-up included
    warm_up: float = WARM_UP_SECONDS
    act: str = "claim"
    step: int = 1  # from one number to the next


class Result(msgspec.Struct):
    """What came back. Times in seconds, of the requests after the warm-up."""

    requests: int  # warm-up included
    measured: int
    seconds: float
    statuses: dict[str, int]  # warm-up included
    coupons: int  # different coupon ids in the answers to claims
    p50: float
    p99: float
    p999: float
    cpu: float  # of this process, for the measured part
    p99_of: dict[str, float]  # by status
    p50_of: dict[str, float]


class Load:
    """All connections of one run."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        names = {b"campaign": plan.campaign.encode()}
        line, body = (part % names for part in REQUESTS[plan.act])
        head = [
            line + b" HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" % plan.port,
            b"Accept: application/json\r\nUser-Agent: mini-program/1.0\r\n",
            b"Authorization: Bearer %s\r\n" % plan.key.encode(),
        ]
        if body:
            head += [
                b"Content-Type: application/json\r\n",
                b"Content-Length: %d\r\n" % len(body % 0),
                b"Idempotency-Key: %016d\r\n",
            ]
        self._whole = b"".join((*head, b"\r\n", body))
        self._numbers = 2 if body else 1
        self.sent = 0
        self.answered = 0
        self.statuses: Counter[bytes] = Counter()
        self.coupons: list[bytes] = []
        self.times: defaultdict[bytes, array[float]] = defaultdict(lambda: array("d"))  # by status
        self.idle: deque[Connection] = deque()
        self.sending = True

    def request(self) -> bytes:
        """The next request."""
        number = self.plan.first + self.sent * self.plan.step
        self.sent += 1
        if self.sent >= self.plan.most:
            self.sending = False
        return self._whole % ((number,) * self._numbers)

    async def run(self) -> Result:
        """Open, load, wait for the last answers."""
        plan = self.plan
        loop = asyncio.get_running_loop()
        for _ in range(plan.connections):
            await loop.create_connection(lambda: Connection(self), "127.0.0.1", plan.port)
        driver = asyncio.create_task(self._pace()) if plan.rate else None
        if driver is None:
            for connection in list(self.idle):
                connection.send(perf_counter())
        await asyncio.sleep(plan.warm_up)
        before, begun, cpu = self.answered, perf_counter(), _cpu()
        self.times.clear()
        await self._until(lambda: not self.sending, plan.seconds)
        measured, seconds, cpu = self.answered - before, perf_counter() - begun, _cpu() - cpu
        by_status = {status.decode(): sorted(times) for status, times in self.times.items()}
        times = sorted(chain.from_iterable(by_status.values()))
        self.sending = False
        if driver is not None:
            await driver
        await self._until(lambda: self.answered == self.sent, ANSWER_SECONDS)
        for connection in self.idle:
            connection.close()
        return Result(
            requests=self.answered,
            measured=measured,
            seconds=seconds,
            statuses={status.decode(): count for status, count in self.statuses.items()},
            coupons=len(set(self.coupons)),
            p50=quantile(times, 0.5),
            p99=quantile(times, 0.99),
            p999=quantile(times, 0.999),
            cpu=cpu,
            p50_of={status: quantile(own, 0.5) for status, own in by_status.items()},
            p99_of={status: quantile(own, 0.99) for status, own in by_status.items()},
        )

    async def _pace(self) -> None:
        """Open loop: send what is due on whichever connection is free."""
        begun, due = perf_counter(), 0
        while self.sending:
            arrived = int((perf_counter() - begun) * self.plan.rate)
            for number in range(due, min(arrived, due + len(self.idle))):
                self.idle.popleft().send(begun + number / self.plan.rate)
                due = number + 1
            await asyncio.sleep(TICK_SECONDS)

    async def _until(self, done: Callable[[], bool], seconds: float) -> None:
        """Wait until ``done`` says so, or for that long."""
        for _ in range(int(seconds / LOOK_SECONDS)):
            if done():
                return
            await asyncio.sleep(LOOK_SECONDS)


class Connection(asyncio.Protocol):
    """One keep-alive connection with at most one request in flight."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._rest = b""
        self._since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.WriteTransport = transport  # type: ignore[assignment]
        self._load.idle.append(self)

    def send(self, since: float) -> None:
        """Send the next request; ``since``: when it was due."""
        self._since = since
        self._transport.write(self._load.request())

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        head = data.find(b"\r\n\r\n")
        at = data.find(b"Content-Length: ", 0, head) + 16
        if head < 0 or len(data) < head + 4 + int(data[at : data.index(b"\r", at)]):
            self._rest = data
            return
        self._rest = b""
        now = perf_counter()
        load = self._load
        status = data[9:12]
        load.times[status].append(now - self._since)
        load.answered += 1
        load.statuses[status] += 1
        if status == b"201" and load.plan.act == "claim":
            load.coupons.append(data[head + 11 : head + 39])  # after {"id":"
        if load.sending and not load.plan.rate:
            self.send(now)
        else:
            load.idle.append(self)

    def close(self) -> None:
        """Hang up."""
        self._transport.close()

    def connection_lost(self, _: Exception | None) -> None:
        if self._load.sending:
            sys.exit("a connection was lost while it was needed")


def quantile(ordered: list[float], share: float) -> float:
    """The value that ``share`` of them do not exceed; 0 of none."""
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0.0


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """One run a line until stdin ends."""
    for line in sys.stdin:
        result = run(Load(msgspec.json.decode(line, type=Plan)).run())
        print(msgspec.json.encode(result).decode(), flush=True)


if __name__ == "__main__":
    main()
