import dataclasses
import math

import numpy as np
import pytest
import torch

from discovery.checkpoints import read_history
from discovery.errors import ConfigError, WeightsError
from discovery.generators.causal import GPT2, causal_loss, training_sequence
from discovery.training import (
    MAY_CHANGE,
    Hooks,
    TrainingConfig,
    TrainingData,
    batches,
    evaluate,
    learning_rate,
    pad,
    train,
)
from discovery.vocabulary import PAD, SIZE

FORMULAS = ["NaCl", "MgO", "SrTiO3", "BaTiO3", "CaF2", "Fe2O3", "LiFePO4", "ZnS", "KBr", "Al2O3", "SiO2", "CaCO3"] * 4
DATA = TrainingData(pad([training_sequence(f) for f in FORMULAS]), pad([training_sequence(f) for f in FORMULAS[:12]]))
QUICK = TrainingConfig(epochs=3, tokens_per_batch=64, peak_learning_rate=3e-3)


pytestmark = pytest.mark.usefixtures("one_thread")


def network(seed=0):
    torch.manual_seed(seed)
    return GPT2.of_size(layers=2, width=32, heads=2).network


def test_the_rate_rises_linearly_and_falls_as_a_cosine_to_zero():
    config = TrainingConfig(peak_learning_rate=1.0, warmup_share=0.1)
    rates = [learning_rate(step, 100, config) for step in range(101)]
    assert rates[:10] == pytest.approx([0.1 * (i + 1) for i in range(10)])
    assert rates[55] == pytest.approx(0.5)  # half of the way down
    assert rates[100] == pytest.approx(0.0)
    assert max(rates) == pytest.approx(1.0)


def test_batches_hold_every_row_once_with_little_padding():
    rng = np.random.default_rng(0)
    tokens = pad([[5] * n for n in rng.integers(3, 32, size=2000)])
    cut = batches(tokens, 512, np.random.default_rng(1))
    assert sum(len(batch) for batch in cut) == 2000
    assert sum((batch != PAD).sum() for batch in cut) == (tokens != PAD).sum()
    assert max(batch.size for batch in cut) <= 512
    assert sum((batch == PAD).sum() for batch in cut) < 0.02 * (tokens != PAD).sum()
    lengths = [batch.shape[1] for batch in cut]
    assert lengths != sorted(lengths), "batches come in random order"


def test_a_row_longer_than_the_budget_still_makes_a_batch():
    assert [b.shape for b in batches(pad([[5] * 9]), 4, np.random.default_rng(0))] == [(1, 9)]


def test_the_loss_counts_real_tokens_only():
    model = network()
    short, long = training_sequence("NaCl"), training_sequence("SrTiO3")
    with torch.no_grad():
        alone = [causal_loss(model, torch.tensor([s])) for s in (short, long)]
        together = causal_loss(model, torch.from_numpy(pad([short, long]).astype(np.int64)))
    assert together[1] == alone[0][1] + alone[1][1] == 3 + 6
    assert float(together[0]) == pytest.approx(float(alone[0][0] + alone[1][0]), rel=1e-5)
    assert float(together[0]) / 9 == pytest.approx(math.log(SIZE), rel=0.05), "untrained: nearly uniform"


def test_training_lowers_the_loss_and_reports_it():
    model, seen = network(), []
    before = evaluate(model, DATA.valid, causal_loss, QUICK)
    history = train(model, DATA, causal_loss, QUICK, Hooks(on_epoch=seen.append))
    assert history == seen
    assert [report.epoch for report in history] == [1, 2, 3]
    assert history[-1].valid_loss < history[0].valid_loss < before
    assert evaluate(model, DATA.valid, causal_loss, QUICK) == pytest.approx(min(r.valid_loss for r in history))
    assert history[-1].seconds_left == 0
    assert "nats/token" in history[0].line()


def test_equal_seeds_give_equal_weights():
    first, second, other = network(), network(), network()
    train(first, DATA, causal_loss, QUICK)
    train(second, DATA, causal_loss, QUICK)
    train(other, DATA, causal_loss, dataclasses.replace(QUICK, seed=1))
    assert same(first, second)
    assert not same(first, other)


