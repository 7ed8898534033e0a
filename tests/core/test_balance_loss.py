import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from discovery import vocabulary
from discovery.charge_grammar import charge_grammar
from discovery.constraints import Constraints
from discovery.generators.balance_loss import packed_masks, unbalanced_loss
from discovery.generators.causal import GPT2, causal_loss, training_sequence
from discovery.training import TrainingConfig, pad
from discovery.vocabulary import END, SIZE, START, element_id

pytestmark = pytest.mark.usefixtures("one_thread")


def masks(*symbols):
    body = (START, *(element_id(symbol) for symbol in symbols), END)
    return np.unpackbits(packed_masks(body), axis=1, count=SIZE).astype(bool)


def tokens(*formulas):
    return torch.from_numpy(pad([training_sequence(formula) for formula in formulas]).astype(np.int64))


def test_masks_are_those_of_the_grammar():
    grammar = charge_grammar(Constraints(), 30)
    found = masks("Na", "O")
    start = grammar.start()
    sodium = grammar.advance(start, element_id("Na"))
    assert np.array_equal(found[0], np.isfinite(grammar.scores(start)))
    assert np.array_equal(found[1], np.isfinite(grammar.scores(sodium)))
    assert not found[1, END]
    assert found[2, END], "sodium peroxide"
    assert not masks("Mg", "F")[2, END]
    assert masks("Mg", "F")[2, element_id("F")]


def test_nothing_is_known_after_a_token_that_is_not_allowed():
    found = masks("O", "Na", "Na")
    assert not found[1, element_id("Na")], "the order is that of ascending electronegativity"
    assert found[2:].all()


def test_the_loss_is_the_logarithm_of_the_allowed_mass():
    read = tokens("NaCl", "MgF2")
    allowed = torch.from_numpy(
        np.stack([np.pad(masks("Na", "Cl"), ((0, 1), (0, 0))), masks("Mg", "F", "F")])[:, : read.shape[1] - 1]
    )
    only_allowed = torch.zeros(allowed.shape).masked_fill(~allowed, -torch.inf)
    assert float(unbalanced_loss(only_allowed, read)) == pytest.approx(0.0, abs=1e-4)
    number = allowed.sum(dim=-1)[read[:, 1:] != vocabulary.PAD]
    expected = sum(math.log(SIZE / int(count)) for count in number)  # uniform logits: the share of allowed tokens
    assert float(unbalanced_loss(torch.zeros(allowed.shape), read)) == pytest.approx(expected, rel=1e-5)


@torch.no_grad()
def test_it_counts_in_training_and_not_in_validation():
    torch.manual_seed(0)
    network, read = GPT2.of_size(1, 16, 2).network, tokens("NaCl", "MgF2", "SrTiO3")
    plain, count = causal_loss(network.train(), read)
    taught, same = causal_loss(network, read, 2.0)
    assert count == same == 3 + 4 + 6
    lost = float(unbalanced_loss(network(read[:, :-1]).logits, read))
    assert float(taught - plain) == pytest.approx(2 * lost, rel=1e-4)
    assert float(causal_loss(network.eval(), read, 2.0)[0]) == pytest.approx(float(plain), rel=1e-5)


def test_a_taught_model_gives_less_mass_to_what_cannot_be_balanced():
    formulas = ["NaCl", "KBr", "MgO", "CaF2", "Na2O", "Al2O3", "SrTiO3", "LiFePO4", "ZnS", "BaCl2"]
    torch.manual_seed(0)
    start = GPT2.of_size(1, 32, 2)
    config = TrainingConfig(epochs=15, tokens_per_batch=64, peak_learning_rate=5e-3)
    lost = []
    for weight in (0.0, 2.0):
        trained, _ = replace(start, balance=weight).fit(formulas, (), config)
        held_out = tokens("KCl", "MgF2", "Li2O", "CaTiO3", "BaS")
        with torch.no_grad():
            lost.append(float(unbalanced_loss(trained.network(held_out[:, :-1]).logits, held_out)))
    assert lost[1] < 0.8 * lost[0]
