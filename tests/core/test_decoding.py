"""Grammars are compared with exhaustive enumeration: same language, no dead ends."""

import math
from collections.abc import Iterator
from itertools import combinations, product

import numpy as np
import pytest

from discovery import vocabulary
from discovery.charge_grammar import ChargeGrammar, never_balanced
from discovery.composition import electronegativity_order, is_metallic
from discovery.constraints import Constraints
from discovery.decoding import draw, nucleus, sample, survivors
from discovery.errors import ConfigError, ConstraintError
from discovery.generators.base import SamplingOptions
from discovery.generators.zoo import Size, sized
from discovery.grammar import FreeGrammar, Grammar, TiltedGrammar
from discovery.validity import Rules, judge, verdict
from discovery.vocabulary import ELEMENTS, END, SIZE, START, TOKENS


class UniformDecoder:
    """A language model without preferences."""

    max_atoms = 30

    def begin(self):
        self.rows = None

    def step(self, tokens):
        self.rows = len(tokens)
        return np.zeros((len(tokens), SIZE), dtype=np.float32)

    def keep(self, rows):
        self.rows = len(rows)


def language(grammar: Grammar, limit: int = 200_000) -> Iterator[tuple[int, ...]]:
    """All sequences of a grammar, depth first; fails on a state in which nothing is allowed."""
    stack = [(grammar.start(), ())]
    while stack:
        state, written = stack.pop()
        tokens = np.flatnonzero(np.isfinite(grammar.scores(state))).tolist()
        assert tokens, f"dead end after {vocabulary.sequence_text(written)}"
        for token in tokens:
            if token == END:
                limit -= 1
                assert limit > 0, "language too large for this test"
                yield written
            else:
                stack.append((grammar.advance(state, token), (*written, token)))


def compositions(constraints: Constraints) -> Iterator[dict[str, int]]:
    """All element counts within the limits, elements in ascending electronegativity."""
    pool = electronegativity_order(constraints.element_pool())
    for number in range(2, constraints.max_elements + 1):
        for symbols in combinations(pool, number):
            for counts in product(range(1, constraints.max_atoms + 1), repeat=number):
                amounts = dict(zip(symbols, counts, strict=True))
                if constraints.violation(amounts) is None:
                    yield amounts


SMALL_WORLDS = [
    Constraints(allowed=frozenset({"Na", "Fe", "O", "H", "Pt"}), max_atoms=6, max_elements=4),
    Constraints(allowed=frozenset({"Ca", "Lu", "C", "Se", "F"}), max_atoms=6, max_elements=3),  # two ties
    Constraints(allowed=frozenset({"Li", "Fe", "P", "O"}), required=frozenset({"Li", "P"}), max_atoms=8),
    Constraints(allowed=frozenset({"Si", "Cu", "Hg", "Bi", "N"}), max_atoms=6, max_elements=5),
    Constraints.from_chemical_system("Li-Fe-O", max_atoms=9),
    Constraints(allowed=frozenset({"Au", "F", "Na"}), max_atoms=10),  # Au(3+)Au(5+)F8 balances, AuF4 does not
]


@pytest.mark.parametrize("world", SMALL_WORLDS)
@pytest.mark.parametrize("mixed_valence", [False, True])
@pytest.mark.parametrize("intermetallics", [False, True])
def test_the_constrained_language_is_exactly_the_valid_compositions(world, mixed_valence, intermetallics):
    constraints = Constraints(
        allowed=world.allowed,
        required=world.required,
        exact_system=world.exact_system,
        max_atoms=world.max_atoms,
        max_elements=world.max_elements,
        mixed_valence=mixed_valence,
        intermetallics=intermetallics,
    )
    rules = Rules(mixed_valence, intermetallics)
    expected = {
        tuple(vocabulary.encode(amounts))
        for amounts in compositions(constraints)
        if verdict(reduced(amounts), rules).accepted
    }
    written = list(language(ChargeGrammar(constraints, context_atoms=30)))
    assert len(written) == len(set(written))
    assert set(written) == expected


