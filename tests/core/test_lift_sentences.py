"""LIFT (b): sentences, adapters on a small byte-level language model, and answers that are no numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from discovery.errors import ConfigError, WeightsError
from discovery.surrogates.base import Labels
from discovery.surrogates.calibration import SchemeCalibration
from discovery.surrogates.lift.answer_loss import Learning, answer_loss, padded, signed
from discovery.surrogates.lift.base import Example
from discovery.surrogates.lift.sentence_model import SentenceModel, SentenceSettings
from discovery.surrogates.lift.sentences import answer, parsed, question
from discovery.surrogates.lift.surrogate import Asked, LiftSurrogate, Prior
from discovery.surrogates.zoo import load_surrogate
from discovery.training import TrainingConfig, TrainingData, train
from tests.core.tiny_surrogate import compositions

pytestmark = pytest.mark.usefixtures("one_thread")
SCHEME = "mp2019"
SETTINGS = SentenceSettings(samples=4, rank=4)


def examples() -> list[Example]:
    """Made-up energies rounded to halves, so that a tiny model can learn something of them in seconds."""
    return [Example(formula, SCHEME, round(2 * energy) / 2) for formula, energy in compositions().items()]


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """One token for each byte."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = Tokenizer(models.BPE(vocab={byte: number for number, byte in enumerate(alphabet)}, merges=[]))
    tokens.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokens.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokens)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A byte-level GPT-2 of one layer that has read some of the sentences."""
    folder = tmp_path_factory.mktemp("base")
    tokenizer = byte_tokenizer()
    torch.manual_seed(0)
    sizes = {"vocab_size": 256, "n_positions": 160, "n_embd": 48, "n_layer": 1, "n_head": 2}
    plain = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0, "bos_token_id": None, "eos_token_id": None}
    config = GPT2Config(**sizes, **plain)
    network = GPT2LMHeadModel(config)
    texts = [question(e.formula, SCHEME, names=True) + answer(e.energy) for e in examples()[::4]]
    rows = padded([signed([], tokenizer(text).input_ids) for text in texts])
    train(Learning(network), TrainingData(rows, rows[:0]), answer_loss, TrainingConfig(16, 2000, 5e-3))
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def taught(base: Path) -> SentenceModel:
    model = SentenceModel.of(str(base), (SCHEME,), SETTINGS)
    return model.taught(examples()[1::4], (), TrainingConfig(5, 2000, peak_learning_rate=5e-3))[0]


def surrogate_of(model: SentenceModel) -> LiftSurrogate:
    """A surrogate of an answerer, uncalibrated."""
    asked, calibrations = {SCHEME: Asked(SCHEME, 0.0)}, {SCHEME: SchemeCalibration()}
    return LiftSurrogate(model, calibrations, torch.full((103,), 1e6), Prior(-1.0, 0.5), asked)


def test_questions_with_and_without_names() -> None:
    named, bare = (question("Ti2Sr2O6", SCHEME, names=names) for names in (True, False))
    assert named == (
        "SrTiO3 is Sr 0.200, Ti 0.200, O 0.600 by atoms. What is its formation energy (mp2019) in eV/atom?###"
    )
    assert bare == "When x1=SrTiO3, x2=0.200, x3=0.200, x4=0.600 and s=mp2019, what is y?###"
    assert question("SrTiO3", "mp2020", names=True) != named


@pytest.mark.parametrize(
    ("text", "energy"),
    [
        (" -2.11@@@", -2.11),
        ("3@@@ and more", 3.0),
        (" +0.5 @@@", 0.5),
        (" -2.11", None),
        ("about -2@@@", None),
        ("--2@@@", None),
        ("999@@@", None),
        ("@@@", None),
        ("nan@@@", None),
    ],
)
def test_an_answer_is_a_number_that_ends(text: str, energy: float | None) -> None:
    assert parsed(text) == energy
    assert parsed(answer(-0.004)) == 0.0


def test_the_question_is_masked_out(base: Path) -> None:
    model = SentenceModel.of(str(base), (SCHEME,), SETTINGS)
    [row] = model._sequences([Example("NaCl", SCHEME, -2.1)])
    asked, said = row[row < 0], row[row > 0]
    assert model.tokenizer.decode((-asked - 1).tolist()) == question("NaCl", SCHEME, names=True)
    assert model.tokenizer.decode((said - 1).tolist()) == " -2.10@@@"


def test_fresh_adapters_change_nothing(base: Path) -> None:
    model = SentenceModel.of(str(base), (SCHEME,), SETTINGS)
    plain = GPT2LMHeadModel.from_pretrained(base)
    tokens = torch.tensor([[1, 2, 3]])
    with torch.no_grad():
        assert torch.allclose(model.network(input_ids=tokens).logits, plain(input_ids=tokens).logits, atol=1e-6)


def test_adapters_learn_and_the_base_stays(base: Path, taught: SentenceModel) -> None:
    before = SentenceModel.of(str(base), (SCHEME,), SETTINGS)
    unseen = examples()[2::8]
    assert taught.loss_of(unseen) < before.loss_of(unseen) - 0.05
    frozen = [
        (mine, theirs)
        for (_, mine), (_, theirs) in zip(
            before.network.named_parameters(), taught.network.named_parameters(), strict=True
        )
        if not mine.requires_grad
    ]
    assert frozen
    assert all(torch.equal(mine, theirs) for mine, theirs in frozen)
    assert sum(value.numel() for value in taught.tensors().values()) < 0.2 * sum(
        value.numel() for value in taught.network.parameters()
    )


def test_answers_are_sampled_and_the_same_again(taught: SentenceModel) -> None:
    formulas = ["NaCl", "Fe2O3", "MgAlF3"]
    answers = taught.answers(formulas, SCHEME)
    again = taught.answers(formulas, SCHEME)
    assert answers.asked == SETTINGS.samples
    assert answers.unreadable.sum() < 6  # of 12: most are numbers
    assert np.array_equal(answers.centre, again.centre, equal_nan=True)
    texts = taught.written(formulas, SCHEME)
    numbers = [[number for number in map(parsed, said) if number is not None] for said in texts]
    for row, found in enumerate(numbers):
        assert answers.unreadable[row] == SETTINGS.samples - len(found)
        if found:
            assert answers.centre[row] == np.median(found)
            assert answers.spread[row] == pytest.approx(np.hypot(np.std(found), 0.02))


def test_what_is_no_number_is_counted_and_left_out(taught: SentenceModel, monkeypatch: pytest.MonkeyPatch) -> None:
    said = [[" -1.00@@@", " -2.00@@@", "eh@@@", " -1.50@@@"], ["eh", "who knows", "1.0", "@@@"]]
    monkeypatch.setattr(SentenceModel, "written", lambda self, formulas, scheme: said)
    surrogate = surrogate_of(taught)
    answers = surrogate.answers(["NaCl", "MgO"], SCHEME)
    assert answers.unreadable.tolist() == [1, 4]
    assert answers.centre[0] == -1.5
    assert np.isnan(answers.centre[1])
    prediction = surrogate.predict(["NaCl", "MgO"], SCHEME)
    assert prediction.mean.tolist() == [-1.5, -1.0]  # the second: the mean of the training labels,
    assert prediction.std[1] == 0.5  # and their standard deviation


def test_a_folder_holds_the_adapters_and_finds_the_base(base: Path, taught: SentenceModel, tmp_path: Path) -> None:
    surrogate = surrogate_of(taught)
    surrogate.save(tmp_path / "saved")
    assert (tmp_path / "saved" / "model.safetensors").stat().st_size < 0.5 * (base / "model.safetensors").stat().st_size
    loaded = load_surrogate(tmp_path / "saved")
    assert loaded.version == surrogate.version
    formulas = ["NaCl", "Fe2O3"]
    assert loaded.predict(formulas, SCHEME).mean.tolist() == surrogate.predict(formulas, SCHEME).mean.tolist()


def test_another_base_or_none_is_an_error_of_one_line(
    base: Path, taught: SentenceModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for name in ("somebody/no-such-model", str(tmp_path / "nowhere")):
        with pytest.raises(WeightsError, match="cannot be loaded") as caught:
            SentenceModel.of(name, (SCHEME,), SETTINGS)
        assert "\n" not in str(caught.value)
    other = tmp_path / "other"
    network = GPT2LMHeadModel.from_pretrained(base)
    with torch.no_grad():
        network.transformer.wte.weight[0] += 1
    network.save_pretrained(other)
    byte_tokenizer().save_pretrained(other)
    surrogate_of(replace(taught, base=str(other))).save(tmp_path / "saved")
    with pytest.raises(WeightsError, match="other weights"):
        load_surrogate(tmp_path / "saved")
    with pytest.raises(ConfigError, match="--samples"):
        SentenceSettings(samples=1)


def test_half_way_between_two_models(base: Path, taught: SentenceModel) -> None:
    start = SentenceModel.of(str(base), (SCHEME,), SETTINGS)
    middle = start.toward(taught, 0.5)
    for name, value in middle.tensors().items():
        assert torch.allclose(value, 0.5 * (start.tensors()[name] + taught.tensors()[name]))
    assert start.toward(taught, 0.0).loss_of(examples()[:5]) == pytest.approx(start.loss_of(examples()[:5]))


def test_a_refit_within_the_loop(taught: SentenceModel) -> None:
    surrogate = surrogate_of(taught)
    labels = [(e.formula, e.energy) for e in examples()[3:200:4]]
    old = Labels(tuple(f for f, _ in labels), np.array([energy for _, energy in labels]), (SCHEME,) * len(labels))
    new = Labels(("NaCl", "KBr"), np.array([-2.0, -2.0]), (SCHEME,) * 2)
    refitted = surrogate.refit(new, old, np.random.default_rng(0))
    assert refitted.answerer.loss_of(refitted.examples(new)) < surrogate.answerer.loss_of(surrogate.examples(new))
    _, seen = surrogate.recalibrated(old)
    assert 0 <= seen["unreadable_answers"] < 1
