from __future__ import annotations

import pytest

from discovery.constraints import Constraints
from discovery.errors import ConstraintError


def test_a_chemical_system_allows_and_requires_exactly_its_elements() -> None:
    constraints = Constraints.from_chemical_system("Li-Fe-O")
    assert constraints.element_pool() == {"Li", "Fe", "O"}
    assert constraints.violation({"Li": 1, "Fe": 1, "O": 2}) is None
    assert constraints.violation({"Li": 2, "O": 1}) == "required element missing"
    assert constraints.violation({"Li": 1, "Fe": 1, "S": 2}) == "element not allowed"


def test_sizes_are_limits_and_not_more() -> None:
    constraints = Constraints(max_atoms=5, max_elements=3)
    assert constraints.violation({"Sr": 1, "Ti": 1, "O": 3}) is None
    assert constraints.violation({"Sr": 1, "Ti": 1, "O": 4}) == "too many atoms"
    assert constraints.violation({"Li": 1, "Na": 1, "K": 1, "F": 1}) == "too many elements"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"allowed": frozenset({"Xx"})}, "unknown elements"),
        ({"allowed": frozenset()}, "empty"),
        ({"allowed": frozenset({"Li"}), "excluded": frozenset({"Li"})}, "no element is left"),
        ({"required": frozenset({"Li"}), "excluded": frozenset({"Li"})}, "also excluded"),
        ({"required": frozenset({"Li"}), "allowed": frozenset({"Na", "O"})}, "outside --elements"),
        ({"required": frozenset({"Li", "Na", "K"}), "max_elements": 2}, "more than"),
        ({"max_atoms": 1}, "at least two"),
    ],
)
def test_contradictions_are_refused_with_the_reason(options: dict[str, object], words: str) -> None:
    with pytest.raises(ConstraintError, match=words):
        Constraints(**options)  # type: ignore[arg-type]


def test_a_chemical_system_of_one_element_is_refused() -> None:
    with pytest.raises(ConstraintError, match="two elements"):
        Constraints.from_chemical_system("Li")
