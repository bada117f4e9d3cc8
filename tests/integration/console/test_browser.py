"""The console in a real browser: the main stories by keyboard, every page for axe-core, nothing asked of anybody else.

`--screens` writes the pictures of docs/screens.
"""

from pathlib import Path

import pyotp
import pytest
from playwright.async_api import Browser

from tests.integration.console.people import People
from tests.support.browser import visit
from tests.support.console import PASSWORD

SCREENS = Path(__file__).resolve().parents[3] / "docs" / "screens"


def pages(people: People) -> dict[str, str]:
    """Every page by the name of its picture."""
    told = people.told
    return {
        "home": "/",
        "find-change": "/changes",
        "change": f"/changes/{told.change_id}",
        "find-member": "/members",
        "member": f"/members/{told.ref}",
        "requests": "/rights",
        "request": f"/rights/{told.verified}",
        "destructions": "/erasures?state=any",
        "destruction": f"/erasures/{told.deleted}",
        "deliveries": "/deliveries",
        "retention": "/retention",
        "audit": "/audit",
        "audit-entry": "/audit/0",
        "replays": "/replays",
        "accounts": "/accounts",
    }


async def test_every_page_is_sound_for_axe_and_asks_nobody_else(
    browser: Browser, people: People, request: pytest.FixtureRequest
) -> None:
    cpo = await people.at("cpo")
    async with visit(browser, people.base, cpo.http) as seen:
        for name, path in pages(people).items():
            await seen.open(path)
            assert await seen.findings() == [], name
            if request.config.getoption("--screens"):
                await seen.page.screenshot(path=SCREENS / f"{name}.png", full_page=name in {"member", "request"})
        await seen.open("/language/en?next=/")
        assert await seen.findings() == []
        assert await seen.page.inner_text("h1") == "Today"
        if request.config.getoption("--screens"):
            await seen.page.screenshot(path=SCREENS / "home-en.png")
        assert seen.complaints == []


async def test_the_first_sign_in_and_a_change_are_found_by_keyboard_alone(
    browser: Browser, people: People, request: pytest.FixtureRequest
) -> None:
    name, password = await people.newcomer()
    async with visit(browser, people.base) as seen:
        page, keys = seen.page, seen.page.keyboard
        await seen.open("/sign-in")
        await seen.arrived("**/sign-in", focus="#name")
        assert await seen.findings() == []
        if request.config.getoption("--screens"):
            await page.screenshot(path=SCREENS / "sign-in.png")
        await keys.type(name)
        await seen.tab_to("#password")
        await keys.type(password)
        await keys.press("Enter")
        await seen.arrived("**/enrol", focus="#password")
        assert await seen.findings() == []
        if request.config.getoption("--screens"):
            hidden = [page.locator("#factor"), page.locator(".factor")]
            await page.screenshot(path=SCREENS / "first-time.png", full_page=True, mask=hidden, mask_color="#d5dde5")
        secret = await page.inner_text("#factor")
        await keys.type(PASSWORD)
        await seen.tab_to("#again")
        await keys.type(PASSWORD)
        await seen.tab_to("#code")
        await keys.type(pyotp.TOTP(secret).now())
        await keys.press("Enter")
        await seen.arrived(people.base + "/")
        await keys.press("Tab")
        assert await page.evaluate("document.activeElement.className") == "skip"
        await seen.tab_to('nav a[href="/changes"]')
        await keys.press("Enter")
        await seen.arrived("**/changes", focus="#q")
        await keys.type(people.told.change_id)
        await keys.press("Enter")
        await seen.arrived(f"**/changes/{people.told.change_id}")
        await page.get_by_text("모든 곳에 반영되었습니다").wait_for()
        assert seen.complaints == []


async def test_values_are_revealed_by_keyboard_without_leaving_the_page(browser: Browser, people: People) -> None:
    compliance = await people.at("compliance")
    async with visit(browser, people.base, compliance.http) as seen:
        await seen.open(f"/members/{people.told.ref}")
        assert "홍길동" not in await seen.page.content()
        await seen.tab_to("#values summary")
        await seen.page.keyboard.press("Enter")
        await seen.tab_to("#reveal-reason")
        await seen.page.keyboard.press("ArrowDown")
        await seen.tab_to('#values button[type="submit"]')
        await seen.page.keyboard.press("Enter")
        await seen.page.get_by_text("홍길동").wait_for()
        assert seen.page.url.endswith(people.told.ref)
        assert await seen.findings() == []
        assert seen.complaints == []


async def test_on_paper_there_is_no_menu_and_no_button(browser: Browser, people: People) -> None:
    cpo = await people.at("cpo")
    async with visit(browser, people.base, cpo.http) as seen:
        await seen.open(f"/rights/{people.told.verified}")
        await seen.page.emulate_media(media="print")
        assert not await seen.page.is_visible("nav.menu")
        assert not await seen.page.is_visible('main button[type="submit"]')
        assert await seen.page.is_visible("h1")


async def test_a_narrow_window_has_no_sideways_scrolling(browser: Browser, people: People) -> None:
    cpo = await people.at("cpo")
    async with visit(browser, people.base, cpo.http) as seen:
        await seen.page.set_viewport_size({"width": 390, "height": 800})
        for path in ("/", f"/members/{people.told.ref}", "/audit"):
            await seen.open(path)
            assert await seen.page.evaluate("document.documentElement.scrollWidth") <= 390, path
