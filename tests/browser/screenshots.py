"""Pictures of the page for the docs: ``python -m tests.browser.screenshots``.

Runs a small campaign with the shipped models and CHGNet (a few minutes), or takes the one that `--home` holds already,
and takes pictures in light and in dark.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from discovery.client import Client
from serve.backend import Backend, local_backend
from serve.settings import Settings
from tests.running import serving

CHROMIUM = "/usr/bin/chromium"
WINDOW = {"width": 1200, "height": 1150}
COLOURS = 96  # of a picture: keeps the repository small
CAMPAIGN = {"name": "oxides and fluorides", "rounds": 3, "batch_size": 8, "candidates_per_round": 400, "tolerance": 0.1}
LIMITS = {"allowed": ["Li", "Na", "K", "Mg", "Ca", "Sr", "Al", "Ti", "Zr", "O", "F"], "max_atoms": 12}


def picture(page: Page, path: Path, clip: dict[str, float] | None = None) -> None:
    """A picture of what the window shows, in few colours."""
    page.screenshot(path=path, clip=clip)  # type: ignore[arg-type]
    Image.open(path).convert("RGB").quantize(COLOURS).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size // 1024} kB")


def run_campaign(url: str) -> None:
    """Run the campaign to its end, or wait for that of an earlier start."""
    with Client(url) as client:
        known = client.campaigns()
        made = known[0]["id"] if known else client.create(**CAMPAIGN, constraints=LIMITS)["id"]
        if not known:
            client.run(made, int(CAMPAIGN["rounds"]))  # type: ignore[call-overload]
        while client.campaign(made)["status"] in ("running", "stopping"):
            time.sleep(2)
        print(client.campaign(made)["counts"])


def take(page: Page, url: str, out: Path) -> None:
    """All pictures."""
    page.goto(url)
    page.locator("#parity svg").wait_for()
    picture(page, out / "page-campaign.png")
    page.emulate_media(color_scheme="dark")
    page.get_by_label("Status").select_option("validated")
    page.get_by_label("Formula or elements").fill("O Zr")
    page.wait_for_timeout(2000)  # for the search, which waits for the end of the typing
    page.get_by_role("button", name="View structure of").first.click()
    page.locator("#canvas").wait_for()
    page.evaluate("document.getElementById('viewer').scrollIntoView({ block: 'end' })")
    page.wait_for_timeout(500)  # for the drawing
    picture(page, out / "page-structure.png")
    page.emulate_media(color_scheme="light")
    page.get_by_role("button", name="New campaign").click()
    page.locator("#new-model option", has_text="blmm").wait_for(state="attached")  # what the service has is offered
    page.evaluate("scrollTo(0, 0)")
    picture(page, out / "page-form.png", {"x": 0, "y": 0, "width": 1200, "height": 800})


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.browser.screenshots", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    parser.add_argument("--home", type=Path, help="DISCOVERY_HOME with or for the campaign (default: a temporary one)")
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary, serving(_backend(args.home or Path(temporary))) as url:
        run_campaign(url)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            take(browser.new_page(viewport=WINDOW, reduced_motion="reduce"), url, args.out)
            browser.close()
    return 0


def _backend(home: Path) -> Backend:
    return local_backend(Settings(home.resolve()))


if __name__ == "__main__":
    sys.exit(main())
