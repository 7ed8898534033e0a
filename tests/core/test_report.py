from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from discovery.campaign import Campaign
from discovery.composition import SYMBOLS
from discovery.hull import Hull
from discovery.outcomes import outcomes
from discovery.records import LearningReport, RoundRecord
from discovery.reference.base import Phase
from discovery.report import write_report
from discovery.report.charts import coverage, expected_curve, found_curve
from discovery.report.elements import element_counts, place
from discovery.report.hulls import best_systems, decomposition_table, marks, tie_lines
from discovery.report.markup import formula_html, log_share
from discovery.report.svg import Frame, Labels, ticks
from discovery.report.tables import funnel_counts, learning_table
from discovery.summary import summarize
from tests.story import empty, two_rounds

VOID = {"meta", "link", "img", "br", "hr", "input", "rect", "line", "polyline", "circle", "polygon"}
LOADING = {"src", "srcset", "data", "poster", "action", "xlink:href", "background"}


class Page(HTMLParser):
    """Collects the text, the tags and what they would load; fails where tags do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self._open.pop() == tag
        elif self._open and self._open[-1] == tag:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    return two_rounds(tmp_path_factory.mktemp("run"), attribution="Data: <Example> CC-BY, https://example.org")


def written(campaign: Campaign) -> str:
    path = write_report(campaign, summarize(campaign, 61.0, "2 rounds finished"))
    assert path == campaign.folder / "report.html"
    return path.read_text(encoding="utf-8")


def test_the_page_loads_nothing_and_links_only_to_structures(campaign: Campaign) -> None:
    text = written(campaign)
    page = Page(text)
    assert not {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe", "object", "embed"}
    assert not [attrs for _, attrs in page.tags if LOADING & set(attrs)]
    assert "url(" not in text
    assert "@import" not in text
    links = {attrs["href"] for _, attrs in page.tags if "href" in attrs}
    assert links == {"structures/MgTiO3.cif", "structures/LiMgClO.cif"}


def test_the_head_says_how_many_and_what_that_is_worth(campaign: Campaign) -> None:
    page = Page(written(campaign))
    assert "3 of 4 validated compounds lie within 0.1 eV/atom of the pencil hull" in page.text
    assert "23% of compounds known to lie more than 0.1 eV/atom above" in page.text
    assert "pencil v1, 3 phases with energies, 3 known compositions" in page.text
    assert "Data: <Example> CC-BY, https://example.org" in page.text  # escaped, and only text


def test_every_drawing_has_a_name_and_headings_are_in_order(campaign: Campaign) -> None:
    page = Page(written(campaign))
    drawings = [attrs for tag, attrs in page.tags if tag == "svg"]
    assert len(drawings) == 7  # curve, parity, calibration, error, one binary and one ternary hull, elements
    assert all(attrs["role"] == "img" and attrs["aria-label"] for attrs in drawings)
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_texts_of_others_are_escaped(campaign: Campaign) -> None:
    assert "rank 1 of 3 in &lt;1&gt;" in written(campaign)  # the reason for choosing holds angle brackets


def test_tables_show_rejects_failures_learning_and_time(campaign: Campaign) -> None:
    text = Page(written(campaign)).text
    for words in (
        "not neutral 4",
        "duplicate 8",
        "relaxation diverged 1",
        "g-1 rolled back",
        "90% → 70%",
        "0.200 → 0.100",
    ):
        assert words in text, words


def test_a_report_before_the_first_round_says_so(tmp_path: Path) -> None:
    campaign = empty(tmp_path / "run")
    text = Page(written(campaign)).text
    assert "No compound has been validated yet" in text
    assert "never measured" in text


def test_the_curve_ends_at_the_number_of_stable_compounds(campaign: Campaign) -> None:
    found = outcomes(campaign)
    assert found_curve(found, 5, 0.1) == [0, 1, 1, 1, 2, 3]
    assert found_curve(found, 5, 0.1)[-1] == sum(r.stable for r in campaign.ledger.records().values())
    assert found_curve(found, 5, 0.5)[-1] == 4


def test_the_promise_is_the_sum_of_probabilities(campaign: Campaign) -> None:
    curve = expected_curve(outcomes(campaign), 5, 0.1)
    # predicted 0.02, 0.09, 0.00, 0.10 with std 0.05: Phi(1.6), Phi(0.2), Phi(2), Phi(0), from a table of Phi
    assert np.diff(curve) == pytest.approx([0.94520, 0.57926, 0.0, 0.97725, 0.5], abs=1e-5)


def test_coverage_of_a_unit_normal_and_its_interval() -> None:
    pairs = [(error, 1.0) for error in (0.1, -0.6, 1.0, -1.5, 1.7, 2.5, -0.2, 0.3, -2.0, 0.5)]
    assert coverage(pairs, 0.6745)[0] == 0.5  # |error| <= 0.6745
    assert coverage(pairs, 1.6449)[0] == 0.7  # |error| <= 1.6449
    assert coverage(pairs, 1.96)[0] == 0.8  # |error| <= 1.9600
    # Wilson 95 % interval of 5 in 10
    assert coverage(pairs, 0.6745)[1:] == pytest.approx((0.23659, 0.76341), abs=1e-5)


def test_the_funnel_never_widens(campaign: Campaign) -> None:
    records = campaign.ledger.records()
    assert funnel_counts(records[1]) == {
        "generated": 10, "valid": 6, "novel": 5, "ranked": 4, "selected": 3, "validated": 2, "stable": 1,
    }  # fmt: skip


def test_every_element_has_a_place_of_its_own() -> None:
    places = {symbol: place(symbol) for symbol in SYMBOLS}
    assert len(set(places.values())) == len(SYMBOLS) == 103
    assert all(0 <= column < 18 and 0 <= row < 10 for column, row in places.values())
    known = {"H": (0, 0), "He": (17, 0), "B": (12, 1), "Fe": (7, 3), "La": (2, 8), "Hf": (3, 5), "Lr": (16, 9)}
    assert {symbol: places[symbol] for symbol in known} == known


def test_elements_are_counted_by_compound(campaign: Campaign) -> None:
    assert element_counts(outcomes(campaign)) == {"Mg": 4, "O": 4, "Ti": 2, "Li": 1, "Cl": 1}


def test_marks_of_a_system_are_phases_and_finds_with_their_place_on_the_hull(campaign: Campaign) -> None:
    phases = marks(("Mg", "O", "Ti"), campaign.hull_with_finds().facing([]), outcomes(campaign))
    assert [m.formula for m in phases[:3]] == ["Mg", "O", "Ti"]
    by_formula = {m.formula: m for m in phases}
    assert {f for f, m in by_formula.items() if m.found} == {"MgTiO3", "MgO2", "Mg2TiO4"}
    assert {f for f, m in by_formula.items() if m.stable} == {"Mg", "O", "Ti", "MgO", "TiO2", "MgTiO3"}
    assert by_formula["Mg2TiO4"].above == pytest.approx(0.1 / 7)
    assert by_formula["MgTiO3"].fractions == pytest.approx((0.2, 0.6, 0.2))


def test_tie_lines_join_neighbours_only() -> None:
    phases = [
        m for m in marks(("Mg", "O", "Ti"), Hull([Phase("MgO", -3.0), Phase("TiO2", -3.3)], "test"), []) if m.stable
    ]
    named = {frozenset((phases[i].formula, phases[j].formula)) for i, j in tie_lines(phases)}
    pairs = ["Mg Ti", "Mg MgO", "MgO O", "O TiO2", "TiO2 Ti", "MgO TiO2", "MgO Ti"]
    # MgO-Ti, not Mg-TiO2: their lines cross, and 2 MgO + Ti (-12.0 in all) lies below 2 Mg + TiO2 (-9.9)
    assert named == {frozenset(pair.split()) for pair in pairs}


def test_tie_lines_of_elements_alone_are_the_triangle() -> None:
    assert tie_lines(marks(("Mg", "O", "Ti"), Hull([], "test"), [])) == [(0, 1), (0, 2), (1, 2)]


def test_larger_systems_are_told_in_words(campaign: Campaign) -> None:
    found = outcomes(campaign)
    assert best_systems(found, 3) == [("Mg", "O", "Ti")]
    table = decomposition_table(found, campaign.hull_with_finds().facing([]))
    assert "0.50&nbsp;LiCl + 0.50&nbsp;MgO" in table
    assert table.count("<tr>") == 2  # the header and LiMgClO


def test_ticks_are_round_numbers_inside_the_range() -> None:
    assert ticks(0, 1) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert ticks(-0.13, 0.52) == pytest.approx([0, 0.2, 0.4])
    assert ticks(0, 80) == [0, 20, 40, 60, 80]


def test_a_frame_puts_corners_where_they_belong() -> None:
    frame = Frame((-1.0, 1.0), (0.0, 4.0), (200, 100), left=20, right=30, top=5, bottom=15)
    assert frame.at(-1.0, 0.0) == (20, 85)
    assert frame.at(1.0, 4.0) == (170, 5)
    assert frame.at(0.0, 2.0) == (95, 45)


def test_labels_avoid_each_other_and_give_up_where_there_is_no_room() -> None:
    labels = Labels()
    placed = [labels.place((50.0, 50.0), "MgO", "ink") for _ in range(8)]
    assert placed[0]
    spots = [text for text in placed if text]
    assert len(set(spots)) == len(spots) < 8
    assert labels.place((50.0, 50.0), "MgO", "ink", needed=True)


def test_formulas_and_bars() -> None:
    assert formula_html("Mg2TiO4*") == "Mg<sub>2</sub>TiO<sub>4</sub>*"
    assert (log_share(0, 999), log_share(999, 999), log_share(0, 0)) == (0.0, 1.0, 0.0)


def test_every_validated_candidate_is_listed_with_its_competing_phases(campaign: Campaign) -> None:
    text = Page(written(campaign)).text
    _, _, listed = text.partition("All 4 validated candidates")
    for formula in ("MgTiO 3", "MgO 2", "Mg 2 TiO 4", "LiMgClO"):
        after = listed.partition(f" {formula} ")[2]
        assert "MgO + TiO 2 *" in after[:80], formula


@pytest.mark.parametrize(
    ("evidence", "factor", "words"),
    [(1.3, 1.0, "holds (evidence 1.3 from 32 labels)"), (40.0, 1.62, "recalibrated by 1.62</strong> (evidence 40")],
)
def test_learning_table_says_whether_the_calibration_held(evidence: float, factor: float, words: str) -> None:
    seen = {"calibration_labels": 32.0, "calibration_evidence": evidence, "calibration_factor": factor}
    record = RoundRecord(1, 0, 0, 0, (), 0, 0, 0, {}, {}, LearningReport("s", "g", seen), {})
    assert words in learning_table([record])