def same(first, second):
    return all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


class KilledError(Exception):
    pass


def test_a_killed_training_resumes_to_the_same_weights(tmp_path):
    def kill(report):
        if report.epoch == 2:
            raise KilledError

    whole, broken, resumed = network(), network(), network(seed=5)
    history = train(whole, DATA, causal_loss, QUICK)
    checkpoint = tmp_path / "checkpoint.safetensors"
    with pytest.raises(KilledError):
        train(broken, DATA, causal_loss, QUICK, Hooks(kill, checkpoint))
    again = train(resumed, DATA, causal_loss, QUICK, Hooks(checkpoint=checkpoint))
    assert same(whole, resumed)
    assert [r.valid_loss for r in again] == [r.valid_loss for r in history]
    assert list(tmp_path.iterdir()) == [checkpoint], "nothing half-written is left"


def noisy_loss(model, tokens):
    """Masks at random, as the losses of masked models do: a third of the targets does not count."""
    targets = torch.where(torch.rand(tokens.shape) < 1 / 3, PAD, tokens)[:, 1:]
    logits = model(input_ids=tokens[:, :-1], use_cache=False).logits
    summed = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), targets.flatten(), ignore_index=PAD, reduction="sum"
    )
    return summed, int((targets != PAD).sum())


def test_random_losses_resume_to_the_same_weights_and_draw_anew_in_every_epoch(tmp_path):
    drawn = []

    def recorded(model, tokens):
        drawn.append(float(torch.rand(())))
        return noisy_loss(model, tokens)

    def kill(report):
        if report.epoch == 2:
            raise KilledError

    whole, broken, resumed = network(), network(), network(seed=5)
    torch.manual_seed(11)
    history = train(whole, DATA, recorded, QUICK)
    steps = len(batches(DATA.train, QUICK.tokens_per_batch, np.random.default_rng(0)))
    valid = len(batches(DATA.valid, 4 * QUICK.tokens_per_batch, np.random.default_rng(0)))
    epochs = [drawn[i : i + steps] for i in range(0, len(drawn), steps + valid)]
    assert len(epochs) == 3
    assert len({value for epoch in epochs for value in epoch}) == 3 * steps, "no number is drawn twice"
    hooks = Hooks(kill, tmp_path / "checkpoint.safetensors")
    with pytest.raises(KilledError):
        train(broken, DATA, noisy_with_draw, QUICK, hooks)
    torch.manual_seed(12)
    again = train(resumed, DATA, noisy_with_draw, QUICK, Hooks(checkpoint=hooks.checkpoint))
    assert same(whole, resumed)
    assert [r.valid_loss for r in again] == [r.valid_loss for r in history]


def noisy_with_draw(model, tokens):
    torch.rand(())
    return noisy_loss(model, tokens)


def test_validation_draws_the_same_numbers_whatever_was_drawn_before():
    model = network()
    torch.manual_seed(1)
    first = evaluate(model, DATA.valid, noisy_loss, QUICK)
    following = float(torch.rand(()))
    torch.manual_seed(2)
    assert evaluate(model, DATA.valid, noisy_loss, dataclasses.replace(QUICK, seed=7)) == first
    torch.manual_seed(1)
    assert float(torch.rand(())) == following, "the caller's generator goes on where it was"
    assert first != evaluate(model, DATA.valid, causal_loss, QUICK)


def test_other_seeds_draw_other_numbers():
    drawn = []

    def recorded(model, tokens):
        drawn.append(float(torch.rand(())))
        return noisy_loss(model, tokens)

    for seed in (0, 1):
        train(network(), TrainingData(DATA.train[:3], pad([])), recorded, TrainingConfig(epochs=1, seed=seed))
    assert len(set(drawn)) == len(drawn) == 2


