"""Replay (a): does the engine keep the rules of the recorded programme?

For each recorded campaign and each of its coupons one campaign of the engine: for the audience of
the households that got the mailing, one a person, given out and valid from the first moment of the
campaign's first day to the first moment after its last (local time). Its benefit is an
``exchange`` of no value, because the records do not say what was in the basket; it is redeemed in
one store made for it, as the records name none. Then, each act at its own moment (Hexiao-Now):

- a claim 1 ms before the start, and one at the end: ``not_started``, ``campaign_ended``;
- each mailed household claims each coupon of its campaigns, at the very start;
- each coupon that was redeemed is claimed again by its household: ``user_limit``;
- each household that got no mailing claims a coupon of that campaign: ``not_eligible``;
- the recorded redemptions, day after day at noon; some households redeemed a coupon twice, the
  second is ``already_redeemed``;
- the same at the campaign's end: ``already_redeemed``, as all of them were; and for each of them
  another coupon of that campaign that this household never redeemed: ``expired``.

Once the books are complete, they must hold as many coupons and redemptions of each campaign as the
records say.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from hashlib import sha256
from itertools import groupby
from typing import Any, NamedTuple

from loadtest.replay.client import Client, with_body, with_json
from loadtest.replay.drive import Act, Drive
from loadtest.replay.records import Mailing, Records, Use, midnight

STORE = "cj-programme"  # and its merchant
NOON = timedelta(hours=12)
BEFORE = timedelta(milliseconds=-1)


class Piece(NamedTuple):
    """A coupon of one household in one recorded campaign: what is claimed once."""

    mailing: int
    coupon: int
    household: int


class Expected(NamedTuple):
    """What the records say must come of it."""

    claims: int
    first: frozenset[Piece]  # what was redeemed at all
    doubles: int  # redemptions of what was redeemed before
    never: tuple[Piece, ...]  # for each redemption one that was not redeemed, where there is one
    strangers: tuple[Piece, ...]  # households that got no mailing, with a coupon of it


def expected_of(records: Records) -> Expected:
    """Computed from the tables alone."""
    first = frozenset(Piece(use.mailing, use.coupon, use.household) for use in records.uses)
    mailings = {mailing.id: mailing for mailing in records.mailings}
    never = (_never_redeemed(use, mailings[use.mailing], first) for use in records.uses)
    return Expected(
        claims=sum(len(one.coupons) * len(one.households) for one in records.mailings),
        first=first,
        doubles=len(records.uses) - len(first),
        never=tuple(piece for piece in never if piece is not None),
        strangers=tuple(_strangers(records)),
    )


def _never_redeemed(use: Use, mailing: Mailing, redeemed: frozenset[Piece]) -> Piece | None:
    """The next coupon of that campaign which this household never redeemed."""
    at = mailing.coupons.index(use.coupon)
    for coupon in (*mailing.coupons[at + 1 :], *mailing.coupons[:at]):
        piece = Piece(mailing.id, coupon, use.household)
        if piece not in redeemed:
            return piece
    return None


def _strangers(records: Records) -> Iterator[Piece]:
    """Each household without the mailing, and in turn one of its coupons."""
    for mailing in records.mailings:
        mailed = set(mailing.households)
        others = [household for household in records.households if household not in mailed]
        for position, household in enumerate(others):
            coupon = mailing.coupons[position % len(mailing.coupons)]
            yield Piece(mailing.id, coupon, household)


async def replay_rules(drive: Drive, records: Records) -> None:
    """All of it, phase after phase."""
    expected = expected_of(records)
    acts = Acts(drive, records)
    campaigns = [(one, coupon) for one in records.mailings for coupon in one.coupons]
    await define(drive, records, campaigns)
    firsts = [(one, Piece(one.id, coupon, one.households[0])) for one, coupon in campaigns]
    borders = [
        *(acts.claim(piece, one.start + BEFORE, "-early", "not_started") for one, piece in firsts),
        *(acts.claim(piece, one.end, "-ended", "campaign_ended") for one, piece in firsts),
    ]
    number = len(campaigns)
    await drive.phase(
        "claims outside the window", [borders], {"not_started": number, "campaign_ended": number}
    )
    needed = expected.first | set(expected.never)
    await drive.phase("claims", [acts.claims(needed)], {"done": expected.claims}, kill=True)
    again = [acts.claim(one, acts.start(one), "-again", "user_limit") for one in expected.first]
    await drive.phase("second claims", [again], {"user_limit": len(expected.first)})
    uninvited = [
        acts.claim(one, acts.start(one) + NOON, "", "not_eligible") for one in expected.strangers
    ]
    await drive.phase(
        "claims without the mailing", [uninvited], {"not_eligible": len(expected.strangers)}
    )
    redeemed = {"done": len(expected.first), "already_redeemed": expected.doubles}
    await drive.phase("redemptions", acts.redemptions(), redeemed)
    await drive.phase(
        "redemptions after the end",
        [acts.late(expected.never)],
        {"already_redeemed": len(records.uses), "expired": len(expected.never)},
    )


async def compare_stock(drive: Drive, records: Records) -> None:
    """Issued and redeemed by campaign, as the books have them; they must be complete."""
    redeemed = Counter(
        campaign_of(piece.mailing, piece.coupon) for piece in expected_of(records).first
    )
    expected = {
        campaign_of(one.id, coupon): (
            len(one.households),
            redeemed[campaign_of(one.id, coupon)],
        )
        for one in records.mailings
        for coupon in one.coupons
    }
    async with drive.measured("stock report", 1):
        rows = await _pages(drive.client, "/v1/reports/stock")
    got = {
        row["campaign_id"]: (row["issued"], row["redeemed"])
        for row in rows
        if row["campaign_id"].startswith("cj.")
    }
    report = drive.report
    report.equal("stock report", "campaigns", len(expected), len(got))
    for at, name in enumerate(("issued", "redeemed")):
        sums = (sum(one[at] for one in side.values()) for side in (expected, got))
        report.equal("stock report", name, *sums)
    wrong = [name for name in expected if expected[name] != got.get(name)]
    report.equal("stock report", "campaigns that differ", 0, len(wrong))
    for name in wrong:
        report.example(f"stock report: {name} is {got.get(name)} instead of {expected[name]}")


async def _pages(client: Client, path: str) -> list[dict[str, Any]]:
    """All items of a list."""
    items: list[dict[str, Any]] = []
    cursor = ""
    while True:
        answer = await client.ask("GET", f"{path}?limit=200{cursor}")
        items += answer.json["items"]
        if not answer.json["next_cursor"]:
            return items
        cursor = f"&cursor={answer.json['next_cursor']}"


async def define(
    drive: Drive, records: Records, campaigns: Iterable[tuple[Mailing, int]]
) -> None:
    """The audiences, the store and the campaigns; what is there already is left as it is."""
    client = drive.client
    merchant = put(client, f"/v1/merchants/{STORE}", {"name": "Recorded programme"})
    others = [
        put(client, f"/v1/stores/{STORE}", {"name": "Any store", "merchant_id": STORE}),
        *(audience(client, mailing) for mailing in records.mailings),
        *(campaign(client, mailing, coupon) for mailing, coupon in campaigns),
    ]
    groups = [[merchant], others]  # a store names its merchant
    await drive.phase(
        "definitions of (a)",
        ([Act(request, "done") for request in group] for group in groups),
        {"done": 1 + len(others)},
        vital=True,
    )


def put(client: Client, path: str, body: Any) -> bytes:
    """A definition, replaced by itself when it is there."""
    return with_json(client.head("PUT", path), body)


def audience(client: Client, mailing: Mailing) -> bytes:
    """The households that got the mailing."""
    members = [user_of(household) for household in mailing.households]
    digest = sha256(",".join(members).encode()).hexdigest()[:16]
    head = client.head(
        "POST",
        f"/v1/audiences/cj.{mailing.id}/members",
        Hexiao_Now=moment(mailing.start),
        Idempotency_Key=f"cj-{mailing.id}-{digest}",
    )
    return with_json(head, {"add": members})


def campaign(client: Client, mailing: Mailing, coupon: int) -> bytes:
    """The engine's campaign for one coupon of a recorded campaign."""
    start, end = moment(mailing.start), moment(mailing.end)
    name = campaign_of(mailing.id, coupon)
    body = {
        "id": name,
        "name": f"Campaign {mailing.id}, coupon {coupon}",
        "kind": "coupon",
        "benefit": {"type": "exchange", "item": str(coupon), "value": 0},
        "stock": {"total": None},
        "issue": {"start": start, "end": end, "per_user": 1, "audiences": [f"cj.{mailing.id}"]},
        "validity": {"type": "fixed", "start": start, "end": end},
    }
    return with_json(client.head("POST", "/v1/campaigns", Idempotency_Key=name), body)


