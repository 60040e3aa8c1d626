"""Who makes the load: buyers, shoppers, cashiers, drivers. Each answer is judged, not only timed.

A refusal that the rules ask for is a success here; an answer that breaks a promise (another coupon
under the same key, a forged code that is taken, a fault) is a failure, and one failure fails the
run. 503 with Retry-After is neither: it is counted under a name of its own.
"""

from __future__ import annotations

import os
import random
import secrets
from typing import Any

from locust import FastHttpUser, between, constant_throughput, task

from loadtest.mall import known

BASKET = {
    "amount": 12000,
    "lines": [{"id": "1", "category": "dining", "amount": 9000}, {"id": "2", "amount": 3000}],
}
FORGED = "0" * 58
PACE = float(os.environ.get("LOADTEST_PACE", "0"))


def waits(shortest: float, longest: float) -> Any:
    """How a person waits between two things: a while (closed loop), or with LOADTEST_PACE so that
    they do that many a second whatever the last one took (as open as locust gets)."""
    return constant_throughput(PACE) if PACE else between(shortest, longest)


class Person(FastHttpUser):
    """A caller who keeps one connection."""

    abstract = True
    wait_time = waits(0.5, 1.5)
    network_timeout = 30.0
    connection_timeout = 10.0

    def on_start(self) -> None:
        self.mall = known()
        self.name = f"{self.mall['mark']}-{secrets.token_hex(6)}"

    def ask(
        self,
        what: str,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str = "storefront",
        idem: str = "",
        expect: tuple[int | str, ...] = (201,),
    ) -> Any:
        """One request, under the name ``what``; its body where it succeeded, else None.

        ``expect``: statuses and codes that are right.
        """
        headers = {"Authorization": f"Bearer {self.mall[key]}"}
        if method == "POST":
            headers["Idempotency-Key"] = idem or secrets.token_hex(12)
        with self.client.request(
            method, path, json=body, headers=headers, name=what, catch_response=True
        ) as answer:
            told = answer.json() if answer.content else None
            code = told.get("code", "") if isinstance(told, dict) else ""
            if answer.status_code == 503 and "Retry-After" in answer.headers:
                answer.request_meta["name"] = f"{what}: 503, come back"
                answer.success()
                return None
            if answer.status_code not in expect and code not in expect:
                answer.failure(f"{answer.status_code} {code or told}"[:200])
                return None
            answer.success()
            return told if answer.status_code < 300 else None


class Buyer(Person):
    """Wants one coupon of a sale, presses until told, asks again to be sure, and goes."""

    wait_time = waits(0.05, 0.5)
    campaign = "flash"

    def on_start(self) -> None:
        super().on_start()
        self.key = secrets.token_hex(8)
        self.won = ""
        self.body = {
            "campaign_id": self.mall[self.campaign],
            "user_id": self.name,
            "channel": "app",
        }

    @task(10)
    def press(self) -> None:
        """Claim, always under the same key: once won, the same coupon for ever."""
        coupon = self.ask(
            "claim again" if self.won else "claim",
            "POST",
            "/v1/claims",
            self.body,
            idem=self.key,
            expect=(201,) if self.won else (201, "sold_out"),
        )
        if coupon is None:
            return
        if self.won and coupon["id"] != self.won:
            raise AssertionError(f"{self.name} has {self.won} and was given {coupon['id']}")
        self.won = coupon["id"]

    @task(2)
    def ask_for_another(self) -> None:
        """One a person, sold out or not: whoever has one is told so."""
        if self.won:
            self.ask("second claim", "POST", "/v1/claims", self.body, expect=("user_limit",))

    @task(2)
    def look(self) -> None:
        """The page of the sale: how many are left, have I got one?"""
        asked = {"user_id": self.name, "campaign_ids": [self.body["campaign_id"]]}
        offers = self.ask("offers", "POST", "/v1/offers", asked, expect=(200,))
        if offers and self.won and not offers["items"][0]["mine"]:
            raise AssertionError(f"{self.name} won {self.won!r}: {offers['items'][0]}")

    @task(2)
    def leave(self) -> None:
        """The next person takes this phone."""
        self.on_start()


class Shopper(Person):
    """Looks at the wallet, claims a lunch coupon now and then."""

    @task(4)
    def wallet(self) -> None:
        """My coupons, the next to expire first."""
        self.ask("wallet", "GET", f"/v1/users/{self.name}/coupons", expect=(200,))

    @task(2)
    def claim(self) -> None:
        """A coupon that there is enough of."""
        body = {"campaign_id": self.mall["lunch"], "user_id": self.name, "channel": "app"}
        self.ask("lunch claim", "POST", "/v1/claims", body)

    @task(1)
    def best(self) -> None:
        """What would I save?"""
        body = {
            "user_id": self.name,
            "choose": "best",
            "store_id": "load",
            "channel": "app",
            "basket": BASKET,
        }
        self.ask("best offer", "POST", "/v1/quotes", body, expect=(200,))