def reduced(amounts):
    divisor = math.gcd(*amounts.values())
    return {symbol: count // divisor for symbol, count in amounts.items()}


@pytest.mark.parametrize("seed", range(40))
def test_constrained_samples_are_valid_under_random_constraints(seed):
    rng = np.random.default_rng(seed)
    pool = rng.choice(ELEMENTS[:90], size=rng.integers(8, 80), replace=False).tolist()
    pool = [*(symbol for symbol in pool if not never_balanced(symbol)), "O", "Na"]
    constraints = Constraints(
        allowed=frozenset(pool) if rng.random() < 0.7 else None,
        required=frozenset(rng.choice(pool, size=rng.integers(0, 2), replace=False).tolist()),
        max_atoms=int(rng.integers(12, 31)),
        max_elements=int(rng.integers(3, 9)),
        mixed_valence=bool(rng.random() < 0.4),
        intermetallics=bool(rng.random() < 0.3),
    )
    options = SamplingOptions(constrained=True, constraints=constraints, batch_size=64)
    try:
        samples = sample(UniformDecoder(), 64, rng, options)
    except ConstraintError:
        pytest.skip("impossible constraints were drawn")
    for drawn in samples:
        counts = vocabulary.amounts_of([TOKENS.index(token) for token in drawn.sequence.split()])
        assert constraints.violation(counts) is None
        judged = judge(
            drawn.formula, mixed_valence=constraints.mixed_valence, intermetallics=constraints.intermetallics
        )
        assert judged.accepted, (drawn.formula, judged)
        assert constraints.intermetallics or not is_metallic(drawn.formula) or judged.electronegativity_balanced


def test_mixed_valence_never_ends_in_a_formula_that_only_its_multiple_balances():
    gold = Constraints.from_chemical_system("Au-F", max_atoms=10, mixed_valence=True)
    written = {vocabulary.formula_text(vocabulary.amounts_of(s)) for s in language(ChargeGrammar(gold, 30))}
    assert "Au2F7" in written
    assert not {"AuF4", "Au2F8"} & written, "SMACT judges the reduced formula"


def test_equal_electronegativities_cannot_be_cation_and_anion():
    with pytest.raises(ConstraintError, match="no charge-neutral"):
        ChargeGrammar(Constraints.from_chemical_system("C-Se"), 30)


@pytest.mark.parametrize("symbol", ["He", "Ne", "Ar", "At", "Rn", "Fr", "Pm"])
def test_elements_that_never_pass_are_named_when_asked_for(symbol):
    with pytest.raises(ConstraintError, match=symbol):
        ChargeGrammar(Constraints(required=frozenset({symbol, "O"})), 30)


def test_impossible_constraints_say_why():
    with pytest.raises(ConstraintError, match="of Al, O with Al, O has at most 2 atoms"):
        ChargeGrammar(Constraints(allowed=frozenset({"Al", "O"}), required=frozenset({"Al", "O"}), max_atoms=2), 30)
    with pytest.raises(ConstraintError, match="--intermetallics"):
        ChargeGrammar(Constraints(allowed=frozenset({"Na", "K"})), 30)


def test_the_metals_only_language_holds_elements_without_oxidation_states():
    constraints = Constraints(allowed=frozenset({"Pm", "Fe"}), max_atoms=3, intermetallics=True)
    assert {vocabulary.sequence_text(s) for s in language(ChargeGrammar(constraints, 30))} >= {"Fe Pm", "Fe Fe Pm"}


@pytest.mark.parametrize(
    "constraints",
    [
        Constraints(allowed=frozenset({"Na", "Cl", "O"}), max_atoms=4, max_elements=2),
        Constraints(
            allowed=frozenset({"Na", "Cl", "O", "Fe"}), required=frozenset({"Cl"}), max_atoms=4, max_elements=2
        ),
        Constraints.from_chemical_system("Na-Cl-O", max_atoms=5),
        Constraints(allowed=frozenset({"Na", "Cl", "O"}), excluded=frozenset({"O"}), max_atoms=3),
    ],
)
def test_the_free_language_honours_limits_in_any_order(constraints):
    sequences = list(language(FreeGrammar(constraints, 30)))
    written = [vocabulary.amounts_of(sequence) for sequence in sequences]
    assert all(constraints.violation(amounts) is None for amounts in written)
    formulas = {vocabulary.formula_text(reduced(amounts)) for amounts in written if len(amounts) > 1}
    expected = {tuple(sorted(reduced(amounts).items())) for amounts in compositions(constraints)}
    assert {tuple(sorted(reduced(a).items())) for a in written if len(a) > 1} == expected
    assert formulas


def test_free_sampling_without_limits_is_raw():
    scores = FreeGrammar(Constraints(), 30).scores(FreeGrammar(Constraints(), 30).start())
    assert (scores == 0).all(), (
        "specials and an early end are the model's own mistakes: they are counted, not prevented"
    )


def test_a_free_sequence_ends_at_the_size_limit():
    options = SamplingOptions(constraints=Constraints(max_atoms=3))
    samples = sample(UniformDecoder(), 200, np.random.default_rng(0), options)
    assert {len(s.sequence.split()) for s in samples} <= {1, 2, 3, 4}
    assert all(s.sequence.endswith("<end>") for s in samples)


def test_sampling_returns_exactly_n_and_follows_the_seed():
    options = SamplingOptions(constrained=True, batch_size=32)
    first, again, other = (sample(UniformDecoder(), 75, np.random.default_rng(s), options) for s in (1, 1, 2))
    assert len(first) == 75
    assert first == again
    assert first != other


def test_log_probability_is_the_models_own_whatever_the_mask():
    options = SamplingOptions(constrained=True, temperature=0.5)
    for drawn in sample(UniformDecoder(), 20, np.random.default_rng(0), options):
        assert drawn.log_probability == pytest.approx(-len(drawn.sequence.split()) * np.log(SIZE))


def test_draw_follows_the_softmax_over_the_allowed_tokens():
    logits = np.tile(np.log([0.1, 0.2, 0.3, 0.4]), (40_000, 1))
    logits[:, 1] = -np.inf
    shares = np.bincount(draw(logits, np.random.default_rng(0)), minlength=4) / 40_000
    assert shares == pytest.approx([0.125, 0, 0.375, 0.5], abs=0.01)  # four standard errors


class HastyDecoder(UniformDecoder):
    """Nearly always wants sodium next, whatever was written."""

    def step(self, tokens):
        logits = super().step(tokens)
        logits[:, vocabulary.element_id("Na")] = 12.0
        return logits


def test_required_elements_are_reached_by_a_model_that_does_not_want_them():
    constraints = Constraints(required=frozenset({"Na", "O"}))
    samples = sample(HastyDecoder(), 200, np.random.default_rng(0), SamplingOptions(constraints=constraints))
    assert all({"Na", "O"} <= set(s.sequence.split()) for s in samples)


def test_raw_samples_are_independent_however_unlikely_their_end():
    # the forced end of the long ones has a mass of 1/108: weighed, the few that ended early would crowd them out
    options = SamplingOptions(constraints=Constraints(max_atoms=3))
    samples = sample(UniformDecoder(), 512, np.random.default_rng(0), options)
    early = [s for s in samples if len(s.sequence.split()) < 4]
    assert len(early) < 30  # 14 are expected


def test_survivors_follow_the_weights_and_spare_even_ones():
    rng = np.random.default_rng(0)
    assert survivors(np.log([0.2, 0.3, 0.25, 0.25]), rng) is None
    weights = np.array([0.97, *[0.03 / 99] * 99])
    counts = np.bincount(survivors(np.log(weights), rng), minlength=100)
    assert counts[0] == pytest.approx(97, abs=1)  # systematic resampling: within one of the expected number
    assert counts.sum() == 100


def test_specials_make_a_sequence_no_composition():
    samples = sample(UniformDecoder(), 300, np.random.default_rng(0), SamplingOptions())
    special = [s for s in samples if {TOKENS[START], "<pad>"} & set(s.sequence.split())]
    assert special
    assert all(s.formula is None for s in special)


def test_wrong_options_are_refused():
    with pytest.raises(ConfigError):
        sample(UniformDecoder(), 1, np.random.default_rng(0), SamplingOptions(temperature=0.0))


class CountingDecoder(UniformDecoder):
    """Notes how many rows it reads, and checks that the number is the one that it was told to keep."""

    def begin(self):
        self.kept, self.read = 1, []

    def step(self, tokens):
        assert len(tokens) == self.kept
        self.read.append(len(tokens))
        return super().step(tokens)

    def keep(self, rows):
        self.kept = len(rows)


def test_rows_with_the_same_beginning_are_read_once():
    decoder = CountingDecoder()
    options = SamplingOptions(constrained=True, constraints=Constraints(allowed=frozenset({"Li", "Na", "F"})))
    samples = sample(decoder, 300, np.random.default_rng(0), options)
    assert decoder.read[:2] == [1, 2], "all rows begin alike, and then with one of two cations"
    prefixes = {tuple(s.sequence.split()[: len(decoder.read) - 1]) for s in samples}
    assert decoder.read[-1] <= len(prefixes)


def test_element_weights_tilt_the_distribution_by_their_product():
    pool = Constraints(allowed=frozenset({"Na", "K", "Cl"}), max_atoms=2)
    weights = np.zeros(len(ELEMENTS))
    weights[[ELEMENTS.index("K"), ELEMENTS.index("Cl")]] = math.log(3.0), -1.0
    options = SamplingOptions(constrained=True, constraints=pool, element_scores=tuple(weights))
    drawn = [s.sequence for s in sample(UniformDecoder(), 8_000, np.random.default_rng(0), options)]
    assert set(drawn) == {"Na Cl <end>", "K Cl <end>"}
    assert drawn.count("K Cl <end>") / len(drawn) == pytest.approx(0.75, abs=0.02)  # four standard errors


def test_an_elements_weight_is_given_once_and_changes_no_language():
    pool = Constraints(allowed=frozenset({"Na", "O"}), max_atoms=3)
    weights = np.full(len(ELEMENTS), 2.0)
    tilted, plain = TiltedGrammar(ChargeGrammar(pool, 30), weights), ChargeGrammar(pool, 30)
    assert set(language(tilted)) == set(language(plain))
    sodium, oxygen = vocabulary.element_id("Na"), vocabulary.element_id("O")
    one = tilted.advance(tilted.start(), sodium)
    assert tilted.scores(tilted.start())[sodium] == 2.0
    assert tilted.scores(one)[sodium] == 0.0
    assert tilted.scores(tilted.advance(one, sodium))[oxygen] == 2.0


def test_log_probability_is_the_models_own_whatever_the_weights():
    options = SamplingOptions(element_scores=tuple(np.linspace(-1, 1, len(ELEMENTS))))
    for drawn in sample(UniformDecoder(), 20, np.random.default_rng(0), options):
        assert drawn.log_probability == pytest.approx(-len(drawn.sequence.split()) * np.log(SIZE))


def test_a_nucleus_holds_the_likeliest_tokens_that_reach_the_share():
    logits = np.log([[0.4, 0.3, 0.2, 0.1], [0.1, 0.2, 0.3, 0.4]])
    kept = np.isfinite(nucleus(logits, 0.65))
    assert kept.tolist() == [[True, True, False, False], [False, False, True, True]]
    assert np.isfinite(nucleus(logits, 0.71)).sum(axis=1).tolist() == [3, 3]  # the one that reaches it is kept
    assert np.isfinite(nucleus(logits, 1e-9)).sum(axis=1).tolist() == [1, 1]  # one is always left
    assert nucleus(logits, 1.0) is logits


def test_top_p_draws_from_the_nucleus_alone_and_never_leaves_the_grammar():
    written = sample(HastyDecoder(), 20, np.random.default_rng(0), SamplingOptions(top_p=0.5))
    assert {token for drawn in written for token in drawn.sequence.split()} <= {"Na", TOKENS[END]}
    constrained = SamplingOptions(constrained=True, top_p=0.3)
    for drawn in sample(UniformDecoder(), 50, np.random.default_rng(0), constrained):
        assert judge(drawn.formula).accepted
    plain, whole = (
        sample(UniformDecoder(), 9, np.random.default_rng(1), SamplingOptions(top_p=p)) for p in (1.0, 1 - 1e-12)
    )
    assert plain == whole


@pytest.mark.parametrize("top_p", [0.0, -0.1, 1.1])
def test_a_nucleus_without_mass_is_refused(top_p):
    with pytest.raises(ConfigError, match="share of the mass"):
        sample(UniformDecoder(), 1, np.random.default_rng(0), SamplingOptions(top_p=top_p))


@pytest.mark.parametrize("family", ["roberta", "blmm"])
def test_models_that_fill_gaps_refuse_a_nucleus_where_they_have_none(family):
    model = sized(family, Size(1, 16, 2), seed=0)
    with pytest.raises(ConfigError, match="sample with --constrained"):
        model.sample(2, np.random.default_rng(0), SamplingOptions(top_p=0.9))
    assert len(model.sample(2, np.random.default_rng(0), SamplingOptions(constrained=True, top_p=0.9))) == 2
