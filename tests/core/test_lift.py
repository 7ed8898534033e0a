"""LIFT (a): energies as digits, the loss of answers alone, the distribution of answers, and learning."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from discovery import vocabulary
from discovery.errors import CompositionError, ConfigError, DataError, SchemeError, WeightsError
from discovery.generators.baselines import RANDOM
from discovery.generators.causal import GPT2
from discovery.model_files import CONFIG, read_json, write_json
from discovery.surrogates.base import Labels
from discovery.surrogates.lift import beam, composition_model, digits
from discovery.surrogates.lift.answer_loss import answer_loss, padded, signed
from discovery.surrogates.lift.base import Example
from discovery.surrogates.lift.composition_model import FAMILIES, CompositionModel, atoms, jittered_loss
from discovery.surrogates.lift.distribution import summary
from discovery.surrogates.lift.pretext import NAMES, pretext_examples
from discovery.surrogates.lift.surrogate import LiftSurrogate
from discovery.surrogates.lift.training import LiftConfig, measured, train_lift
from discovery.surrogates.zoo import load_surrogate
from discovery.training import Hooks
from tests.core.tiny_lift import SCHEME, made_up_data, made_up_labels, untaught, untaught_surrogate

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def taught() -> LiftSurrogate:
    config = LiftConfig(epochs=40, pretext=0, learning_rate=8e-3, tokens_per_batch=400)
    return train_lift(untaught(), made_up_data(), config)


def test_energies_are_a_sign_and_three_digits() -> None:
    energies = torch.tensor([-2.114, 0.0, 0.996, -0.05, 40.0], dtype=torch.float64)
    tokens = digits.encode(energies)
    assert tokens[0].tolist() == [digits.MINUS, *(digits.FIRST_DIGIT + digit for digit in (2, 1, 1))]
    assert digits.decode(tokens).tolist() == pytest.approx([-2.11, 0.0, 1.0, -0.05, digits.LARGEST])
    assert len({*range(vocabulary.SIZE), *tokens.flatten().tolist()}) > vocabulary.SIZE  # no element among them


def test_only_the_tokens_of_an_answer_count() -> None:
    """A model whose logits are a known table: the loss is that of the answers' tokens, by hand."""
    table = torch.randn(6, 6, generator=torch.Generator().manual_seed(0))  # logits after each token

    def model(input_ids: torch.Tensor, use_cache: bool) -> SimpleNamespace:
        return SimpleNamespace(logits=table[input_ids])

    rows = padded([signed([1, 2], [3, 4]), signed([5], [0, 2])])
    assert rows.tolist() == [[-2, -3, 4, 5], [-6, 1, 3, 0]]
    summed, count = answer_loss(model, torch.from_numpy(rows).long())
    log = table.log_softmax(dim=1)
    by_hand = -(log[2, 3] + log[3, 4] + log[5, 0] + log[0, 2])
    assert count == 4
    assert float(summed) == pytest.approx(float(by_hand), rel=1e-6)


def test_no_gradient_reaches_what_is_said_after_a_question_token() -> None:
    model = untaught()
    rows = torch.from_numpy(model._sequences([Example("NaCl", SCHEME, -2.1)])).long()
    logits = torch.zeros(1, rows.shape[1] - 1, digits.SIZE, requires_grad=True)
    answer_loss(lambda input_ids, use_cache: SimpleNamespace(logits=logits), rows)[0].backward()
    assert logits.grad is not None
    counted = logits.grad.abs().sum(dim=2)[0] > 0
    assert counted.tolist() == [False] * 3 + [True] * 4  # <start> Na Cl | scheme - 2 1, which say - 2 1 0


def test_labels_are_jittered_in_training_alone() -> None:
    model = untaught()
    rows = torch.from_numpy(model._sequences([Example("NaCl", SCHEME, -2.1)])).long()
    seen: list[int] = []

    def network(training: bool) -> torch.nn.Module:
        class Spy(torch.nn.Module):
            def forward(self, input_ids: torch.Tensor, use_cache: bool) -> SimpleNamespace:
                seen.append(int(input_ids[0, -1]))
                return SimpleNamespace(logits=torch.zeros(*input_ids.shape, digits.SIZE))

        return Spy().train(training)

    torch.manual_seed(0)
    for _ in range(20):
        jittered_loss(network(False), rows)
    assert len(set(seen)) == 1
    for _ in range(20):
        jittered_loss(network(True), rows)
    assert {digits.FIRST_DIGIT, digits.FIRST_DIGIT + 1} <= set(seen)  # -2.0x and -2.1x


