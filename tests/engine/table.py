"""Acts as a table: one a line, its answer last. The tables are in ``tables/*.txt``.

    campaign spring-10 amount_off amount=1000 stock=1 per_user=1
    u1 claims spring-10 as r1               -> claimed c1
    u1 claims spring-10 as r1               -> claimed c1 again
    u2 claims spring-10 as r2               -> sold_out
    facts: claimed c1 u1

``== title`` starts a scenario of its own tenant. Names such as ``c1`` (coupons), ``x1``
(redemptions, holds) and ``v1`` (reversals) are given by the answer that first shows them.
Every act carries the clock of the table (``at``, ``later``). After an act that was refused or
only repeated, nothing in Redis may have changed.

Set-up: ``mall zone=Europe/Berlin floor=100 cells=1`` (cells=1: on the cluster too) ·
``store s1 [closed]`` · ``campaign ID WORDS`` and ``patch ID WORDS`` (see ``words.py``) ·
``stock ID +5`` · ``at 2026-01-05 12:00[:30]`` · ``later 29d`` · ``user u1 tier=gold frozen=1`` ·
``u1 joins vip`` · ``u1 leaves vip``.
``u1 earns 500 as e1 [until 2026-02-01]`` (points).
Acts: ``claims``, ``redeems``, ``holds`` (see ``_redeem``), ``commits``, ``releases``,
``reverses``, ``voids``, ``lapses``. Questions: ``look c1 -> held``, ``left ID -> 3``,
``offer u1 ID -> sold_out`` and ``facts: …`` (since the last such line, without ``published``).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from engine import facts, keys, lots
from engine.outcomes import Outcome
from engine.records import RedemptionState
from engine.views import Answer
from tests.engine.harness import WHO, Running
from tests.engine.words import body_of, ms, patch_of
from tests.unit.rules_language import campaign, lines_of

NOON = "2026-01-05 12:00"  # a Monday
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
USER: dict[str, Callable[[str, ZoneInfo], Any]] = {
    "tier": lambda text, _: text,
    "tier_until": ms,
    "frozen": lambda text, _: text == "1",
}


@dataclass
class Scenario:
    """A titled list of lines, with where they stand."""

    title: str
    lines: list[tuple[str, str]] = field(default_factory=list)  # (file:line, text)


def read(path: Path) -> list[Scenario]:
    """The scenarios of a file."""
    found: list[Scenario] = []
    for number, raw in enumerate(path.read_text().splitlines(), 1):
        line = raw.split("#")[0].strip()
        if line.startswith("=="):
            found.append(Scenario(line.removeprefix("==").strip()))
        elif line:
            found[-1].lines.append((f"{path.name}:{number}", line))
    return found


def setting(scenario: Scenario, name: str, default: str) -> str:
    """A word of its ``mall`` line, which must be the first."""
    match = re.search(rf"^mall.* {name}=(\S+)", scenario.lines[0][1])
    return match[1] if match else default


class Table:
    """Runs the lines of one scenario on a mall; AssertionError says which line is not so."""

    def __init__(self, mall: Running, zone: str) -> None:
        self.mall = mall
        self.zone = ZoneInfo(zone)
        self.ids: dict[str, str] = {}
        self.campaigns: set[str] = set()
        self.users: set[str] = set()
        self.told: list[int] = [0] * mall.cells
        self.mall.clock = self._ms(NOON)

    async def run(self, scenario: Scenario) -> None:
        for where, line in scenario.lines:
            words, _, expected = (part.strip() for part in line.partition("->"))
            before = await self._state() if expected else {}
            self.expected = expected
            said, outcome = await self._line(words)
            assert said == expected, f"{where} ({scenario.title})\n  {line}\n  -> {said}"
            if expected and outcome is not Outcome.DONE:
                after = {key: value for key, value in (await self._state()).items() if value}
                assert after == {key: value for key, value in before.items() if value}, (
                    f"{where} ({scenario.title}): a refusal or repeat changed something"
                )
        await self.mall.check_facts()
        for name in self.campaigns:
            for tag in self.mall.engine.tags:
                row = await self.mall.hash_of(keys.campaign_key(tag, name))
                if b"left" in row:
                    assert int(row[b"left"]) + int(row[b"issued"]) == int(row[b"share"]) >= 0

    # ---- one line -----------------------------------------------------------------------------

    async def _line(self, words: str) -> tuple[str, Outcome | None]:
        """(what it answered, "" = nothing to say; the outcome of an act)."""
        for pattern, method in LINES:
            match = pattern.fullmatch(words)
            if match:
                groups = {name: value or "" for name, value in match.groupdict().items()}
                answer = await getattr(self, method)(**groups)
                return answer if isinstance(answer, tuple) else (answer or "", None)
        raise AssertionError(f"no such line: {words}")

    async def _mall(self, words: str) -> None:
        for word in words.split():
            name, _, value = word.partition("=")
            if name == "floor":
                await self.mall.settings(payable_floor=int(value))

    async def _store(self, store: str, closed: str) -> None:
        await self.mall.store(store, closed=bool(closed))

    async def _at(self, moment: str) -> None:
        self.mall.clock = self._ms(moment)

    async def _later(self, number: str, unit: str) -> None:
        self.mall.clock += int(number) * UNITS[unit] * 1000

    async def _user(self, user: str, words: str) -> None:
        told: dict[str, Any] = {}
        for word in words.split():
            name, _, value = word.partition("=")
            told[name] = USER[name](value, self.zone)
        self.users.add(user)
        answer = await self.mall.engine.set_profile(
            user_id=user, who=WHO, now=self.mall.clock, **told
        )
        assert answer.ok

    async def _earn(self, user: str, points: str, key: str, until: str) -> None:
        self.users.add(user)
        answer = await self.mall.engine.points.credit(
            user_id=user, kind="earn", points=int(points), key=key, who=WHO, now=self.mall.clock,
            expires=self._ms(until) if until else 0,
        )
        assert answer.ok

    async def _purse(self, user: str) -> str:
        """``300 of 500``: points that can be spent now, of those in all."""
        found = await self.mall.engine.points.purse(user, now=self.mall.clock)
        return f"{lots.available(found.record, found.now)} of {found.record.balance}"

    async def _member(self, user: str, verb: str, audience: str) -> None:
        self.users.add(user)
        change = {"add": [user], "remove": []} if verb == "joins" else {"add": [], "remove": [user]}
        await self.mall.engine.set_members(
            audience_id=audience, who=WHO, now=self.mall.clock, **change
        )

    # ---- campaigns ----------------------------------------------------------------------------

    async def _campaign(self, name: str, words: str) -> None:
        self.campaigns.add(name)
        known, body = body_of(words, self.zone)
        stock = {"total": None} | body.pop("stock", {})
        await self.mall.publish(campaign(known, id=name, stock=stock, **body))

    async def _patch(self, name: str, words: str) -> None:
        await self.mall.patch(name, patch_of(words, self.zone))

    async def _stock(self, name: str, add: str) -> None:
        await self.mall.add_stock(name, int(add))

    # ---- acts ---------------------------------------------------------------------------------

    async def _claim(self, user: str, campaign: str, key: str, via: str) -> Any:
        self.users.add(user)
        answer = await self.mall.engine.claim(
            user_id=user, campaign_id=campaign, channel=via or "app", key=key, who=WHO,
            now=self.mall.clock,
        )
        if answer.value is None:
            opens = answer.details.get("retry_at")
            return self._refused(answer, f" from {self._local(opens)}" if opens else "")
        return self._said(answer, f"claimed {self._name(answer.value.id)}")

    async def _redeem(
        self, user: str, verb: str, coupons: str, store: str, basket: str, key: str, more: str
    ) -> Any:
        """``u1 redeems c1 c2@5 c3@stale at s1 for 12000 as k1 order o1 via till member 7``.

        ``c2@5``: by a code of step 5. ``for nothing``, or ``for [1 sku category x2 500, …]``.
        More words: ``order``, ``via``, ``member STEP|stale``, ``best effort``, ``60s`` (a hold),
        ``points 500|all``; ``-``: no coupons.
        """
        handle = self.mall.engine.handle_of(user)
        said = dict(re.findall(r"(order|via|member|points) (\S+)", more))
        seconds = re.search(r"(\d+)s\b", more)
        lines = lines_of("" if basket == "nothing" else basket.strip("[]"))
        answer = await self.mall.engine.redeem(
            handle=handle,
            coupons=[self._presented(word, handle) for word in coupons.split() if word != "-"],
            store_id=store,
            key=key,
            who=WHO,
            amount=sum(line.amount for line in lines),
            lines=lines,
            member_step=int(said["member"]) if said.get("member", "").isdigit() else 0,
            member_stale=said.get("member") == "stale",
            channel=said.get("via", "till"),
            order_ref=said.get("order", ""),
            hold_seconds=int(seconds[1]) if seconds else 900 if verb == "holds" else 0,
            best_effort="best effort" in more,
            points={"all": -1}.get(said.get("points", ""), 0) or int(said.get("points", 0)),
            now=self.mall.clock,
        )
        if answer.value is None:
            assert not answer.ok
            failed = answer.details.get("failed", [])
            if failed:
                assert failed[0]["outcome"] is answer.outcome
                assert failed[0]["coupon_id"] == answer.details["coupon_id"]
                return ", ".join(
                    f"{item['outcome'].code} {self._name(item['coupon_id'] or 'points')}"
                    + (f" short {item['short_by']}" if item["short_by"] else "")
                    for item in failed
                ), answer.outcome
            what = answer.details.get("field") or answer.details.get("coupon_id")
            return self._refused(answer, f" {self._name(what)}" if what else "")
        return self._said(answer, self._redemption(answer.value))

    def _redemption(self, redemption: Any) -> str:
        record = redemption.record
        said = f"{RedemptionState(record.state).name.lower()} {self._name(redemption.id)}"
        said += f" {record.discount} off"
        parts = []
        for used in record.coupons:
            name = self._name(f"C{redemption.handle}{used.serial}")
            if used.uses > 1:
                name += f" of {used.uses}, {used.uses_left} left:"
            if used.benefit == "exchange":
                parts.append(f"{name} for {used.item}")
                continue
            shares = [f"{record.lines[s.line].id}:{s.discount}" for s in used.lines]
            parts.append(f"{name} {' '.join(shares) if len(record.lines) > 1 else used.discount}")
        if len(parts) > 1 or len(record.lines) != 1 or any(c.uses > 1 for c in record.coupons):
            said += f" ({', '.join(parts)})"
        for paid in record.tenders:
            what = f"{paid.points} points" if paid.points else ""
            what = what or self._name(f"C{redemption.handle}{paid.serial}") if paid.serial else what
            pieces = "".join(f" {record.lines[s.line].id}:{s.discount}" for s in paid.lines)
            pieces = pieces if len(record.lines) > 1 else ""
            said += f", {what or '0 points'} pays {paid.amount}{pieces} leaving {paid.balance}"
        for skip in record.skipped:
            short = f" short {skip.short_by}" if skip.short_by else ""
            name = self._name(f"C{redemption.handle}{skip.serial}") if skip.serial else "points"
            said += f", not {name}: {Outcome(skip.outcome).code}{short}"
        return said

    async def _finish(self, verb: str, name: str, key: str, store: str, amount: str) -> Any:
        finish = self.mall.engine.commit if verb == "commits" else self.mall.engine.release
        more = {"amount": int(amount)} if amount else {}
        answer = await finish(
            redemption_id=self._id("R", name), key=key, who=WHO, store_id=store,
            now=self.mall.clock, **more,
        )
        if answer.value is None:
            where = answer.details.get("field")
            return self._refused(answer, f" {where}" if where else "")
        return self._said(answer, self._redemption(answer.value))

    async def _reverse(self, name: str, key: str, lines: str, keep: str, store: str) -> Any:
        """``reverses x1 as k1 lines 1:500,2:300 keep at s2``; ``keep``: restore false."""
        goods = [(line.split(":")[0], int(line.split(":")[1])) for line in lines.split(",") if line]
        answer = await self.mall.engine.reverse(
            redemption_id=self._id("R", name), key=key, who=WHO, reason="returned",
            lines=goods or None, restore=not keep, store_id=store, now=self.mall.clock,
        )
        if answer.value is None:
            where = answer.details.get("field")
            return self._refused(answer, f" {where}" if where else "")
        entry = answer.value.record
        gross, back = (sum(line[n] for line in entry.lines) for n in (1, 2))
        said = f"reversed {self._name(answer.value.id)} goods {gross} back {back}"
        handle = answer.value.redemption.handle
        home = [self._name(f"C{handle}{serial}") for serial, _, home in entry.coupons if home]
        for kind, serial, fen, points in entry.tenders:
            what = f"{points} points" if kind else self._name(f"C{handle}{serial}")
            said += f", {fen} to {what}"
        assert sum(entry.line_tenders) == sum(t[2] for t in entry.tenders)
        return self._said(answer, said + (f", {' '.join(home)} returned" if home else ""))

    async def _void(self, name: str, key: str, why: str) -> Any:
        answer = await self.mall.engine.void(
            coupon_id=self._id("C", name), key=key, who=WHO, reason=why or "mistake",
            now=self.mall.clock,
        )
        if answer.value is None:
            return self._refused(answer)
        return self._said(answer, f"{answer.value.status} {name}")

    async def _lapse(self, name: str) -> Any:
        outcome = await self.mall.engine.lapse(
            redemption_id=self._id("R", name), who=WHO, now=self.mall.clock
        )
        return outcome.code, outcome

    # ---- questions ----------------------------------------------------------------------------

    async def _look(self, name: str) -> str:
        """The status of a coupon or the state of a redemption."""
        if self.ids[name][0] == "R":
            found = await self.mall.engine.redemption(self.ids[name], now=self.mall.clock)
            assert found is not None
            return RedemptionState(found.record.state).name.lower()
        wallet = await self.mall.engine.coupon(self.ids[name], now=self.mall.clock)
        assert wallet is not None
        view = wallet.view(next(iter(wallet.coupons)))
        uses, money = view.left
        left = f", {uses} left" if view.uses > 1 else f", {money} left" if view.value else ""
        return view.status + left

    async def _left(self, name: str) -> str:
        rows = [
            await self.mall.hash_of(keys.campaign_key(tag, name)) for tag in self.mall.engine.tags
        ]
        sums = {
            name: sum(int(row.get(name.encode(), 0)) for row in rows)
            for name in ("left", "issued", "redeemed")
        }
        return ", ".join(f"{number} {name}" for name, number in sums.items())

    async def _budget(self, name: str, add: str) -> None:
        await self.mall.add_stock(name, 0, int(add))

    async def _money(self, name: str) -> str:
        """What is left of a budget, over all cells."""
        rows = [
            await self.mall.hash_of(keys.campaign_key(tag, name)) for tag in self.mall.engine.tags
        ]
        return f"{sum(int(row[b'budget_left']) for row in rows)} left"

    async def _offer(self, user: str, name: str, via: str) -> str:
        _, (offer,) = await self.mall.engine.offers(
            user_id=user, campaign_ids=[name], channel=via or None, now=self.mall.clock
        )
        if offer is None:
            return "none"
        opens = f" from {self._local(offer.opens_at)}" if offer.opens_at else ""
        return f"{offer.outcome.code}{opens}, {offer.mine} mine"

    async def _facts(self, expected: str) -> None:
        found: list[str] = []
        for cell, told in enumerate(await self.mall.facts()):
            new = [f for f in told[self.told[cell] :] if not isinstance(f, facts.Published)]
            self.told[cell] = len(told)
            found += [self._fact(fact) for fact in new]
        wanted = [part.strip() for part in expected.split(",") if part.strip()]
        if self.mall.cells > 1:  # facts of two cells have no order
            found, wanted = sorted(found), sorted(wanted)
        assert found == wanted, f"facts: {', '.join(found)}"

    def _fact(self, fact: facts.AnyFact) -> str:
        said = f"{facts.type_of(fact)} "
        match fact:
            case facts.Claimed():
                return said + f"{self._name(fact.act)} {fact.user_id}"
            case facts.Redeemed() | facts.Held():
                old = f" instead of {self._name(fact.replaces)}" if fact.replaces else ""
                return said + f"{self._name(fact.act)} {fact.discount}{self._paid(fact)}{old}"
            case facts.Committed():
                return said + f"{self._name(fact.act)} {fact.discount}{self._paid(fact)}"
            case facts.Released():
                freed = "".join(f" {self._name(coupon)}" for coupon in fact.coupon_ids)
                return said + self._name(fact.act) + freed + (" lapsed" if fact.lapsed else "")
            case facts.Reversed():
                back = sum(line.discount_back for line in fact.lines)
                paid = fact.payable_before - fact.payable_after
                whole = " whole" if fact.whole else ""
                tendered = sum(t.amount_before - t.amount_after for t in fact.tenders)
                assert tendered == sum(line.tendered_back for line in fact.lines)
                back_too = f" tendered {tendered}" if tendered else ""
                return said + f"{self._name(fact.act)} refund {paid} back {back}{back_too}{whole}"
            case facts.PointsChanged() | facts.PointsExpired():
                return said + f"{fact.user_id} {fact.points}"
            case facts.Voided():
                return said + self._name(fact.act)
            case facts.ProfileTold():
                return said + f"{fact.user_id} {fact.tier} {fact.frozen}"
            case facts.MemberTold():
                return said + f"{fact.user_id} {fact.audience_id} {fact.present}"
        raise AssertionError(fact)

    def _paid(self, fact: facts.Redeemed | facts.Held | facts.Committed) -> str:
        """`` + 300 of 500`` for each tender: what it pays, what is spent of it in all."""
        assert fact.payable == fact.amount - fact.discount - sum(t.amount for t in fact.tenders)
        return "".join(
            f" + {t.points} points" if t.kind else f" + {t.amount} ({t.spent} spent)"
            for t in fact.tenders
        )

    # ---- names, times, state ------------------------------------------------------------------

    def _name(self, found: str) -> str:
        """The name of an id; a new id takes the name that the answer expected here gives it."""
        for name, known in self.ids.items():
            if known == found:
                return name
        words: list[str] = re.findall(r"[\w-]+", self.expected)
        if len(words) > 1 and words[1] not in self.ids:
            self.ids[words[1]] = found
            return words[1]
        return found

    def _id(self, kind: str, name: str) -> str:
        if name == "unknown":
            return keys.make_id(kind, self.mall.engine.handle_of("u1"), "00000000001")
        return self.ids[name]

    def _presented(self, word: str, handle: str) -> tuple[str, int, bool]:
        name, _, code = word.partition("@")
        coupon = keys.make_id("C", handle, "00000000001") if name == "unknown" else self.ids[name]
        return coupon, int(code) if code.isdigit() else 0, code == "stale"

    def _said(self, answer: Answer[Any], said: str) -> tuple[str, Outcome]:
        again = " again" if answer.outcome is Outcome.REPEATED else ""
        return said + again, answer.outcome

    def _refused(self, answer: Answer[Any], more: str = "") -> tuple[str, Outcome]:
        return answer.outcome.code + more, answer.outcome

    def _ms(self, text: str) -> int:
        return ms(text, self.zone)

    def _local(self, moment: int) -> str:
        return f"{datetime.fromtimestamp(moment / 1000, self.zone):%Y-%m-%d %H:%M}"

    async def _state(self) -> dict[str, Any]:
        """All that the acts of this scenario may touch, but the rehearsal clock."""
        engine = self.mall.engine
        hashes = [keys.cell_key(tag) for tag in engine.tags]
        hashes += [keys.campaign_key(tag, name) for tag in engine.tags for name in self.campaigns]
        for user in self.users:
            handle = engine.handle_of(user)
            hashes.append(keys.wallet_key(engine.tag_of(handle), handle))
        strings = []
        for known in self.ids.values():
            if known[0] == "R":
                handle, serial = known[1:17], known[17:]
                strings.append(keys.redemption_key(engine.tag_of(handle), handle, serial))
        pipe = self.mall.server._reading.pipeline(transaction=False)
        for key in hashes:
            pipe.hgetall(key)
        for key in strings:
            pipe.get(key)
        found = dict(zip([*hashes, *strings], await pipe.execute(), strict=True))
        for tag in engine.tags:
            found[keys.cell_key(tag)].pop(b"clock", None)
        return found


def _patterns(*lines: tuple[str, str]) -> list[tuple[re.Pattern[str], str]]:
    return [(re.compile(pattern), method) for pattern, method in lines]


REST = r"for (?P<basket>\[.*\]|\S+) as (?P<key>\S+)(?P<more>.*)"
AT_STORE = r"(?: at (?P<store>\S+))?"
LINES = _patterns(
    (r"mall (?P<words>.*)", "_mall"),
    (r"store (?P<store>\S+)(?P<closed> closed)?", "_store"),
    (r"campaign (?P<name>\S+) (?P<words>.*)", "_campaign"),
    (r"patch (?P<name>\S+) (?P<words>.*)", "_patch"),
    (r"stock (?P<name>\S+) (?P<add>[+-]\d+)", "_stock"),
    (r"budget (?P<name>\S+) (?P<add>[+-]\d+)", "_budget"),
    (r"at (?P<moment>.*)", "_at"),
    (r"later (?P<number>\d+)(?P<unit>[smhd])", "_later"),
    (r"user (?P<user>\S+) (?P<words>.*)", "_user"),
    (
        r"(?P<user>\S+) earns (?P<points>\d+) as (?P<key>\S+)(?: until (?P<until>.+))?",
        "_earn",
    ),
    (r"purse (?P<user>\S+)", "_purse"),
    (r"(?P<user>\S+) (?P<verb>joins|leaves) (?P<audience>\S+)", "_member"),
    (r"(?P<user>\S+) claims (?P<campaign>\S+) as (?P<key>\S+)(?: via (?P<via>\S+))?", "_claim"),
    (
        rf"(?P<user>\S+) (?P<verb>redeems|holds) (?P<coupons>.*?) at (?P<store>\S+) {REST}",
        "_redeem",
    ),
    (
        r"(?P<verb>commits|releases) (?P<name>\S+) as (?P<key>\S+)(?: of (?P<amount>\d+))?"
        + AT_STORE,
        "_finish",
    ),
    (
        r"reverses (?P<name>\S+) as (?P<key>\S+)(?: lines (?P<lines>\S+))?(?P<keep> keep)?"
        + AT_STORE,
        "_reverse",
    ),
    (r"voids (?P<name>\S+) as (?P<key>\S+)(?: for (?P<why>\S+))?", "_void"),
    (r"lapses (?P<name>\S+)", "_lapse"),
    (r"look (?P<name>\S+)", "_look"),
    (r"left (?P<name>\S+)", "_left"),
    (r"money (?P<name>\S+)", "_money"),
    (r"offer (?P<user>\S+) (?P<name>\S+)(?: via (?P<via>\S+))?", "_offer"),
    (r"facts:(?P<expected>.*)", "_facts"),
)
