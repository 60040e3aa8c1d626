"""Grants and recalls over HTTP."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from typing import Any

import pytest

from tests.api.conftest import OwnServer
from tests.api.counter import Counter
from tests.api.server import Api


async def finished(api: Api, job_id: str, **options: Any) -> dict[str, Any]:
    """The job once it has ended."""
    for _ in range(600):
        job = (await api.get(f"/v1/jobs/{job_id}?limit=200", **options)).json
        if job["status"] in ("done", "failed"):
            return dict(job)
        await asyncio.sleep(0.05)
    raise AssertionError(job)


async def test_a_grant(counter: Counter) -> None:
    """202 and a job; the same key is the same job; each user once, with the code of a claim."""
    campaign = await counter.campaign("stock 300 per_user 1 channels office")
    users = [counter.user(f"u{n}") for n in range(250)]
    claim = {"campaign_id": campaign, "user_id": users[0], "channel": "office"}
    assert (await counter.api.post("/v1/claims", claim)).status == 201
    body = {"campaign_id": campaign, "user_ids": [*users, users[1]], "channel": "office"}
    key = f"grant-{campaign}"
    asked = await asyncio.gather(*(counter.api.post("/v1/grants", body, idem=key)
                                   for _ in range(3)))  # fmt: skip
    assert {answer.status for answer in asked} == {202}
    assert len({answer.content for answer in asked}) == 1
    first = asked[0].json
    assert (first["status"], first["total"], first["done"]) == ("queued", 250, 0)
    assert asked[0].headers["Location"] == f"/v1/jobs/{first['id']}"
    job = await finished(counter.api, first["id"])
    assert (job["done"], job["counts"]) == (250, {"issued": 249, "user_limit": 1})
    assert job["items"][0] == {"user_id": users[0], "status": "refused", "code": "user_limit"}
    more = await counter.api.get(f"/v1/jobs/{first['id']}?limit=200&cursor={job['next_cursor']}")
    shown = [item["user_id"] for item in job["items"] + more.json["items"]]
    assert (shown, more.json["next_cursor"]) == (users, None)
    refused = await counter.api.get(f"/v1/jobs/{first['id']}?status=refused")
    assert len(refused.json["items"]) == 1
    wallet = await counter.api.get(f"/v1/users/{users[7]}/coupons")
    assert [one["id"] for one in wallet.json["items"]] == [job["items"][7]["coupon_id"]]

    again = await counter.api.post("/v1/grants", body, idem=key)
    assert (again.replayed, again.content) == (True, asked[0].content)
    other = await counter.api.post("/v1/grants", body | {"channel": "app"}, idem=key)
    assert other.code == "idempotency_key_reused"
    elsewhere = await counter.api.post("/v1/grants", body | {"channel": "app"})
    counts = (await finished(counter.api, elsewhere.json["id"]))["counts"]
    assert counts == {"channel_not_allowed": 250}


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"campaign_id": "nothing"}, 404, "campaign_id"),
        ({"user_ids": []}, 400, "user_ids"),
        ({"user_ids": ["u"] * 10_001}, 400, "user_ids"),
        ({"user_ids": ["no spaces"]}, 400, "user_ids[0]"),
        ({"user_ids": "u1"}, 400, "user_ids"),
        ({"source": {"entry": 1}}, 400, "source[...]"),
    ],
)
async def test_a_wrong_grant_is_named(
    counter: Counter, change: dict[str, Any], status: int, field: str
) -> None:
    body = {"campaign_id": "c", "user_ids": ["u1"], "channel": "office"} | change
    answer = await counter.api.post("/v1/grants", body)
    assert (answer.status, answer.json["field"]) == (status, field)


async def test_a_recall(counter: Counter) -> None:
    """Right after the last claim, which is in it; it says that it freezes nothing."""
    campaign = await counter.campaign()
    coupons = [(await counter.claim(campaign, f"u{n}")).json["id"] for n in range(3)]
    assert (await counter.redeem(coupons[0])).status == 201
    path = f"/v1/campaigns/{campaign}/recall"
    assert (await counter.api.post("/v1/campaigns/nothing/recall", {"reason": "x"})).status == 404
    assert (await counter.api.post(path, {})).json["field"] == "reason"
    asked = await counter.api.post(path, {"reason": "misprint"})
    assert asked.status == 202, asked.json
    assert "still active" in asked.json["warnings"][0]
    job = await finished(counter.api, asked.json["id"])
    assert job["counts"] == {"already_redeemed": 1, "voided": 2}
    assert {item["coupon_id"] for item in job["items"]} == set(coupons)
    assert (await counter.api.get(f"/v1/coupons/{coupons[1]}")).json["status"] == "voided"
    assert (await counter.claim(campaign, "u9")).status == 201  # as it said
    other = counter.server.key("storefront")
    assert (await counter.api.get(f"/v1/jobs/{job['id']}", key=other)).status == 403
    assert (await counter.api.post(path, {"reason": "x"}, key=other)).status == 403


async def test_a_recall_refunds_what_was_paid(counter: Counter) -> None:
    """Whatever the campaign says of refunds: it is the mall that takes them back."""
    campaign = await counter.campaign(issue={"price": 900}, refund={"allowed": False})
    item = {"campaign_id": campaign, "quantity": 2}
    body = {"user_id": counter.user(), "items": [item], "channel": "app"}
    order = (await counter.api.post("/v1/orders", body)).json
    paid = {"payment_ref": f"p-{counter.mark}", "paid_amount": 1800}
    coupons = (await counter.api.post(f"/v1/orders/{order['id']}/pay", paid)).json["coupons"]
    assert (await counter.redeem(coupons[0]["id"])).status == 201
    path = f"/v1/campaigns/{campaign}/recall"
    asked = await counter.api.post(path, {"reason": "misprint"})
    job = await finished(counter.api, asked.json["id"])
    assert job["counts"] == {"already_redeemed": 1, "refunded": 1}
    shown = (await counter.api.get(f"/v1/coupons/{coupons[1]['id']}")).json
    assert shown["status"] == "refunded"
    again = {"reason": "asked for as well", "refund_ref": "r1"}
    twice = await counter.api.post(f"/v1/coupons/{coupons[1]['id']}/refund", again)
    assert twice.code == "refunded"


async def test_a_job_of_another_mall_is_not_there(counter: Counter) -> None:
    campaign = await counter.campaign()
    body = {"campaign_id": campaign, "user_ids": ["u1"], "channel": "office"}
    made = (await counter.api.post("/v1/grants", body)).json["id"]
    _, key = counter.server.new_mall()
    assert (await counter.api.get(f"/v1/jobs/{made}", key=key)).status == 404


async def reached(api: Api, job_id: str, least: int) -> int:
    """How far it has come, once that is at least so far."""
    for _ in range(3000):
        done = int((await api.get(f"/v1/jobs/{job_id}?limit=1")).json["done"])
        if done >= least:
            return done
        await asyncio.sleep(0.005)
    raise AssertionError(done)


@pytest.mark.chaos
@pytest.mark.servers("valkey")
@pytest.mark.databases("sqlite")
async def test_a_job_survives_kills(own_server: OwnServer) -> None:
    """SIGKILL of the process that does it, in the middle, twice: each user has one coupon."""
    server = own_server()
    async with Api(server.url, server.operator_key) as api:
        counter = await Counter.open(server, api)
        campaign = await counter.campaign("stock 20000 per_user 5")
        users = [f"u{n}" for n in range(8000)]
        body = {"campaign_id": campaign, "user_ids": users, "channel": "office"}
        job_id = (await api.post("/v1/grants", body)).json["id"]
        for least in (1, 3000):
            done = await reached(api, job_id, least)
            os.kill(_worker(server.process.pid), signal.SIGKILL)
            assert done < len(users), "it had ended before it was killed"
        async with Api(server.url, server.operator_key) as fresh:
            job = await finished(fresh, job_id)
            assert job["counts"] == {"issued": 8000}
            live = (await fresh.get(f"/v1/campaigns/{campaign}")).json["live"]
            assert (live["issued"], live["left"]) == (8000, 12000)


def _worker(parent: int) -> int:
    """The API process under ``hexiao serve``."""
    found = subprocess.run(
        ["ps", "-o", "pid=,args=", "--ppid", str(parent)],
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    (line,) = (line for line in found.splitlines() if "api.worker" in line)
    return int(line.split()[0])
