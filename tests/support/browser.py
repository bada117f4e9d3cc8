"""A real Chromium for the tests, where the machine has one; where it has none the run says so aloud."""

import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

NO_BROWSER = "no Chromium on this machine (Debian: apt-get install chromium fonts-nanum)"
NAMES = ("chromium", "chromium-browser", "google-chrome")
QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-quic", "--no-proxy-server",
)  # fmt: skip
AXE = Path(__file__).parent / "axe" / "axe.min.js"
VIEW = {"width": 1280, "height": 800}
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]


def executable() -> str | None:
    """Return the browser's path, None where there is none."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


@contextlib.asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Run Chromium; skip, counted and told at the end of the run, where there is none."""
    path = executable()
    if path is None:
        pytest.skip(NO_BROWSER)
    with tempfile.TemporaryDirectory(prefix="dongui-browser-") as folder:
        async with async_playwright() as playwright:
            running = await playwright.chromium.launch(
                executable_path=path, args=list(QUIET), env={"HOME": folder, "LANG": "ko_KR.UTF-8"}
            )
            yield running
            await running.close()


class Watched:
    """A page on which every request and every complaint of the browser is noted."""

    def __init__(self, page: Page, base: str) -> None:
        self.page, self._base = page, base
        self.complaints: list[str] = []
        page.on("console", lambda m: self.complaints.append(m.text) if m.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda r: self.complaints.append(f"asked {r.url}") if not self._ours(r.url) else None)

    def _ours(self, url: str) -> bool:
        return url.startswith((self._base, "data:"))

    async def open(self, path: str) -> None:
        """Open a page of the console."""
        answer = await self.page.goto(self._base + path)
        assert answer is not None
        assert answer.status == 200, (path, answer.status)
        await self._drawn()

    async def arrived(self, url: str, focus: str | None = None) -> None:
        """Wait for a page until it is drawn and has put the focus itself where it says: keys before that are lost."""
        await self.page.wait_for_url(url)
        await self._drawn()
        if focus is not None:
            await self.page.locator(f"{focus}:focus").wait_for()

    async def _drawn(self) -> None:
        await self.page.evaluate("new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(drawn)))")

    async def findings(self) -> list[str]:
        """Return what axe-core finds serious or critical on the page as it is."""
        await self.page.evaluate(AXE.read_text(encoding="utf-8"))
        found: dict[str, Any] = await self.page.evaluate(
            "rules => axe.run(document, {runOnly: {type: 'tag', values: rules}, resultTypes: ['violations']})", RULES
        )
        serious = [v for v in found["violations"] if v["impact"] in {"serious", "critical"}]
        return [f"{v['id']}: {[n['html'][:200] for n in v['nodes']]}" for v in serious]

    async def tab_to(self, selector: str, most: int = 60) -> None:
        """Press Tab until an element has the focus; fail when the keyboard does not get there."""
        for _ in range(most):
            await self.page.keyboard.press("Tab")
            if await self.page.evaluate("s => document.activeElement?.matches(s) ?? false", selector):
                return
        raise AssertionError(f"the keyboard does not reach {selector}")


@contextlib.asynccontextmanager
async def visit(browser: Browser, base: str, signed_in: httpx.AsyncClient | None = None) -> AsyncIterator[Watched]:
    """Open a fresh browser profile, with the session of somebody who signed in over HTTP."""
    context: BrowserContext = await browser.new_context(viewport=VIEW, locale="ko-KR", timezone_id="Asia/Seoul")
    if signed_in is not None:
        cookies = [{"name": c.name, "value": c.value or "", "url": base} for c in signed_in.cookies.jar]
        await context.add_cookies(cookies)  # type: ignore[arg-type]
    try:
        yield Watched(await context.new_page(), base)
    finally:
        await context.close()
