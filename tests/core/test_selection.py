from __future__ import annotations

import pytest

from discovery.composition import SYMBOLS
from discovery.constraints import Constraints
from discovery.errors import ConfigError
from discovery.reference.selection import MAX_SYSTEMS, Selection


def test_a_system_brings_all_systems_within_it() -> None:
    assert Selection.parse("O-Li-Fe").systems == {"Fe-Li", "Fe-O", "Li-O", "Fe-Li-O"}
    assert len(Selection.parse("Al-B-C-Dy").systems) == 11


def test_patterns_and_ids_stay_as_they_are() -> None:
    selection = Selection.parse("Li-*, *-*-*,mp-149, Na-Cl")
    assert selection.systems == {"Li-*", "*-*-*", "Cl-Na"}
    assert selection.ids == {"mp-149"}
    assert Selection.parse("*-Li").systems == {"Li-*"}


@pytest.mark.parametrize("text", ["", " , ", "Li", "Li-Li", "Xx-O", "Li-Fe-", "li-o-x"])
def test_what_is_no_system_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        Selection.parse(text)


def test_a_pattern_covers_the_systems_that_match_it() -> None:
    covered = Selection.parse("Li-*,*-*-*")
    assert not Selection.parse("Li-O").without(covered)
    assert Selection.parse("Fe-Li-O").without(covered).systems == {"Fe-O"}
    assert Selection.parse("Li-*-*").without(covered).systems == frozenset()
    assert Selection.parse("*-*").without(covered).systems == {"*-*"}
    assert covered.holds("Li-O", "")
    assert not covered.holds("Fe-O", "mp-1")
    assert Selection.of_ids(["mp-1"]).holds("Fe-O", "mp-1")


def test_chunks_hold_everything_once_and_patterns_alone() -> None:
    selection = Selection.parse("Li-Fe-P-O,Na-*,mp-1,mp-2,mp-3")
    chunks = list(selection.chunks(4))
    assert [len(chunk) for chunk in chunks] == [4, 4, 3, 1, 3]
    assert chunks[3].systems == {"Na-*"}
    assert frozenset().union(*(chunk.systems for chunk in chunks)) == selection.systems
    assert chunks[4].ids == selection.ids


def test_constraints_decide_what_is_needed() -> None:
    assert Selection.of_constraints(Constraints()) is None
    allowed = Constraints(allowed=frozenset({"Li", "Fe", "O", "Na"}), excluded=frozenset({"Na"}))
    assert Selection.of_constraints(allowed) == Selection.parse("Li-Fe-O")
    assert Selection.of_constraints(Constraints.from_chemical_system("Li-Fe-O")) == Selection.parse("Li-Fe-O")
    pairs = Constraints(allowed=frozenset({"Li", "Fe", "O"}), max_elements=2)
    assert Selection.of_constraints(pairs).systems == {"Fe-Li", "Fe-O", "Li-O"}  # type: ignore[union-attr]


def test_formulas_bring_their_systems() -> None:
    assert Selection.of_formulas(["NaCl", "Fe2O3", "LiFeO2", "Li2Fe2O4"]) == Selection.parse("Na-Cl,Li-Fe-O")


def test_too_many_systems_are_refused_with_a_way_out() -> None:
    many = Constraints(allowed=frozenset(SYMBOLS[:18]))
    with pytest.raises(ConfigError, match=f"{MAX_SYSTEMS:,}.*--max-elements.*snapshot:FILE"):
        Selection.of_constraints(many)


@pytest.mark.parametrize("ids", [[], ["", " "], ['mp-1" OR nelements=2'], ["mp-1,mp-2"]])
def test_what_is_no_id_is_refused(ids: list[str]) -> None:
    with pytest.raises(ConfigError):
        Selection.of_ids(ids)
