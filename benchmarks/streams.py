"""The published way of writing compositions, from its description: greedy, one long sequence at a time.

Fu et al. (2023) let a causal model of 256 positions continue four random elements to 256 tokens, greedily and without
repeating any pair of tokens (`no_repeat_ngram_size` = 2), and cut the sequence into formulas. The network here is a
GPT-2 of our small size, trained causally on streams of formulas, so that it can write one after another.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import GPT2LMHeadModel

from discovery import vocabulary
from discovery.composition import amounts
from discovery.decoding import sample_of
from discovery.formulas import read_parts
from discovery.generators import transformers_models as models
from discovery.generators.causal import GPT2, SMALL, CausalGenerator, causal_loss
from discovery.metrics import reduced
from discovery.model_files import CARD
from discovery.training import TrainingConfig, TrainingData, train
from discovery.vocabulary import END, FIRST_ELEMENT, PAD, SIZE

POSITIONS = 256  # tokens of a sequence
BEGUN = 4  # random elements that it starts from


def stream_model(data: Path, folder: Path, epochs: int) -> CausalGenerator:
    """The network of a folder; trained on a data set and saved there where it is not there yet."""
    if (folder / CARD).is_file():
        return GPT2.load(folder)
    parts = read_parts(data)
    torch.manual_seed(0)
    config = models.gpt2_config(*SMALL)
    config.n_positions = POSITIONS
    network = GPT2LMHeadModel(config)
    rng = np.random.default_rng(0)
    streams = TrainingData(*(windows(parts[part], rng) for part in ("train", "valid")))
    history = train(network, streams, causal_loss, TrainingConfig(epochs))
    card = {"made": "for benchmarks.generation", "valid_nats_per_token": history[-1].valid_loss}
    trained = CausalGenerator(GPT2.name, network.eval(), card)
    trained.save(folder)
    return trained


def windows(formulas: Sequence[str], rng: np.random.Generator) -> NDArray[np.int16]:
    """Formulas in random order, one after another, cut into sequences of one token more than there are positions."""
    order = rng.permutation(len(formulas))
    stream = [token for index in order for token in (*vocabulary.encode(amounts(formulas[index])), END)]
    width = POSITIONS + 1
    whole = max(1, len(stream) // width)
    tokens = np.full((whole, width), PAD, dtype=np.int16)
    tokens.flat[: min(len(stream), whole * width)] = stream[: whole * width]
    return tokens


def published(network: Any, sequences: int, rng: np.random.Generator) -> list[str | None]:
    """Reduced formulas of all pieces of so many sequences; None for a piece that is no composition."""
    pieces: list[list[int]] = []
    for _ in range(sequences):
        begun = torch.from_numpy(rng.integers(FIRST_ELEMENT, SIZE, size=(1, BEGUN)))
        tokens = network.generate(
            begun,
            attention_mask=torch.ones_like(begun),
            max_length=POSITIONS,
            do_sample=False,
            no_repeat_ngram_size=2,
            pad_token_id=PAD,
            eos_token_id=None,
        )[0].tolist()
        pieces += cut(tokens)
    return [reduced(sample_of(piece, 0.0)) for piece in pieces]


def cut(tokens: Sequence[int]) -> list[list[int]]:
    """The pieces between ``<end>`` tokens; the last one, which has no end, is left out."""
    pieces: list[list[int]] = [[]]
    for token in tokens:
        if token == END:
            pieces.append([])
        else:
            pieces[-1].append(token)
    return pieces[:-1]