def test_a_resumed_training_may_be_given_more_epochs(tmp_path):
    hooks = Hooks(checkpoint=tmp_path / "checkpoint.safetensors")
    train(network(), DATA, causal_loss, dataclasses.replace(QUICK, epochs=1), hooks)
    history = train(network(), DATA, causal_loss, QUICK, hooks)
    assert [(report.epoch, report.epochs) for report in history] == [(1, 1), (2, 3), (3, 3)]


def test_training_stops_when_the_validation_loss_stops_falling():
    config = TrainingConfig(epochs=30, tokens_per_batch=64, peak_learning_rate=5e-3, patience=1)
    other = TrainingData(DATA.train, pad([training_sequence("Xe2F4I3")] * 3))
    model = network()
    history = train(model, other, causal_loss, config)
    assert len(history) < 30
    assert evaluate(model, other.valid, causal_loss, config) == pytest.approx(min(r.valid_loss for r in history))


def test_foreign_and_damaged_checkpoints_are_refused(tmp_path):
    checkpoint = tmp_path / "checkpoint.safetensors"
    train(network(), DATA, causal_loss, dataclasses.replace(QUICK, epochs=1), Hooks(checkpoint=checkpoint))
    with pytest.raises(WeightsError, match="other settings"):
        train(network(), DATA, causal_loss, dataclasses.replace(QUICK, seed=9), Hooks(checkpoint=checkpoint))
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(WeightsError, match="no checkpoint"):
        train(network(), DATA, causal_loss, QUICK, Hooks(checkpoint=checkpoint))


def test_impossible_settings_are_refused():
    with pytest.raises(ConfigError):
        TrainingConfig(epochs=0)
    with pytest.raises(ConfigError):
        TrainingConfig(peak_learning_rate=0.0)


def test_an_epoch_may_read_a_part_of_the_data_drawn_anew():
    config = dataclasses.replace(QUICK, epoch_share=0.5, epochs=4)
    read = []

    def counting(model, tokens):
        if model.training:
            read.append(tokens.shape)
        return causal_loss(model, tokens)

    train(network(), DATA, counting, config)
    whole = len(batches(DATA.train, QUICK.tokens_per_batch, np.random.default_rng(0)))
    assert len(read) == 4 * round(whole / 2)
    halves = {tuple(read[start : start + len(read) // 4]) for start in range(0, len(read), len(read) // 4)}
    assert len(halves) > 1


def test_a_checkpoint_without_the_share_counts_as_one_of_whole_epochs(tmp_path):
    from safetensors import safe_open
    from safetensors.torch import save_file

    path = tmp_path / "checkpoint.safetensors"
    train(network(), DATA, causal_loss, QUICK, Hooks(checkpoint=path))
    assert [entry["epoch"] for entry in read_history(path)] == [1, 2, 3]
    with safe_open(path, framework="pt") as file:
        metadata, tensors = dict(file.metadata()), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    assert metadata["training"].count('"epoch_share": 1.0, ') + metadata["training"].count(', "epoch_share": 1.0') == 1
    older = metadata["training"].replace('"epoch_share": 1.0, ', "").replace(', "epoch_share": 1.0', "")
    save_file(tensors, path, metadata={"training": older})
    assert len(train(network(), DATA, causal_loss, dataclasses.replace(QUICK, epochs=4), Hooks(checkpoint=path))) == 4
    with pytest.raises(WeightsError, match="other settings"):
        train(network(), DATA, causal_loss, dataclasses.replace(QUICK, epoch_share=0.5), Hooks(checkpoint=path))


def test_what_may_change_is_the_callers_to_say(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    train(network(), DATA, causal_loss, QUICK, Hooks(checkpoint=path))
    retuned = dataclasses.replace(QUICK, epochs=4, peak_learning_rate=1e-3)
    with pytest.raises(WeightsError, match="other settings"):
        train(network(), DATA, causal_loss, retuned, Hooks(checkpoint=path))
    allowed = MAY_CHANGE | {"peak_learning_rate"}
    assert len(train(network(), DATA, causal_loss, retuned, Hooks(checkpoint=path, may_change=allowed))) == 4
    assert read_history(tmp_path / "none") == ()
