"""Acts at the counter as people tell them, played over real HTTP; the answer stands after ``->``.

::

    campaign spring  stock 1  per_user 1  off 2000  min_spend 10000
    at 2026-03-02T12:00:00+08:00
    u1 claims spring as k1                 -> claimed c1
    u1 claims spring as k1                 -> claimed c1 again
    u2 claims spring as k2                 -> sold_out
    redeem c1 on 23800 as k3               -> redeemed r1 off 2000 pay 21800
    redeem c1 on 23800 as k4               -> already_redeemed c1
    reverse r1 as k5                       -> reversed v1 gross 23800 back 2000 refund 21800 c1
    c1                                     -> issued

``again`` = the first answer given again. Words after a coupon's line: ``in s2``, ``via app``,
``for order``, ``hold`` / ``best_effort``. A basket is an amount, or lines ``id:amount:category``.
A name (c1, r1, v1) is given by the first answer that shows it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Coroutine
from typing import Any

from tests.api.server import Answer, Api

STORES = ("s1", "s2")
DAY = "2026-03-02T12:00:00+08:00"  # a Monday

# Words of a `campaign` line: where they stand in the body, and how they read.
_WORDS: dict[str, tuple[str, str, Callable[[str], Any]]] = {
    "stock": ("stock", "total", int),
    "per_user": ("issue", "per_user", int),
    "per_user_per_day": ("issue", "per_user_per_day", int),
    "per_user_per_week": ("issue", "per_user_per_week", int),
    "per_user_per_month": ("issue", "per_user_per_month", int),
    "start": ("issue", "start", str),
    "end": ("issue", "end", str),
    "channels": ("issue", "channels", lambda text: text.split(",")),
    "tiers": ("issue", "tiers", lambda text: text.split(",")),
    "audience": ("issue", "audiences", lambda text: text.split(",")),
    "early": (
        "issue",
        "early",
        lambda text: [{"tiers": [text.split("@")[0]], "start": text.split("@")[1]}],
    ),
    "minutes": ("validity", "minutes", int),
    "delay": ("validity", "delay_minutes", int),
    "until": ("validity", "until", str),
    "off": ("benefit", "amount", int),
    "min_spend": ("usage", "min_spend", int),
    "stores": ("usage", "stores", lambda text: text.split(",")),
    "at_channels": ("usage", "channels", lambda text: text.split(",")),
    "weekdays": ("usage", "weekdays", lambda text: [int(day) for day in text.split(",")]),
    "hours": ("usage", "hours", lambda text: [text.split("-")]),
    "category": ("usage", "include", lambda text: {"categories": text.split(",")}),
    "class": ("stacking", "class", str),
    "per_redemption": ("stacking", "per_redemption", int),
    "order": ("stacking", "order", int),
    "group": ("stacking", "group", str),
    "group_limit": ("stacking", "group_limit", int),
    "status": ("", "status", str),
}


def campaign_body(name: str, words: list[str]) -> dict[str, Any]:
    """A campaign from ``stock 1 per_user 1 …``; 20.00 off, valid for a week, unless said."""
    body: dict[str, Any] = {
        "id": name,
        "name": name,
        "kind": "coupon",
        "benefit": {"type": "amount_off", "amount": 2000},
        "stock": {"total": 100},
        "validity": {"type": "relative", "minutes": 10_080},
        "issue": {},
        "usage": {},
        "stacking": {},
    }
    for word, text in zip(words[::2], words[1::2], strict=True):
        if word == "percent":
            body["benefit"] = {"type": "percent_off", "percent_off": float(text)}
        elif word == "exchange":
            item, value = text.split(":")
            body["benefit"] = {"type": "exchange", "item": item, "value": int(value)}
        else:
            part, field, read = _WORDS[word]
            (body[part] if part else body)[field] = read(text)
    return body


class Story:
    """One story on one server, with ids of its own."""

    def __init__(self, api: Api, *, clock: bool) -> None:
        self.api = api  # an operator's
        self.mark = secrets.token_hex(4)
        self.now: str | None = DAY if clock else None
        self.ids: dict[str, str] = {}  # name in the story -> real id
        self.names: dict[str, str] = {}  # and back

    async def tell(self, text: str) -> None:
        """Play every line and compare what is answered."""
        if self.api.url not in _prepared:
            await prepare(self.api)
            _prepared.add(self.api.url)
        for raw in text.strip().splitlines():
            line = raw.partition("#")[0].strip()
            if line:
                await self._line(line)

    async def _line(self, line: str) -> None:
        act, arrow, expected = (part.strip() for part in line.partition("->"))
        words = act.split()
        if not arrow:
            await self._given(words)
            return
        self._expected = expected.split()
        got = await self._act(words)
        assert got == " ".join(self._expected), f"{line}\n  got: {got}"

    def own(self, name: str) -> str:
        """A name of the story as the id the server knows."""
        return f"{self.mark}-{name}"

    def _named(self, ident: str, position: int) -> str:
        """The story's name of an id; a new one takes the name that is expected there."""
        if ident not in self.names:
            name = self._expected[position] if position < len(self._expected) else "?"
            name = name if name not in self.ids else f"another than {name}"
            self.names[ident] = name
            self.ids[name] = ident
        return self.names[ident]

    # ---- what is given -----------------------------------------------------------------------

    async def _given(self, words: list[str]) -> None:
        match words:
            case ["at", moment]:
                self.now = moment
                return
            case ["campaign", name, *rest]:
                body = campaign_body(self.own(name), rest)
                answer = await self._post("/v1/campaigns", body)
            case ["campaign:", name, status]:
                answer = await self.api.patch(
                    f"/v1/campaigns/{self.own(name)}", {"status": status}, now=self.now
                )
            case [user, "is", "frozen"]:
                answer = await self._put_user(user, {"frozen": True})
            case [user, "is", "thawed"]:
                answer = await self._put_user(user, {"frozen": False})
            case [user, "is", "of", tier]:
                answer = await self._put_user(user, {"tier": tier})
            case [user, "is", "in", audience]:
                answer = await self._post(
                    f"/v1/audiences/{audience}/members", {"add": [self.own(user)]}
                )
            case _:
                raise AssertionError(f"what does this mean: {' '.join(words)}")
        assert answer.status < 300, (words, answer.json)

    async def _put_user(self, user: str, body: dict[str, Any]) -> Answer:
        return await self.api.put(f"/v1/users/{self.own(user)}", body, now=self.now)

    # ---- acts --------------------------------------------------------------------------------

    async def _act(self, words: list[str]) -> str:
        acts: dict[str, Callable[[list[str]], Coroutine[Any, Any, str]]] = {
            "redeem": self._redeem,
            "hold": self._redeem,
            "commit": self._finish,
            "release": self._finish,
            "reverse": self._reverse,
            "void": self._void,
        }
        if words[0] in acts:
            return await acts[words[0]](words)
        if len(words) > 1 and words[1] == "claims":
            return await self._claim(words)
        return await self._state(words)

    async def _post(self, path: str, body: Any, key: str | None = None) -> Answer:
        idem = self.own(key) if key else None
        return await self.api.post(path, body, idem=idem, now=self.now)

    async def _claim(self, words: list[str]) -> str:
        user, _, campaign, _, key, *rest = words
        body = {
            "user_id": self.own(user),
            "campaign_id": self.own(campaign),
            "channel": rest[1] if rest else "app",
        }
        answer = await self._post("/v1/claims", body, key)
        if answer.status != 201:
            return self._refused(answer)
        return f"claimed {self._named(answer.json['id'], 1)}{_again(answer)}"

    async def _redeem(self, words: list[str]) -> str:
        on = words.index("on")
        coupons, basket, rest = words[1:on], words[on + 1], words[on + 2 :]
        said = dict(zip(rest[::2], rest[1::2], strict=False))
        body: dict[str, Any] = {
            "coupons": [{"id": self.ids[name]} for name in coupons],
            "store_id": said.get("in", "s1"),
            "channel": said.get("via", "cashier"),
            "order_ref": said.get("for"),
            "basket": _basket(basket),
        }
        if words[0] == "hold":
            body["mode"] = "hold"
            if "seconds" in said:
                body["hold_seconds"] = int(said["seconds"])
        if "best_effort" in rest:
            body["policy"] = "best_effort"
        answer = await self._post("/v1/redemptions", body, said["as"])
        return self._redeemed(answer)

    def _redeemed(self, answer: Answer) -> str:
        if answer.status not in (200, 201):
            return self._refused(answer)
        done = answer.json
        assert done["payable"] == done["amount"] - done["discount"] - done["tendered"]
        assert done["discount"] == sum(item["discount"] for item in done["applied"])
        text = f"{done['status']} {self._named(done['id'], 1)}"
        if done["status"] != "released":
            text += f" off {done['discount']} pay {done['payable']}"
        for item in done["skipped"]:
            text += f" without {self.names[item['coupon_id']]} {item['code']}"
        return text + _again(answer)

    async def _finish(self, words: list[str]) -> str:
        verb, redemption, _, key = words
        path = f"/v1/redemptions/{self.ids[redemption]}/{verb}"
        return self._redeemed(await self._post(path, {}, key))

    async def _reverse(self, words: list[str]) -> str:
        as_ = words.index("as")
        lines = [
            {"id": part.split(":")[0], "amount": int(part.split(":")[1])} for part in words[2:as_]
        ]
        body: dict[str, Any] = {"reason": "returned"}
        if lines:
            body["lines"] = lines
        if "keep" in words[as_ + 2 :]:
            body["restore"] = False
        path = f"/v1/redemptions/{self.ids[words[1]]}/reversals"
        answer = await self._post(path, body, words[as_ + 1])
        if answer.status != 201:
            return self._refused(answer)
        done = answer.json
        assert done["gross"] == sum(line["gross"] for line in done["lines"])
        assert done["refund"] == done["gross"] - done["discount_back"]
        text = f"reversed {self._named(done['id'], 1)} gross {done['gross']}"
        text += f" back {done['discount_back']} refund {done['refund']}"
        for coupon in done["coupons"]:
            if coupon["returned"]:
                text += f" {self.names[coupon['coupon_id']]}"
                text += " expired" if coupon["status"] == "expired" else ""
        return text + _again(answer)

    async def _void(self, words: list[str]) -> str:
        _, coupon, _, key = words
        path = f"/v1/coupons/{self.ids[coupon]}/void"
        answer = await self._post(path, {"reason": "a mistake"}, key)
        if answer.status != 200:
            return self._refused(answer)
        return f"{answer.json['status']} {coupon}{_again(answer)}"

    async def _state(self, words: list[str]) -> str:
        """What a coupon or a redemption is now."""
        (name,) = words
        kind = "coupons" if name.startswith("c") else "redemptions"
        answer = await self.api.get(f"/v1/{kind}/{self.ids[name]}", now=self.now)
        assert answer.status == 200, answer.json
        return str(answer.json["status"])

    def _refused(self, answer: Answer) -> str:
        """``min_spend c1 short 5000``; several coupons by comma."""
        assert answer.headers["Content-Type"] == "application/problem+json"
        problem = answer.json
        failed = [
            f"{item['code']} {self.names[item['coupon_id']]}"
            + (f" short {item['short_by']}" if "short_by" in item else "")
            for item in problem.get("failed", [])
        ]
        if failed:
            assert failed[0].startswith(problem["code"]), problem
            assert problem["coupon_id"] == problem["failed"][0]["coupon_id"]
        return ", ".join(failed) or str(problem["code"])


_prepared: set[str] = set()  # servers that have the stores


def _again(answer: Answer) -> str:
    return " again" if answer.replayed else ""


def _basket(text: str) -> dict[str, Any] | None:
    """``23800``, ``a:10000:food,b:5000`` or ``nothing``."""
    if text == "nothing":
        return None
    if ":" not in text:
        return {"amount": int(text)}
    lines = []
    for part in text.split(","):
        ident, amount, category = (*part.split(":"), None)[:3]
        lines.append({"id": ident, "amount": int(amount or 0), "category": category})
    return {"amount": sum(line["amount"] for line in lines), "lines": lines}


async def prepare(api: Api) -> None:
    """The stores that stories take place in; safe to repeat."""
    answers = [await api.put("/v1/merchants/m1", {"name": "Noodles"})]
    answers += [
        await api.put(f"/v1/stores/{store}", {"name": store, "merchant_id": "m1"})
        for store in STORES
    ]
    assert all(answer.status == 200 for answer in answers), answers