class Acts:
    """The requests of (a)."""

    def __init__(self, drive: Drive, records: Records) -> None:
        self._ids = drive.ids
        self._records = records
        self._mailings = {mailing.id: mailing for mailing in records.mailings}
        self._claim = drive.client.head("POST", "/v1/claims")
        self._redeem = drive.client.head("POST", "/v1/redemptions")

    def start(self, piece: Piece) -> datetime:
        """When its campaign starts."""
        return self._mailings[piece.mailing].start

    def claim(self, piece: Piece, at: datetime, suffix: str, expected: str) -> Act:
        """One claim, its key made of what is claimed."""
        head = b"%bHexiao-Now: %b\r\nIdempotency-Key: cj-%d-%d%b\r\n" % (
            self._claim,
            moment(at).encode(),
            piece.mailing,
            piece.coupon,
            suffix.encode(),
        )
        return Act(with_body(head, _claim_body(piece)), expected)

    def claims(self, needed: frozenset[Piece]) -> Iterator[Act]:
        """Each mailed household, each of its coupons. Neighbours are of different people, whom
        the cells share."""
        for mailing in self._records.mailings:
            now = moment(mailing.start).encode()
            for coupon in mailing.coupons:
                head = b"%bHexiao-Now: %b\r\nIdempotency-Key: cj-%d-%d\r\n" % (
                    self._claim,
                    now,
                    mailing.id,
                    coupon,
                )
                for household in mailing.households:
                    piece = Piece(mailing.id, coupon, household)
                    keep = piece if piece in needed else None
                    yield Act(with_body(head, _claim_body(piece)), "done", keep)

    def redemptions(self) -> Iterator[list[Act]]:
        """The recorded ones: a day is over before the next begins."""
        seen: Counter[Piece] = Counter()
        for day, uses in groupby(self._records.uses, key=lambda use: use.day):
            group = []
            for use in uses:
                piece = Piece(use.mailing, use.coupon, use.household)
                seen[piece] += 1
                expected = "already_redeemed" if seen[piece] > 1 else "done"
                group.append(self._use(piece, midnight(day) + NOON, f"-{day}", expected))
            yield group

    def late(self, never: Iterable[Piece]) -> Iterator[Act]:
        """The same at the end of each campaign, and what was never redeemed."""
        for use in self._records.uses:
            piece = Piece(use.mailing, use.coupon, use.household)
            yield self._use(piece, self._end(piece), f"-{use.day}-late", "already_redeemed")
        for piece in never:
            yield self._use(piece, self._end(piece), "-late", "expired")

    def _end(self, piece: Piece) -> datetime:
        return self._mailings[piece.mailing].end

    def _use(self, piece: Piece, at: datetime, suffix: str, expected: str) -> Act:
        head = b"%bHexiao-Now: %b\r\nIdempotency-Key: cj-%d-%d%b\r\n" % (
            self._redeem,
            moment(at).encode(),
            piece.mailing,
            piece.coupon,
            suffix.encode(),
        )
        body = {
            "coupons": [{"id": self._ids.get(piece, "not-claimed")}],
            "store_id": STORE,
            "channel": "cashier",
        }
        return Act(with_json(head, body), expected)


def _claim_body(piece: Piece) -> bytes:
    return b'{"campaign_id":"cj.%d.%d","user_id":"cj-%d","channel":"mail"}' % piece


def campaign_of(mailing: int, coupon: int) -> str:
    """The engine's id of a coupon of a recorded campaign."""
    return f"cj.{mailing}.{coupon}"


def user_of(household: int) -> str:
    """The engine's id of a household."""
    return f"cj-{household}"


def moment(at: datetime) -> str:
    """As Hexiao-Now takes it."""
    return at.isoformat(timespec="milliseconds")
