"""RoBERTa as an order-agnostic autoregressive model of compositions: network, loss, likelihood, left-to-right reading.

A sequence is n atoms, masked or not, and ``<end>``, which shows n. The number of atoms comes from the histogram of the
training lengths, the atoms one by one, in any order, each given those that are written and n (Uria, Murray & Larochelle
2014; Ghazvininejad et al. 2019; Hoogeboom et al. 2022).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import RobertaConfig, RobertaForMaskedLM

from discovery import vocabulary
from discovery.vocabulary import END, FIRST_ELEMENT, MASK, PAD, SIZE, START

ARCHITECTURE = "RobertaForMaskedLM"
MAX_ATOMS = 30
NEVER = -20.0  # logit with which specials start: no position ever holds one
TOO_SHORT = -30.0  # logit of <end> before the drawn length: drawn only where the grammar lets no atom follow
SCORING_BATCH = 1024  # sequences


def untrained(layers: int, width: int, heads: int, dropout: float = 0.0) -> RobertaForMaskedLM:
    """A RoBERTa over our vocabulary, every length equally likely."""
    config = RobertaConfig(
        vocab_size=vocabulary.SIZE,
        max_position_embeddings=PAD + 1 + MAX_ATOMS + 1,  # RoBERTa counts positions from the pad's id + 1
        num_hidden_layers=layers,
        hidden_size=width,
        num_attention_heads=heads,
        intermediate_size=4 * width,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        type_vocab_size=1,
        pad_token_id=PAD,
        bos_token_id=START,
        eos_token_id=END,
        length_counts=[0.0] * MAX_ATOMS,  # formulas with 1, 2, ... atoms
    )
    network = RobertaForMaskedLM(config).eval()
    with torch.no_grad():
        network.lm_head.bias[:FIRST_ELEMENT] = NEVER
    return network


def log_length(network: RobertaForMaskedLM) -> NDArray[np.float64]:
    """Log-probability of 1 to `MAX_ATOMS` atoms: training counts, and one formula shared out over all."""
    counts = np.asarray(network.config.length_counts, dtype=np.float64) + 1 / MAX_ATOMS  # none is impossible
    return np.asarray(np.log(counts / counts.sum()))


def masked_loss(network: RobertaForMaskedLM, tokens: torch.Tensor) -> tuple[torch.Tensor, int]:
    """Summed estimate of a bound on the negative log-likelihood (nats), and the number of tokens, ends included.

    For atoms x_1 .. x_n in a random order and k uniform over 1 .. n,

        -ln p(x) <= -ln p(n) + E_k [n / k * sum over k masked atoms of -ln p(x_i | the others)]

    (Hoogeboom et al. 2022, eq. 5): the right side is the mean over all n! orders of unmasking. The masking rate k /
    n is spread evenly over a batch, which lowers the scatter of the estimate.
    """
    atoms = tokens >= FIRST_ELEMENT
    lengths = atoms.sum(dim=1)
    count = len(tokens)
    spread = (torch.randperm(count, device=tokens.device) + torch.rand(count, device=tokens.device)) / count
    masked_atoms = 1 + (spread * lengths).long().clamp(max=lengths - 1)  # k
    rank = torch.rand(tokens.shape, device=tokens.device).masked_fill(~atoms, 2.0).argsort(dim=1).argsort(dim=1)
    masked = rank < masked_atoms[:, None]
    logits = _logits(network, tokens.masked_fill(masked, MASK), masked)
    losses = torch.nn.functional.cross_entropy(logits, tokens[masked], reduction="none")
    weights = (lengths / masked_atoms)[:, None].expand_as(tokens)[masked]
    of_lengths = torch.from_numpy(log_length(network)).to(tokens.device)[lengths - 1].sum()
    return (losses * weights).sum() - of_lengths.to(losses.dtype), int((lengths + 1).sum())


def _logits(network: RobertaForMaskedLM, tokens: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    """Logits over the vocabulary at the chosen positions, shape (positions, vocabulary)."""
    real = tokens != PAD
    positions = torch.arange(PAD + 1, PAD + 1 + tokens.shape[1], device=tokens.device)[None]
    mask = None if bool(real.all()) else real.long()
    states = network.roberta(input_ids=tokens, attention_mask=mask, position_ids=positions).last_hidden_state
    logits: torch.Tensor = network.lm_head(states[where]).float()
    return logits


def from_config(architecture: str, config: dict[str, Any]) -> RobertaForMaskedLM | None:
    """The network of a saved configuration; None where it is of another kind."""
    if architecture != ARCHITECTURE:
        return None
    return RobertaForMaskedLM(RobertaConfig.from_dict(config)).eval()


@torch.inference_mode()
def left_to_right_scores(network: RobertaForMaskedLM, sequences: Sequence[Sequence[int]]) -> NDArray[np.float64]:
    """Log-probability of each sequence of atoms, its length included, unmasked from left to right, shape (n,)."""
    lengths = np.array([min(len(atoms), MAX_ATOMS) for atoms in sequences], dtype=np.int64)
    totals = np.zeros(len(sequences))
    for length in np.unique(lengths).tolist():
        rows = np.flatnonzero(lengths == length)
        atoms = np.array([list(sequences[row])[:length] for row in rows.tolist()])
        totals[rows] = log_length(network)[length - 1] + _unmasking_sums(network, atoms)
    full = np.array([len(atoms) for atoms in sequences])
    return np.asarray(totals * (full + 1) / (lengths + 1))


def _unmasking_sums(network: RobertaForMaskedLM, atoms: NDArray[np.int64]) -> NDArray[np.float64]:
    """Log-probability of atoms of shape (rows, n) from left to right; what rows share is read once."""
    count, length = atoms.shape
    later = np.arange(length) >= np.arange(length)[:, None]  # at each step the atom itself and all later ones
    states = np.where(later, MASK, atoms[:, None, :]).reshape(-1, length)
    canvases, which = np.unique(states, axis=0, return_inverse=True)
    table = np.empty((len(canvases), SIZE - FIRST_ELEMENT))
    for start in range(0, len(canvases), SCORING_BATCH):
        chunk = canvases[start : start + SCORING_BATCH]
        table[start : start + SCORING_BATCH] = element_log_probability(network, chunk, (chunk == MASK).argmax(axis=1))
    steps = table[which.reshape(-1), (atoms - FIRST_ELEMENT).reshape(-1)]
    return np.asarray(steps.reshape(count, length).sum(axis=1))


@torch.inference_mode()
def element_log_probability(
    network: RobertaForMaskedLM, canvas: NDArray[np.int64], places: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Log-probability of each element at one place of each row, shape (rows, elements); specials have no share."""
    whole = np.pad(canvas, ((0, 0), (0, 1)), constant_values=END)
    tokens = torch.from_numpy(whole).to(network.device)
    where = torch.zeros(whole.shape, dtype=torch.bool)
    where[np.arange(len(whole)), places] = True
    logits = _logits(network, tokens, where.to(network.device))[:, FIRST_ELEMENT:]
    values: NDArray[np.float64] = torch.log_softmax(logits.double(), dim=-1).cpu().numpy()
    return values


