from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from discovery.display import (
    LiveDisplay,
    PlainDisplay,
    QuietDisplay,
    closing_lines,
    display_for,
    false_stable_sentence,
    far_below_sentence,
    print_summary,
)
from discovery.events import STAGES, Observer
from discovery.records import Failure, Measurement
from discovery.summary import summarize
from tests.story import empty, two_rounds


def terminal(width: int = 100) -> tuple[Console, io.StringIO]:
    file = io.StringIO()
    return Console(file=file, force_terminal=True, width=width, color_system=None), file


def drawn(display: LiveDisplay) -> str:
    console, file = terminal()
    console.print(display.picture())
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", file.getvalue())


def run_all(observer: Observer) -> None:
    for stage in STAGES:
        observer.stage_started(1, stage, None)
        observer.stage_advanced(stage, 1)
        observer.stage_finished(1, stage, 0.5)
    observer.answered(Failure("NaCl", "hand", "timeout"))


def test_the_live_display_shows_stages_counts_and_the_latest_answers() -> None:
    display = LiveDisplay(terminal()[0], rounds=3, tolerance=0.1)
    assert "starting" in drawn(display)
    display.stage_started(2, "generate", 2000)
    display.stage_advanced("generate", 700)
    text = drawn(display)
    assert "round 2 of 3" in text
    assert re.search(r"→ +generate .* 700/2000", text)
    assert all(stage in text for stage in STAGES)
    display.stage_finished(2, "generate", 3.25)
    assert re.search(r"✓ +generate .* 2000/2000 3.2 s", drawn(display))
    display.answered(Measurement("MgO", "hand", "test", -1.0, energy_above_hull=-0.02))
    display.answered(Failure("NaCl", "hand", "timeout"))
    assert re.search(r"MgO +-0.020 eV/atom above hull\n.*NaCl +failed: timeout", drawn(display))


def test_a_new_round_clears_the_bars() -> None:
    display = LiveDisplay(terminal()[0], 3, 0.1)
    display.stage_started(1, "generate", 10)
    display.stage_finished(1, "generate", 1.0)
    display.stage_started(2, "validate", 4)
    assert "✓" not in drawn(display)
    assert "0/4" in drawn(display)


def test_a_formula_with_brackets_is_text_and_no_style(tmp_path: Path) -> None:
    display = LiveDisplay(terminal()[0], 3, 0.1)
    display.answered(Failure("X", "hand", "[bold]odd[/] reason"))
    assert "[bold]odd[/] reason" in drawn(display)


def test_live_output_of_a_round_stays_on_the_screen(tmp_path: Path) -> None:
    record = two_rounds(tmp_path / "run").ledger.records()[1]
    console, file = terminal()
    with LiveDisplay(console, 2, 0.1) as display:
        run_all(display)
        display.round_finished(record)
    line = "round 1/2: 10 generated, 6 valid, 5 novel, 2 validated (1 failed), 1 stable"
    assert line in file.getvalue()


def test_where_there_is_no_terminal_there_is_one_line_per_round(tmp_path: Path) -> None:
    records = two_rounds(tmp_path / "run").ledger.records()
    file = io.StringIO()
    display = PlainDisplay(Console(file=file, width=40), 2)
    run_all(display)
    display.round_finished(records[1])
    display.round_finished(records[2])
    assert file.getvalue().splitlines() == [
        "round 1/2: 10 generated, 6 valid, 5 novel, 2 validated (1 failed), 1 stable, error of the estimates 0.200 "
        "eV/atom, 7 s",
        "round 2/2: 10 generated, 8 valid, 3 novel, 2 validated, 2 stable, 2 s",
    ]


def test_the_display_fits_the_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    campaign = empty(tmp_path / "run")
    with display_for(campaign, quiet=True) as quiet:
        assert type(quiet) is QuietDisplay
        run_all(quiet)
    with display_for(campaign, quiet=False) as plain:  # pytest's capture is no terminal
        assert type(plain) is PlainDisplay
        run_all(plain)
    assert capsys.readouterr().out == ""


def test_the_final_table_lists_the_best_and_says_what_they_are_worth(tmp_path: Path) -> None:
    campaign = two_rounds(tmp_path / "run")
    file = io.StringIO()
    print_summary(campaign, summarize(campaign, 61.0, "2 rounds finished"), Console(file=file, width=300))
    lines = file.getvalue().splitlines()
    rows = [line.split() for line in lines if re.match(r" +(Mg|Li)", line)]
    assert [row[:5] for row in rows] == [
        ["MgTiO3", "+0.020", "±", "0.050", "-0.120"],
        ["Mg2TiO4", "+0.000", "±", "0.050", "-0.071"],
        ["LiMgClO", "+0.100", "±", "0.050", "-0.050"],
        ["MgO2", "+0.090", "±", "0.050", "+0.500"],
    ]
    assert rows[0][5:] == ["structures/MgTiO3.cif", "rank", "1", "of", "3", "in", "<1>"]
    assert lines[-4] == "3 of 4 validated compounds lie within 0.1 eV/atom of the pencil hull (scheme test)."
    assert "23%" in lines[-3]
    assert lines[-2] == "2 rounds, 5 oracle calls (1 failed), 61 s. 2 rounds finished."
    assert str(campaign.folder / "report.html") in lines[-1]


def test_a_campaign_without_finds_ends_without_a_table(tmp_path: Path) -> None:
    campaign = empty(tmp_path / "run")
    lines = closing_lines(campaign, summarize(campaign, 0.0, "exhausted"))
    assert lines[0].startswith("0 of 0 validated compounds")
    assert lines[1] == false_stable_sentence(None, 0.1)
    assert "never measured" in lines[1]


def test_energies_far_below_the_hull_are_a_sign_of_a_missing_phase() -> None:
    assert far_below_sentence([-0.2, 0.0, 0.5]) == ""
    assert far_below_sentence([-1.2, -0.21, 0.0]).startswith("2 of them lie more than 0.2 eV/atom below the hull")
