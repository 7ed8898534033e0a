"""Chromium without a window, and the service on a port of this machine. Skipped where there is no Chromium."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from discovery.client import Client
from tests.running import ORACLE, Running, running

CHROMIUM = Path("/usr/bin/chromium")
TOKEN = "a-token-that-may-write"
SLOW_S = "0.25"  # of each oracle call of the slow service
expect.set_options(timeout=30_000)  # milliseconds: a busy machine is slow

PageContext = Callable[[], AbstractContextManager[Page]]


@pytest.fixture(scope="package")  # its event loop must end before other tests run theirs
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip(f"no Chromium at {CHROMIUM}: install it to test the page")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="package")
def browser_context_of(browser: Browser) -> PageContext:
    """Opens a page with a storage of its own; afterwards the console must be clean and all requests local."""

    @contextmanager
    def context() -> Iterator[Page]:
        opened = browser.new_context(viewport={"width": 1200, "height": 900}, accept_downloads=True)
        page = opened.new_page()
        page.errors_allowed = []  # type: ignore[attr-defined]
        errors: list[str] = []
        strangers: list[str] = []
        page.on(
            "console", lambda message: errors.append(message.text) if message.type in ("error", "warning") else None
        )
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: strangers.append(request.url) if is_outside(request.url) else None)
        yield page
        allowed = page.errors_allowed  # type: ignore[attr-defined]
        opened.close()
        assert [error for error in errors if not any(text in error for text in allowed)] == []
        assert strangers == [], "requests left this machine"

    return context


def is_outside(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme in ("http", "https", "ws", "wss") and parts.hostname != "127.0.0.1"


@pytest.fixture
def page(browser_context_of: PageContext) -> Iterator[Page]:
    with browser_context_of() as opened:
        yield opened


@pytest.fixture(scope="package")
def service(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("service")) as started:
        yield started


@pytest.fixture
def slow_service(browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    monkeypatch.setenv("ORACLE_SECONDS", SLOW_S)
    with running(tmp_path) as started:
        yield started


@pytest.fixture
def guarded_service(browser: Browser, tmp_path: Path) -> Iterator[Running]:
    with running(tmp_path, TOKEN) as started:
        yield started


@pytest.fixture(scope="package")
def oracle_name() -> str:
    return ORACLE


@pytest.fixture(scope="package")
def campaign(service: Running) -> str:
    """The name of a finished campaign of two rounds."""
    options: dict[str, Any] = {"rounds": 2, "batch_size": 4, "candidates_per_round": 60}
    with Client(service.url) as client:
        made = client.create(name="two rounds", oracle=ORACLE, **options)["id"]
        client.run(made, 2)
    service.wait_until(made, "finished")
    return "two rounds"


@pytest.fixture
def shown(page: Page, service: Running, campaign: str) -> Page:
    """The page with the finished campaign on it."""
    page.goto(service.url)
    page.get_by_role("link", name=campaign).click()
    page.locator("#campaign-title", has_text=campaign).wait_for()
    page.locator("#candidate-table").wait_for()
    return page