def test_median_and_spread_of_weighted_values() -> None:
    owners = np.array([1, 0, 1, 1, 0])
    values = np.array([3.0, 5.0, 1.0, 2.0, 7.0])
    weights = np.array([0.25, 0.2, 0.25, 0.5, 0.2])
    centre, spread = summary(owners, values, weights, 2)
    assert centre.tolist() == pytest.approx([6.0, 2.0])
    assert spread.tolist() == pytest.approx([1.0, np.sqrt(0.5)])


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_the_distribution_of_answers_is_that_of_the_network(family, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(1)
    model = CompositionModel.of(family.of_size(2, 16, 2), (SCHEME,))
    monkeypatch.setattr(beam, "BRANCHES", 1000)
    monkeypatch.setattr(beam, "UNLIKELY", -np.inf)
    questions = torch.tensor([model.question(formula, SCHEME) for formula in ("SrTiO3", "Na2SO2")])
    owners, values, weights = model._distribution(questions)
    assert len(values) == 2 * 2000
    assert np.bincount(owners, weights) == pytest.approx([1.0, 1.0])
    for row, energy in ((0, -3.55), (1, 0.42)):
        [place] = np.flatnonzero((owners == row) & np.isclose(values, energy))
        assert np.log(weights[place]) == pytest.approx(by_teacher_forcing(model, questions[row], energy), abs=1e-4)


def by_teacher_forcing(model: CompositionModel, question: torch.Tensor, energy: float) -> float:
    """Log-probability of an answer in one pass without a cache, among the tokens that may stand at each place."""
    answer = digits.encode(torch.tensor([energy], dtype=torch.float64))[0]
    with torch.no_grad():
        logits = model.network(input_ids=torch.cat([question, answer])[None, :-1], use_cache=False).logits[0].double()
    total = 0.0
    for place, token in enumerate(answer.tolist()):
        first, stop = digits.choices(place)
        total += float(logits[len(question) - 1 + place, first:stop].log_softmax(dim=0)[token - first])
    return total


@pytest.mark.parametrize("epochs", [0, 1])
def test_the_beam_leaves_out_little(taught: LiftSurrogate, monkeypatch: pytest.MonkeyPatch, epochs: int) -> None:
    formulas = list(made_up_labels().formulas[::25])
    asked = taught if epochs else untaught_surrogate(SCHEME)  # answers of a narrow and of a wide distribution
    short = asked.answers(formulas, SCHEME)
    monkeypatch.setattr(beam, "BRANCHES", 1000)
    monkeypatch.setattr(beam, "UNLIKELY", -np.inf)
    exact = asked.answers(formulas, SCHEME)
    assert np.abs(short.centre - exact.centre).max() < 0.02
    assert np.median(np.abs(short.spread / exact.spread - 1)) < 0.1


def test_a_grown_network_still_is_the_language_model() -> None:
    torch.manual_seed(0)
    generator = GPT2.of_size(2, 16, 2)
    network = CompositionModel.of(generator, (SCHEME,)).network
    tokens = torch.tensor([[vocabulary.START, *atoms("SrTiO3")]])
    with torch.no_grad():
        before, after = generator.network(input_ids=tokens).logits, network(input_ids=tokens).logits
    assert torch.allclose(before, after[..., : vocabulary.SIZE], atol=1e-6)
    assert network.config.max_position_embeddings == composition_model.CONTEXT


def test_questions_do_not_depend_on_how_a_formula_is_written() -> None:
    model = untaught()
    assert model.question("Ti2Sr2O6", SCHEME) == model.question("SrTiO3", SCHEME)
    long = atoms("Na300Cl100O1")
    assert len(long) <= composition_model.MAX_ATOMS
    assert {vocabulary.TOKENS[token] for token in long} == {"Na", "Cl", "O"}
    assert len(atoms("Na30Cl20O8")) == 29
    with pytest.raises(CompositionError):
        model.question("Xx2O", SCHEME)
    with pytest.raises(SchemeError, match=SCHEME):
        model.question("NaCl", "mine")


def test_what_cannot_start_is_refused() -> None:
    with pytest.raises(ConfigError, match="gpt2"):
        CompositionModel.of(RANDOM, (SCHEME,))
    with pytest.raises(ConfigError, match="too many"):
        untaught(tuple("abcdefghi"))


def test_it_learns_a_simple_function(taught: LiftSurrogate) -> None:
    found = measured(taught, made_up_data())[SCHEME]
    assert found["mae"] < 0.5 * found["mae_of_the_training_mean"]  # type: ignore[operator]
    assert found["unreadable_answers"] == 0
    assert 0.75 < found["coverage"]["0.9"] <= 1.0  # type: ignore[index]


def test_random_weights_are_a_control_of_the_same_size() -> None:
    model = untaught()
    control, other = model.from_scratch(0), model.from_scratch(1)
    sizes = [{name: value.shape for name, value in some.tensors().items()} for some in (model, control)]
    assert sizes[0] == sizes[1]
    name = "transformer.h.0.attn.c_attn.weight"
    assert not torch.equal(control.tensors()[name], model.tensors()[name])
    assert not torch.equal(control.tensors()[name], other.tensors()[name])


def test_pretext_tasks_are_linear_and_seeded() -> None:
    made = pretext_examples(["Na", "Cl", "O"], 200, np.random.default_rng(0))
    assert made == pretext_examples(["Na", "Cl", "O"], 200, np.random.default_rng(0))
    assert {example.scheme for example in made} == set(NAMES)
    equal: dict[tuple[str, frozenset[tuple[str, float]]], float] = {}
    for example in made:  # equal fractions, equal answers
        tokens = atoms(example.formula)
        key = (example.scheme, frozenset((str(t), tokens.count(t) / len(tokens)) for t in tokens))
        assert equal.setdefault(key, example.energy) == pytest.approx(example.energy)
    assert 0.3 < np.std([example.energy for example in made]) < 3.0


def test_the_first_stage_is_learned_first(tmp_path: Path) -> None:
    config = LiftConfig(epochs=1, pretext=100, tokens_per_batch=400)
    checkpoint = tmp_path / "lift.safetensors"
    with_it = train_lift(untaught(), made_up_data(), config, Hooks(checkpoint=checkpoint))
    assert (tmp_path / "lift-pretext.safetensors").is_file()
    again = train_lift(untaught(), made_up_data(), config, Hooks(checkpoint=checkpoint))
    assert again.version == with_it.version  # from the checkpoints
    without = train_lift(untaught(), made_up_data(), replace(config, pretext=0))
    assert without.version != with_it.version


def test_a_folder_gives_the_same_surrogate(taught: LiftSurrogate, tmp_path: Path) -> None:
    replace(taught, card={"made": "for tests"}).save(tmp_path)
    loaded = load_surrogate(tmp_path)
    assert isinstance(loaded, LiftSurrogate)
    assert (loaded.version, loaded.card) == (taught.version, {"made": "for tests"})
    mine, theirs = (some.predict(["NaCl", "Fe2O3"], SCHEME) for some in (taught, loaded))
    assert mine.mean.tolist() == theirs.mean.tolist()
    assert mine.std.tolist() == theirs.std.tolist()
    config = read_json(tmp_path / CONFIG)
    write_json(tmp_path / CONFIG, {**config, "answerer": {**config["answerer"], "family": "gptj"}})
    with pytest.raises(WeightsError, match="another model"):
        load_surrogate(tmp_path)
    write_json(tmp_path / CONFIG, {**config, "kind": "other"})
    with pytest.raises(WeightsError, match="no surrogate"):
        load_surrogate(tmp_path)


def test_elements_without_training_data_are_flagged(taught: LiftSurrogate) -> None:
    prediction = taught.predict(["NaCl", "PuCl3"], SCHEME)
    assert prediction.epistemic_std[1] > 0.2 > prediction.epistemic_std[0]
    assert len(taught.predict([], SCHEME).mean) == 0


def test_a_refit_learns_and_forgets_little(taught: LiftSurrogate) -> None:
    labels = made_up_labels()
    rows = np.arange(0, len(labels.formulas), 5)
    old = Labels(tuple(labels.formulas[i] for i in rows), labels.formation_energy_per_atom[rows], (SCHEME,) * len(rows))
    new = Labels(("NaPu3", "PuCl3", "Pu2O3"), np.array([-0.2, -2.4, -3.3]), (SCHEME,) * 3)
    refitted = taught.refit(new, old, np.random.default_rng(0))
    assert refitted.version != taught.version
    for examples, better in ((taught.examples(new), True), (taught.examples(old), False)):
        before, after = (some.answerer.loss_of(examples) for some in (taught, refitted))
        assert after < before if better else after < 1.03 * before
    assert taught.refit(Labels((), np.zeros(0), ()), old, np.random.default_rng(0)) is taught
    with pytest.raises(DataError, match="finite"):
        taught.refit(Labels(("NaCl",), np.array([np.nan]), (SCHEME,)), old, np.random.default_rng(0))


def test_a_new_scheme_is_an_offset_to_the_nearest(taught: LiftSurrogate) -> None:
    labels = made_up_labels()
    new = Labels(labels.formulas[:20], labels.formation_energy_per_atom[:20] + 0.5, ("my-dft",) * 20)
    refitted = taught.refit(new, labels, np.random.default_rng(0))
    assert refitted.schemes == (SCHEME, "my-dft")
    formulas = list(labels.formulas[100:140])
    shift = refitted.predict(formulas, "my-dft").mean - refitted.predict(formulas, SCHEME).mean
    assert np.median(shift) == pytest.approx(0.5, abs=0.1)
    assert refitted.interval("my-dft", 0.9) == taught.interval(SCHEME, 0.9)


def test_a_broken_calibration_is_seen_and_mended(taught: LiftSurrogate) -> None:
    labels = made_up_labels()
    far = Labels(labels.formulas[:60], labels.formation_energy_per_atom[:60] + 1.0, (SCHEME,) * 60)
    mended, seen = taught.recalibrated(far)
    assert seen["calibration_evidence"] > 20
    assert seen["unreadable_answers"] == 0
    formulas = list(labels.formulas[:5])
    assert (mended.predict(formulas, SCHEME).std > 1.5 * taught.predict(formulas, SCHEME).std).all()


def test_it_moves_to_a_device_and_stays_equal() -> None:
    surrogate = untaught_surrogate(SCHEME, "mp2020")
    assert surrogate.on("cpu").version == surrogate.version
    assert surrogate.on("meta").answerer.network.device.type == "meta"
    with pytest.raises(SchemeError, match="mp2020"):
        surrogate.predict(["NaCl"], "mine")
