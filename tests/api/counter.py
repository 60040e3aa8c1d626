"""What tests at the counter have in common: campaigns, coupons, codes and tills of their own."""

from __future__ import annotations

import secrets
from typing import Any

from tests.api.server import Answer, Api, ApiServer
from tests.api.story import campaign_body, prepare

BASKET: dict[str, Any] = {
    "amount": 23800,
    "lines": [{"id": "1", "category": "dining", "amount": 23800}],
}


class Counter:
    """One test's part of a mall; its ids are nobody else's."""

    def __init__(self, server: ApiServer, api: Api, tenant: str = "") -> None:
        self.server = server
        self.api = api  # an operator's
        self.tenant = tenant or server.tenant
        self.mark = secrets.token_hex(4)

    @classmethod
    async def open(cls, server: ApiServer, api: Api, tenant: str = "") -> Counter:
        """With the stores s1 and s2 there."""
        await prepare(api)
        return cls(server, api, tenant)

    def user(self, name: str = "u1") -> str:
        """A user id of this test."""
        return f"{self.mark}-{name}"

    async def campaign(self, words: str = "", **parts: Any) -> str:
        """A campaign by the words of a story (20.00 off unless said); ``parts`` replace parts."""
        body = campaign_body(f"{self.mark}-{secrets.token_hex(3)}", words.split()) | parts
        answer = await self.api.post("/v1/campaigns", body)
        assert answer.status == 201, answer.json
        return str(answer.json["id"])

    async def claim(self, campaign: str, user: str = "u1", **options: Any) -> Answer:
        """A claim through the app."""
        body = {"campaign_id": campaign, "user_id": self.user(user), "channel": "app"}
        return await self.api.post("/v1/claims", body, **options)

    async def coupon(
        self, words: str = "", user: str = "u1", now: str | None = None, **parts: Any
    ) -> str:
        """A coupon of a campaign of its own, claimed ``now``."""
        answer = await self.claim(await self.campaign(words, **parts), user, now=now)
        assert answer.status == 201, answer.json
        return str(answer.json["id"])

    async def code(self, coupon_id: str, form: str = "rotating", now: str | None = None) -> str:
        """What the coupon's QR picture says now."""
        answer = await self.api.get(f"/v1/coupons/{coupon_id}/code?form={form}", now=now)
        assert answer.status == 200, answer.json
        return str(answer.json["code"])

    async def member_code(self, user: str = "u1", now: str | None = None) -> str:
        """What the member's own QR picture says now."""
        answer = await self.api.get(f"/v1/users/{self.user(user)}/code", now=now)
        assert answer.status == 200, answer.json
        return str(answer.json["code"])

    def till(self, store: str = "s1") -> str:
        """The key of a terminal in a store."""
        return self.server.key("terminal", tenant=self.tenant, store_id=store)

    async def redeem(self, *coupons: str | dict[str, str], **options: Any) -> Answer:
        """Redeem coupons by id (or as given) for a basket of 238.00 in s1.

        ``key``, ``idem``, ``now`` and ``headers`` are the request's, the rest the body's.
        """
        request = {k: options.pop(k) for k in ("key", "idem", "now", "headers") if k in options}
        path = options.pop("path", "/v1/redemptions")
        refs = [{"id": one} if isinstance(one, str) else one for one in coupons]
        body = {"coupons": refs, "store_id": "s1", "channel": "cashier", "basket": BASKET}
        return await self.api.post(path, body | options, **request)

    async def quote(self, *coupons: str | dict[str, str], **options: Any) -> Answer:
        """The same as a quote."""
        return await self.redeem(*coupons, path="/v1/quotes", **options)
