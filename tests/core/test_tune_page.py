"""The page of a search says what its records say, and the storage keeps it."""

from __future__ import annotations

import re
from pathlib import Path

import fsspec
import pytest

from discovery.errors import ConfigError, DataError
from tests.core.small_search import failed, record, small_plan, stopped
from tune.best import Confirmed
from tune.page import confirmed_sentence, headline, page, write_page
from tune.storage import PAGE, Storage
from tune.watching import read_records

PLAN = small_plan(trials=9)
RECORDS = [
    *(record(n, 10.0 * n, seconds=100.0 - n) for n in range(1, 7)),
    stopped(7),
    failed(8, "out of memory: <8 GiB"),
]


def test_the_page_shows_every_trial_and_why_the_failed_ones_failed() -> None:
    text = page(RECORDS, PLAN)
    assert "Trial 6 is best of 6 finished" in text
    assert "6 finished, 1 stopped early, 1 failed" in text
    rows = re.findall(r"<tr><td>(\d)</td><td>(finished|stopped early|failed)", text)
    assert [int(number) for number, _ in rows[:8]] == [6, 5, 4, 3, 2, 1, 7, 8]  # ranked, then the others
    assert "out of memory: &lt;8 GiB" in text  # escaped
    for title in ("Learning curves", "Parallel coordinates", "Importance of the settings", "Pareto", "+1.00"):
        assert title in text, title


def test_the_page_needs_no_other_file_and_no_network() -> None:
    text = page(RECORDS, PLAN)
    assert not re.findall(r"(?:src|href)=|@import|url\(|<script", text)
    assert text.count("<svg") == 7  # curves, coordinates, importance, three forecasts, the front


@pytest.mark.parametrize("records", [[], [failed(1, "x")], [stopped(1)], [record(1, 5.0)]])
def test_a_page_of_a_search_that_found_little_can_be_read(records: list) -> None:
    text = page(records, PLAN)
    assert headline(records, PLAN) in text
    assert "Too few trials have finished to say." in text


def test_fresh_samples_decide_whether_the_best_is_better() -> None:
    def found(value: float) -> dict[str, float]:
        return {"yield": value, "yield_low": value - 5, "yield_high": value + 5, "samples": 9000, "judged": 4000}

    assert "the intervals lie apart" in confirmed_sentence(Confirmed(found(60.0), found(40.0)))
    assert "is not shown to be better" in confirmed_sentence(Confirmed(found(48.0), found(40.0)))
    assert confirmed_sentence(None) == ""


@pytest.mark.parametrize("url", ["{tmp}/search", "file://{tmp}/search", "memory://search"])
def test_any_file_system_keeps_a_search(url: str, tmp_path: Path) -> None:
    storage = Storage.at(url.format(tmp=tmp_path))
    assert storage.local == ("memory" not in url)
    assert storage.read_json("search.json") == {}
    storage.write_json("search.json", PLAN.plain())
    storage.write_json("trials.json", {"trials": [r.plain() for r in RECORDS]})
    write_page(RECORDS, PLAN, storage)
    assert storage.holds(PAGE)
    assert storage.read_json("search.json")["trials"] == 9
    assert read_records(storage) == RECORDS
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "card.json").write_text("{}")
    for _ in range(2):  # the second time it replaces the first
        storage.put(tmp_path / "model", "best")
    assert storage.filesystem.ls(storage.inner("best"), detail=False) == [storage.inner("best", "card.json")]
    if not storage.local:
        assert storage.arrow() is not None
        fsspec.filesystem("memory").rm("/search", recursive=True)


def test_places_that_cannot_be_are_turned_down(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="install what it needs, or name a folder"):
        Storage.at("nowhere://bucket/search")
    (tmp_path / "trials.json").write_text("{")
    with pytest.raises(DataError, match="is damaged"):
        Storage.at(str(tmp_path)).read_json("trials.json")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="name another --storage"):
        Storage.at(str(tmp_path / "file" / "inside")).write("a", "b")
