from __future__ import annotations

from discovery.constraints import Constraints
from discovery.records import Sample
from discovery.reference.known import ListedFormulas
from discovery.screening import ScreenContext, annotate, screen

CONTEXT = ScreenContext(ListedFormulas(["NaCl"]), frozenset({"KBr"}))


def sample(formula: str | None) -> Sample:
    return Sample("sequence", formula, -5.0)


def test_every_sample_is_accepted_once_or_counted_with_a_reason() -> None:
    texts = ["LiF", "LiF", "Li2F2", "NaCl", "KBr", None, "Na2Cl", "CsI"]
    screened = screen([sample(text) for text in texts], "gen", 1, Constraints(), CONTEXT)
    assert [item.candidate.formula for item in screened.accepted] == ["LiF", "CsI"]
    assert screened.rejects["duplicate"] == 2
    assert screened.rejects["known"] == 1
    assert screened.rejects["seen in an earlier round"] == 1
    assert screened.rejects["unparsable sequence"] == 1
    assert screened.generated == len(texts) == len(screened.accepted) + sum(screened.rejects.values())
    assert screened.valid == 6  # LiF three times, NaCl, KBr, CsI
    assert screened.novel == 3  # LiF, KBr, CsI: not known to the reference
    assert {item.candidate.formula for item in screened.rejected} == {"NaCl", "Na2Cl"}


def test_constraints_hold_for_what_was_sampled_without_them() -> None:
    screened = screen([sample("LiF"), sample("CsI")], "gen", 1, Constraints(allowed=frozenset({"Cs", "I"})), CONTEXT)
    assert [item.candidate.formula for item in screened.accepted] == ["CsI"]
    assert screened.rejects == {"element not allowed": 1}


def test_a_given_list_is_annotated_and_never_rejected() -> None:
    screened = annotate(["Na2Cl", "NaCl", "Cl2Na2", "LiF"], "list.csv", CONTEXT, Constraints())
    notes = {item.candidate.formula: item.reason for item in screened.accepted}
    assert set(notes) == {"Na2Cl", "NaCl", "LiF"}
    assert notes["NaCl"] == "known"
    assert notes["Na2Cl"]
    assert notes["LiF"] == ""
    assert screened.rejects == {"duplicate": 1}
    assert (screened.generated, screened.valid, screened.novel) == (4, 3, 1)