class LengthDecoder:
    """A masked model that unmasks from left to right a sequence of known length: one token after another.

    It reads the whole sequence anew at each step: what is written, the masks of what is not, and ``<end>``.
    """

    def __init__(self, network: RobertaForMaskedLM, atoms: int) -> None:
        self._network = network
        self._atoms = atoms
        self.begin()

    @property
    def max_atoms(self) -> int:
        """The length: the grammar lets through what can end within it."""
        return self._atoms

    def begin(self) -> None:
        """Forget everything."""
        self._prefixes = np.zeros((0, 0), dtype=np.int64)

    @torch.inference_mode()
    def step(self, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        """Log-probabilities of the next token, shape (rows, vocabulary): elements, then ``<end>`` at the length."""
        if tokens[0] == START:
            self._prefixes = np.zeros((len(tokens), 0), dtype=np.int64)
        else:
            self._prefixes = np.concatenate([self._prefixes, tokens[:, None]], axis=1)
        written = self._prefixes.shape[1]
        logits = np.full((len(tokens), SIZE), -np.inf, dtype=np.float32)
        logits[:, END] = TOO_SHORT
        if written < self._atoms:
            canvas = np.pad(self._prefixes, ((0, 0), (0, self._atoms - written)), constant_values=MASK)
            places = np.full(len(tokens), written)
            logits[:, FIRST_ELEMENT:] = element_log_probability(self._network, canvas, places)
        return logits

    def keep(self, rows: NDArray[np.int64]) -> None:
        """Go on with these rows only."""
        self._prefixes = self._prefixes[rows]
