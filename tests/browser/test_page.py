"""The page in Chromium, against the real service with small models."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from discovery.client import Client
from tests.running import ORACLE, Running

SECONDS = 60_000  # milliseconds: the longest wait for a small campaign on a busy machine


def open_page(page: Page, service: Running) -> None:
    page.goto(service.url)
    expect(page.get_by_role("heading", name="Campaigns", exact=True)).to_be_visible()


def fill_form(page: Page, name: str, oracle: str = ORACLE, rounds: int = 2, **limits: str) -> None:
    page.get_by_role("button", name="New campaign").click()
    form = page.locator("form#new")
    form.get_by_label("Name", exact=True).fill(name)
    form.get_by_label("Rounds").fill(str(rounds))
    form.get_by_label("Oracle calls in a round").fill("4")
    form.get_by_label("Samples in a round").fill("60")
    if oracle == "external":
        form.get_by_label("Oracle", exact=True).select_option("external")
    else:
        form.get_by_label("Oracle", exact=True).select_option(label="another one, by name")
        form.get_by_label("Its name").fill(oracle)
    for label, text in limits.items():
        form.get_by_label(label.replace("_", " ").capitalize()).fill(text)


def start(page: Page, name: str, **options: object) -> None:
    fill_form(page, name, **options)  # type: ignore[arg-type]
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.locator("#campaign-title")).to_have_text(name)


def finished(page: Page) -> None:
    expect(page.locator("#summary .status")).to_have_text("finished", timeout=SECONDS)


def test_the_form_starts_a_campaign(service: Running, page: Page) -> None:
    open_page(page, service)
    start(page, "from the form", rounds=1)
    finished(page)
    made = service.campaign("from the form")
    assert (made["rounds_finished"], made["counts"]["asked"], made["oracle"]) == (1, 4, ORACLE)
    expect(page.get_by_role("img", name="Discovery curve")).to_be_visible()
    expect(page.locator("#candidate-table tbody tr").first).to_contain_text("validated")


def test_the_charts_show_what_the_service_counted(shown: Page, service: Running, campaign: str) -> None:
    counts = service.campaign(campaign)["counts"]
    assert counts["asked"] == 8
    curve = shown.get_by_role("img", name="Discovery curve")
    expect(curve).to_have_accessible_name(f"Discovery curve: {counts['stable']} stable compounds in 8 oracle calls")
    funnel = shown.get_by_role("img", name="Funnel")
    expect(funnel).to_have_accessible_name(re.compile(f"{counts['generated']} generated.*{counts['stable']} stable"))
    parity = shown.get_by_role("img", name="Predicted against validated")
    expect(parity.locator("circle")).to_have_count(counts["validated"])
    expect(parity.locator("line.error")).to_have_count(counts["validated"])
    expect(shown.locator("#rounds tbody tr")).to_have_count(2)


def test_every_chart_has_its_table(shown: Page, service: Running, campaign: str) -> None:
    shown.locator("#curve summary").click()
    expect(shown.locator("#curve tbody tr")).to_have_count(8)
    last = shown.locator("#curve tbody tr").last.locator("td").last
    expect(last).to_have_text(str(service.campaign(campaign)["counts"]["stable"]))
    shown.locator("#funnel summary").click()
    expect(shown.locator("#funnel tbody tr").first).to_contain_text("generated")
    shown.locator("#parity summary").click()
    expect(shown.locator("#parity tbody tr").first).to_contain_text("±")


def test_the_table_filters_and_turns_pages(shown: Page, service: Running, campaign: str) -> None:
    rows = service.candidates(campaign)
    table = shown.locator("#candidate-table tbody tr")
    expect(table).to_have_count(min(len(rows), 20))
    shown.get_by_role("button", name="Next page").click()
    expect(shown.locator("#candidate-table caption")).to_have_text(re.compile(r"^Candidates 21 to"))
    shown.get_by_label("Status").select_option("validated")
    validated = [row for row in rows if row["status"] == "validated"]
    expect(table).to_have_count(len(validated))
    shown.get_by_label("stable only").check()
    stable = [row for row in validated if row["energy_above_hull"] <= 0.1]
    expect(table).to_have_count(len(stable))
    shown.get_by_label("stable only").uncheck()
    element = validated[0]["chemical_system"].split("-")[0]
    shown.get_by_label("Formula or elements").fill(element)
    expected = [
        row
        for row in validated
        if element in row["chemical_system"].split("-") or element.lower() in row["formula"].lower()
    ]
    expect(table).to_have_count(len(expected))
    shown.get_by_label("Formula or elements").fill("Xx")
    expect(shown.locator("#candidate-table caption")).to_have_text("No candidate passes the filter")


def picture(page: Page) -> str:
    return str(page.locator("#canvas").evaluate("canvas => canvas.toDataURL()"))


def test_the_structure_viewer_turns_by_keys_mouse_and_buttons(shown: Page) -> None:
    button = shown.get_by_role("button", name="View structure of").first
    formula = button.get_attribute("data-formula")
    button.click()
    canvas = shown.get_by_role("img", name=f"Crystal structure of {formula}")
    expect(canvas).to_be_visible()
    first = picture(shown)
    canvas.focus()
    shown.keyboard.press("ArrowRight")
    turned = picture(shown)
    assert turned != first
    shown.keyboard.press("ArrowLeft")
    shown.keyboard.press("+")
    assert picture(shown) not in (first, turned)
    shown.keyboard.press("0")
    assert picture(shown) == first
    canvas.drag_to(canvas, source_position={"x": 100, "y": 100}, target_position={"x": 180, "y": 140})
    assert picture(shown) != first
    shown.get_by_role("button", name="Reset the view").click()
    assert picture(shown) == first
    shown.get_by_role("button", name="Close the structure").click()
    expect(canvas).to_be_hidden()
    expect(button).to_be_focused()


def test_the_curve_grows_while_the_campaign_runs_and_stop_ends_it(slow_service: Running, page: Page) -> None:
    open_page(page, slow_service)
    start(page, "slow", rounds=50)
    expect(page.locator("#summary .status")).to_have_text("running")
    curve = page.get_by_role("img", name="Discovery curve")
    expect(curve).to_be_visible(timeout=SECONDS)
    before = calls(curve.get_attribute("aria-label"))
    expect(page.locator("#summary .status")).to_have_text("running")
    page.wait_for_function(
        "n => Number(/in (\\d+) oracle/.exec(document.querySelector('#curve svg').getAttribute('aria-label'))[1]) > n",
        arg=before,
        timeout=SECONDS,
    )
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#run-button")).to_be_visible(timeout=SECONDS)
    rounds = slow_service.campaign("slow")["rounds_finished"]
    assert rounds < 50
    expect(page.locator("#live")).not_to_be_empty()


def calls(label: str | None) -> int:
    found = re.search(r"in (\d+) oracle", label or "")
    assert found, label
    return int(found[1])


def test_the_form_offers_what_the_service_has(service: Running, page: Page) -> None:
    open_page(page, service)
    fill_form(page, "random ones", rounds=1)
    form = page.locator("form#new")
    form.get_by_label("Generator").select_option("random")
    expect(form.get_by_label("Known phases").locator("option")).to_contain_text(["reference.csv"])
    expect(form.get_by_label("Candidates", exact=True).locator("option")).to_contain_text(
        ["generator", "reference.csv"]
    )
    expect(form.get_by_label("Oracle", exact=True)).to_have_value("")
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.locator("#campaign-title")).to_have_text("random ones")
    finished(page)
    with Client(service.url) as client:
        config = client.campaign(service.campaign("random ones")["id"])["config"]
    assert config["model"] == "random"
    assert "candidates" not in config


def test_a_campaign_is_deleted_once_that_is_confirmed(service: Running, page: Page) -> None:
    open_page(page, service)
    start(page, "not for long", rounds=1)
    finished(page)
    dialog = page.get_by_role("dialog", name="Delete this campaign?")
    for answer in ("Escape", "Enter"):  # the button that keeps it has the focus
        page.get_by_role("button", name="Delete", exact=True).click()
        expect(dialog).to_contain_text("not for long")
        page.keyboard.press(answer)
        expect(dialog).to_be_hidden()
        assert service.campaign("not for long")["status"] == "finished"
    page.get_by_role("button", name="Delete", exact=True).click()
    dialog.get_by_role("button", name="Delete it").click()
    expect(page.locator("#live")).to_have_text("not for long is deleted")
    expect(page.locator("#campaign-title")).not_to_have_text("not for long")
    expect(page.get_by_role("heading", name="Campaigns", exact=True)).to_be_focused()
    with Client(service.url) as client:
        assert "not for long" not in [one["name"] for one in client.campaigns()]


def test_what_the_service_refuses_is_said(service: Running, page: Page) -> None:
    page.errors_allowed.append("422")  # type: ignore[attr-defined]
    open_page(page, service)
    fill_form(page, "impossible", chemical_system="Li-Xx")
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("Xx")
    expect(page.locator("form#new")).to_be_visible()


def test_a_person_asks_and_tells(service: Running, page: Page) -> None:
    open_page(page, service)
    start(page, "by hand", oracle="external")
    page.get_by_label("Number").fill("3")
    page.get_by_role("button", name="Ask", exact=True).click()
    energies = page.get_by_label(re.compile("^Energy above hull of"))
    expect(energies).to_have_count(3, timeout=SECONDS)
    energies.nth(0).fill("-0.02")
    page.get_by_label(re.compile("^Why .* has no energy")).nth(1).fill("sample lost")
    page.get_by_label("Scheme of the energies").fill("my-dft")
    page.get_by_role("button", name="Tell", exact=True).click()
    expect(page.locator("#hand")).to_contain_text("What became of your answers")
    expect(page.locator("#hand td", has_text="accepted")).to_have_count(2)
    expect(energies).to_have_count(1)
    counts = service.campaign("by hand")["counts"]
    assert (counts["validated"], counts["failed"], counts["stable"]) == (1, 1, 1)
    expect(page.get_by_role("img", name="Discovery curve")).to_have_accessible_name(
        re.compile("1 stable compounds in 2")
    )


def test_a_token_is_asked_for_and_kept_in_the_tab(guarded_service: Running, page: Page) -> None:
    page.errors_allowed.append("401")  # type: ignore[attr-defined]
    page.goto(guarded_service.url)
    dialog = page.get_by_role("dialog", name="Access token")
    expect(dialog).to_be_visible()
    page.get_by_label("Token", exact=True).fill("wrong")
    page.keyboard.press("Enter")
    expect(dialog).to_be_visible()
    page.get_by_label("Token", exact=True).fill(guarded_service.token)
    page.keyboard.press("Enter")
    expect(page.locator("#campaigns")).to_contain_text("There is no campaign yet")
    assert page.evaluate("[sessionStorage.length, localStorage.length]") == [1, 0]
    page.reload()
    expect(page.locator("#campaigns")).to_contain_text("There is no campaign yet")
    expect(dialog).to_be_hidden()
    start(page, "with a token", rounds=1)
    finished(page)
    with page.expect_download() as download:
        page.get_by_role("link", name="Table (CSV)").click()
    assert download.value.suggested_filename == "candidates.csv"
    assert download.value.path().read_text().startswith("formula,")
