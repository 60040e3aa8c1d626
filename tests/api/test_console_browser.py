"""The console in a real browser: Debian's Chromium, driven by playwright, on a served mall."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import AsyncIterator
from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest

from tests.api.counter import Counter
from tests.api.server import Api
from tests.servers import IN_CI

if TYPE_CHECKING:
    from playwright.async_api import Page, Route

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
PATIENCE_MS = 8000
# Chromium logs each refusal that a page was answered, and what a test cut off; whatever else it
# logs is a fault.
REFUSALS = (
    "Failed to load resource: the server responded with a status of 4",
    "Failed to load resource: net::ERR_FAILED",
)


def missing() -> str:
    """What a browser test lacks here; "" = nothing."""
    if CHROMIUM is None:
        return "no browser: apt-get install chromium"
    if importlib.util.find_spec("playwright") is None:
        return "no playwright: pip install -e '.[browser]'"
    return ""


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    """A page of its own that logs no error and breaks no policy."""
    if lacks := missing():
        if IN_CI:
            pytest.fail(lacks)
        pytest.skip(lacks)
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = await browser.new_context(locale="en-US", timezone_id="Asia/Shanghai")
        context.set_default_timeout(PATIENCE_MS)
        opened = await context.new_page()
        faults: list[str] = []
        opened.on("pageerror", lambda error: faults.append(str(error)))
        opened.on(
            "console",
            lambda said: (
                faults.append(said.text)
                if said.type in ("error", "warning") and not said.text.startswith(REFUSALS)
                else None
            ),
        )
        yield opened
        await browser.close()
        assert not faults


async def sign_in(page: Page, api: Api, key: str, name: str) -> None:
    """As anybody does: a key is pasted, a name typed."""
    await page.goto(f"{api.url}/console/")
    await page.fill("input[name=key]", key)
    await page.fill("input[name=name]", name)
    await page.click("button[type=submit]")


async def confirm(page: Page, act: str, **fields: str) -> None:
    """Press an act's button, fill in what it asks, confirm, and wait for the outcome."""
    await page.click(f".acts >> text='{act}'")
    for name, value in fields.items():
        await page.fill(f"dialog input[name={name}]", value)
    await page.click("dialog button[type=submit]")
    await page.wait_for_selector("dialog", state="detached")


@pytest.mark.servers("valkey")
@pytest.mark.databases("sqlite")
async def test_an_operator_and_a_cashier(page: Page, counter: Counter) -> None:
    """A wrong key is told so; a campaign is watched, paused and filled up; a code is
    redeemed, though the first answer is lost on its way."""
    api = counter.api
    campaign = await counter.campaign("stock 10 off 2000")
    coupon = str((await counter.claim(campaign)).json["id"])

    await sign_in(page, api, "hx_nobody_0123456789", "王敏")
    wrong = await api.get("/v1/settings", key="hx_nobody_0123456789")
    assert await page.inner_text(".notice.bad") == wrong.json["detail"]

    await sign_in(page, api, api.headers["Authorization"].split()[1], "王敏")
    await page.fill("input[type=search]", campaign)
    row = page.locator("tbody tr")
    await row.get_by_text("9 left · 0 set aside · 1 issued").wait_for()
    assert await row.count() == 1
    await row.locator("a").click()

    await confirm(page, "Pause")
    await page.wait_for_selector("h1 .status.paused")
    assert (await api.get(f"/v1/campaigns/{campaign}")).json["status"] == "paused"
    await confirm(page, "Add stock", add="5")
    await page.get_by_text("14 left · 0 set aside · 1 issued").wait_for()
    assert (await api.get(f"/v1/campaigns/{campaign}")).json["stock"]["total"] == 15
    changes = (await api.get("/v1/audit", params={"object": f"campaign:{campaign}"})).json["items"]
    assert [one["actor"] for one in changes[:2]] == ["王敏", "王敏"]
    for view in ("stock", "redeemed", "attribution", "kpi", "statements"):
        await page.goto(f"{api.url}/console/#/reports/{view}")
        await page.locator(f"nav.tabs a[href='#/reports/{view}'][aria-current=page]").wait_for()
        await page.locator("main >> css=table, .empty").first.wait_for()
    await page.goto(f"{api.url}/console/#/lookup/coupon/{coupon}")
    await page.get_by_text("Can't be given on.").wait_for()
    issued = datetime.fromisoformat((await api.get(f"/v1/coupons/{coupon}")).json["issued_at"])
    there = issued.astimezone(ZoneInfo("Asia/Shanghai"))
    await page.get_by_text(f"{there:%Y-%m-%d %H:%M:%S}").first.wait_for()
    await page.get_by_text("Times: Asia/Shanghai").wait_for()
    await page.click("text='中文'")
    await page.get_by_text("不可转赠。").wait_for()
    await page.click("text='English'")
    await page.click("text='Sign out'")

    await sign_in(page, api, counter.till(), "08")
    code = (await counter.code(coupon, "static")).lower()
    await page.wait_for_selector("input[name=scan]:focus")
    await page.keyboard.type(code)
    await page.keyboard.press("Enter")
    await page.wait_for_selector(".scans li")
    await page.fill("input[name=amount]", "238.5")
    await page.keyboard.press("Enter")
    await page.wait_for_selector(".payable strong:text-is('218.50')")
    await page.wait_for_selector("button:focus:text-is('Redeem')")
    await page.keyboard.type(code)  # a scanner minds no focus; its Enter presses no button
    await page.keyboard.press("Enter")
    await page.wait_for_selector(".payable", state="detached")
    await page.keyboard.press("Enter")
    await page.wait_for_selector("button:focus:text-is('Redeem')")
    sent: list[str] = []

    async def lose_the_first_answer(route: Route) -> None:
        sent.append(route.request.headers["idempotency-key"])
        if len(sent) > 1:
            await route.continue_()
            return
        await route.fetch()
        await route.abort()

    await page.route("**/v1/redemptions", lose_the_first_answer)
    await page.keyboard.press("Enter")
    assert await page.inner_text(".say.ok") == "Redeemed: 20.00 off, 218.50 to pay."
    assert len(sent) == 2
    assert sent[0] == sent[1]
    assert (await api.get(f"/v1/coupons/{coupon}")).json["status"] == "redeemed"

    await page.wait_for_selector("input[name=scan]:focus")
    await page.click(".say")  # and it is nobody's
    await page.keyboard.type(code)
    await page.keyboard.press("Enter")
    assert await page.inner_text(".say.bad") == "This coupon is already redeemed."
    await page.click("text='Reverse the last one'")
    await page.click("dialog button[type=submit]")
    await page.wait_for_selector("dialog", state="detached")
    assert (await api.get(f"/v1/coupons/{coupon}")).json["status"] == "issued"
