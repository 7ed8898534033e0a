import pytest

from discovery.constraints import Constraints
from discovery.errors import ConfigError, ConstraintError
from discovery.templates import FIRST_TRIES, Template, accepts, check_fits, keep_accepted
from discovery.vocabulary import encode


@pytest.mark.parametrize(
    ("text", "canvas"),
    [
        ("Li ? O", "Li ? O"),
        ("O ? Li", "Li O ?"),  # an unknown goes with the element before it
        ("? O Li", "? Li O"),  # unknowns at the start stay there
        ("Sr Ti O3 *", "Sr Ti O O O *"),
        ("?2 O3", "? ? O O O"),
        ("O2 ? Li * Fe", "Li * Fe O O ?"),
        ("*", "*"),
        ("O ? Fe O", "Fe O ? O"),
    ],
)
def test_templates_are_read_in_canonical_order(text, canvas):
    template = Template.parse(text)
    assert str(template) == canvas
    assert Template.parse(str(template)) == template
    assert template.open_ended == ("*" in text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Li Fe O2", "nothing to fill"),
        ("", "nothing to fill"),
        ("Li?O", "no part of a template"),
        ("Li ? O-2", "no part of a template"),
        ("Li *2", "no part of a template"),
        ("Xx ?", "'Xx' is no element"),
        ("Li0 ?", "no atoms"),
    ],
)
def test_wrong_templates_say_how_to_write_them(text, message):
    with pytest.raises(ConfigError, match=message):
        Template.parse(text)


@pytest.mark.parametrize(
    ("text", "constraints", "message"),
    [
        ("Li ? O", Constraints(excluded=frozenset({"Li"})), "gives \\['Li'\\]"),
        ("Li ? O", Constraints(allowed=frozenset({"Li", "Fe"})), "gives \\['O'\\]"),
        ("Li ?40 O", Constraints(), "30 are possible"),
        ("Li ? O3", Constraints(max_atoms=4), "4 are possible"),
        ("Li Fe P O ?", Constraints(max_elements=3), "--max-elements 3"),
        ("Li ? O", Constraints(required=frozenset({"Fe", "P"})), "too few for the required"),
    ],
)
def test_templates_that_contradict_the_constraints(text, constraints, message):
    with pytest.raises(ConstraintError, match=message):
        check_fits(Template.parse(text), constraints, 30, constrained=False)


def test_elements_that_never_balance_are_named_where_validity_is_asked_for():
    template = Template.parse("He ? O")
    check_fits(template, Constraints(), 30, constrained=False)
    with pytest.raises(ConstraintError, match="'He'"):
        check_fits(template, Constraints(), 30, constrained=True)


def test_what_is_accepted():
    rock_salt, too_much, magnetite = encode({"Na": 1, "Cl": 1}), encode({"Na": 2, "Cl": 1}), encode({"Fe": 3, "O": 4})
    free, valid = accepts(Constraints(), constrained=False), accepts(Constraints(), constrained=True)
    assert free(rock_salt)
    assert free(too_much)
    assert valid(rock_salt)
    assert not valid(too_much)
    assert not valid(magnetite)
    assert accepts(Constraints(mixed_valence=True), constrained=True)(magnetite)
    assert not accepts(Constraints(required=frozenset({"O"})), constrained=False)(rock_salt)
    assert not free([1, *rock_salt])


def test_rejection_keeps_order_and_count_and_gives_up():
    numbers = iter(range(10**6))

    def fill(rows):
        return [[next(numbers)] for _ in range(rows)]

    template = Template.parse("Li ? O")
    assert keep_accepted(fill, 40, lambda atoms: atoms[0] % 3 == 0, template) == [[3 * k] for k in range(40)]
    start = next(numbers)
    with pytest.raises(ConstraintError, match=r"only 0 of .* 'Li \? O' .* widen"):
        keep_accepted(fill, 40, lambda atoms: False, template)
    assert FIRST_TRIES <= next(numbers) - start <= 2 * FIRST_TRIES
