"""The audit over HTTP: who defined what, found again."""

from __future__ import annotations

from tests.api.server import Api, ApiServer
from tests.api.test_campaigns import create


async def test_every_definition_is_in_the_audit(api_server: ApiServer) -> None:
    _, key = api_server.new_mall()
    async with Api(api_server.url, key) as mall:
        ann = {"Hexiao-Actor": "ann"}
        await mall.put("/v1/merchants/m1", {"name": "M"}, headers=ann)
        await mall.put("/v1/stores/s1", {"name": "S", "merchant_id": "m1"}, headers=ann)
        name = await create(mall)
        await mall.patch(f"/v1/campaigns/{name}", {"status": "frozen"}, headers=ann)
        await mall.post(f"/v1/campaigns/{name}/stock", {"add": 1})
        await mall.patch("/v1/settings", {"payable_floor": 1})
        made = (await mall.post("/v1/keys", {"role": "desk", "label": "desk"})).json["id"]
        await mall.delete(f"/v1/keys/{made}")
        await mall.patch(f"/v1/campaigns/{name}", {"status": "frozen"})  # nothing new
        await mall.patch(f"/v1/campaigns/{name}", {"status": "draft"})  # refused

        page = await mall.get("/v1/audit")
        rows = page.json["items"]
        assert [row["n"] for row in rows] == list(range(8, 0, -1))
        assert [(row["actor"], row["action"], row["object"]) for row in reversed(rows)] == [
            ("ann", "merchant.put", "merchant:m1"),
            ("ann", "store.put", "store:s1"),
            ("operator of a test", "campaign.create", f"campaign:{name}"),
            ("ann", "campaign.patch", f"campaign:{name}"),
            ("operator of a test", "campaign.stock", f"campaign:{name}"),
            ("operator of a test", "settings.patch", "settings"),
            ("operator of a test", "key.create", f"key:{made}"),
            ("operator of a test", "key.revoke", f"key:{made}"),
        ]
        assert rows[4]["detail"] == {"patch": {"status": "frozen"}, "revision": 2}
        assert rows[4]["label"] == "operator of a test"

        async def found(**query: str) -> list[int]:
            answer = await mall.get("/v1/audit", params=query)
            return [row["n"] for row in answer.json["items"]]

        assert await found(actor="ann") == [4, 2, 1]
        assert await found(object=f"campaign:{name}") == [5, 4, 3]
        assert await found(object="key") == [8, 7]
        assert await found(object=name) == [5, 4, 3]
        assert await found(object=name[:-1]) == []
        assert await found(**{"from": rows[0]["at"]}) != []
        assert await found(**{"from": "2040-01-01T00:00:00Z"}) == []
        assert await found(to="2020-01-01T00:00:00Z") == []
        first = await mall.get("/v1/audit", params={"limit": 5})
        assert await found(cursor=first.json["next_cursor"]) == [3, 2, 1]
        assert (await mall.get("/v1/audit", params={"from": "noon"})).json["field"] == "from"


async def test_who_may_read_it(api: Api, api_server: ApiServer) -> None:
    assert (await api.get("/v1/audit", key=api_server.key("finance"))).status == 200
    assert (await api.get("/v1/audit", key=api_server.key("desk"))).status == 403