class Cashier(Person):
    """A till with a queue: scan, quote, redeem; some goods come back, some codes are forged."""

    wait_time = waits(0.1, 0.4)

    @task(12)
    def sale(self) -> None:
        """One customer with one coupon."""
        body = {"campaign_id": self.mall["lunch"], "user_id": self._customer(), "channel": "app"}
        coupon = self.ask("lunch claim", "POST", "/v1/claims", body)
        if coupon is None:
            return
        shown = self.ask("show code", "GET", f"/v1/coupons/{coupon['id']}/code", expect=(200,))
        if shown is None:
            return
        code = {"code": shown["code"], "store_id": "load"}
        self.ask("scan", "POST", "/v1/scans/resolve", code, key="terminal", expect=(200,))
        sale = self._basket(shown["code"])
        self.ask("quote", "POST", "/v1/quotes", sale, key="terminal", expect=(200,))
        key = secrets.token_hex(8)
        done = self.ask("redeem", "POST", "/v1/redemptions", sale, key="terminal", idem=key)
        if done is None:
            return
        if done["payable"] != 10000:
            raise AssertionError(f"20.00 off 120.00 is not {done['payable']}")
        dice = random.random()
        if dice < 0.1:  # the till never got the answer
            again = self.ask("redeem again", "POST", "/v1/redemptions", sale, key="terminal",
                             idem=key)  # fmt: skip
            if again and again["id"] != done["id"]:
                raise AssertionError(f"two redemptions: {done['id']} {again['id']}")
        elif dice < 0.2:  # the same picture again
            self.ask("second use", "POST", "/v1/redemptions", sale, key="terminal",
                     expect=("already_redeemed",))  # fmt: skip
        elif dice < 0.35:  # a part of the goods comes back
            lines = {"reason": "returned", "lines": [{"id": "2", "amount": 3000}]}
            path = f"/v1/redemptions/{done['id']}/reversals"
            self.ask("reverse", "POST", path, lines, key="terminal")

    @task(1)
    def forged(self) -> None:
        """A picture somebody drew."""
        self.ask("forged", "POST", "/v1/redemptions", self._basket(FORGED), key="terminal",
                 expect=("code_invalid",))  # fmt: skip

    def _customer(self) -> str:
        return f"{self.name}-{random.randrange(1000)}"

    def _basket(self, code: str) -> dict[str, Any]:
        return {
            "coupons": [{"code": code}],
            "store_id": "load",
            "channel": "cashier",
            "order_ref": secrets.token_hex(6),
            "basket": BASKET,
        }


class Driver(Person):
    """A car that leaves after two hours: looks what it costs, pays, and is let out."""

    wait_time = waits(0.1, 0.6)

    @task(4)
    def leave(self) -> None:
        """Most have an hour from a shop; the gate asks twice, as gates do."""
        user, fee = f"{self.name}-{random.randrange(1000)}", 2000
        stay = {
            "lot_id": "load",
            "session_id": secrets.token_hex(6),
            "user_id": user,
            "entered_at": "2026-03-02T10:00:00+08:00",
            "as_of": "2026-03-02T12:00:00+08:00",
            "fee_total": fee,
        }
        body = {"campaign_id": self.mall["hour"], "user_id": user, "channel": "app"}
        if random.random() < 0.7 and self.ask("parking claim", "POST", "/v1/claims", body) is None:
            return
        path = "/v1/parking/payments"
        quote = self.ask("parking quote", "POST", path, stay | {"mode": "quote"}, expect=(200,))
        if quote is None:
            return
        stay["mode"] = "commit"
        paid = self.ask("parking payment", "POST", path, stay, key="parking", expect=(200,))
        if paid is None:
            return
        if paid["payable"] != quote["payable"] or paid["payable"] not in (1000, 2000):
            raise AssertionError(f"{quote['payable']} was quoted, {paid['payable']} is to pay")
        again = self.ask("the gate again", "POST", path, stay, key="parking", expect=(200,))
        if again is not None and again != paid:
            raise AssertionError(f"two answers for one fee: {paid} {again}")

    @task(1)
    def nobody_known(self) -> None:
        """A car of nobody: the gate must not wait for us."""
        stay = {
            "session_id": secrets.token_hex(6),
            "entered_at": "2026-03-02T10:00:00+08:00",
            "as_of": "2026-03-02T12:00:00+08:00",
            "fee_total": 2000,
            "mode": "commit",
        }
        paid = self.ask("unknown car", "POST", "/v1/parking/payments", stay, key="parking",
                        expect=(200,))  # fmt: skip
        if paid is not None and paid["payable"] != 2000:
            raise AssertionError(f"nobody's car pays {paid['payable']} of 20.00")
