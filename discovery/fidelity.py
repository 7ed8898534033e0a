"""Cheap looks before an expensive label: what they are worth, which ones pay, and what they tell.

The rungs of the ladder are a potential's energy of the best unrelaxed prototype (`unrelaxed`), of the relaxed one
(`potential`), and the oracle itself (`dft`). A look is a noisy measurement of the formation energy; how noisy, and how
biased, is learned from the candidates that got both a look and a label. Posterior of normal beliefs: precisions add up
(e.g. Gelman et al., Bayesian Data Analysis, 2.5). A look pays where the stable compounds that it is expected to bring
into the batch (value of information: Howard, IEEE Trans. Syst. Sci. Cybern. 2, 22 (1966)) are worth more oracle cost
than it costs itself; without that rule a cheap rung is asked too often or never.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from discovery.errors import ConfigError

FloatArray = NDArray[np.float64]

DEAR = "dft"  # the key of the oracle itself, whatever it is
CHEAP = ("unrelaxed", "potential")  # rungs below it, the cheapest first
NOISE = {"unrelaxed": 0.15, "potential": 0.08}  # eV/atom, before any label; prototypes may be wrong, schemes differ
BIAS_STD = 0.05  # eV/atom: how far a rung may be off for all compounds alike
PRIOR_PAIRS = 5.0  # looks with a label that the noise above counts for
NODES = ndtri((np.arange(41) + 0.5) / 41)  # equally probable values of a standard normal: a kink is no harm to them


@dataclass(frozen=True)
class Costs:
    """What one call of each rung costs, in any unit; 0: the rung is not asked.

    Raises:
        ConfigError: a cost that is no positive number, or a cheap rung that costs more than the oracle.
    """

    unrelaxed: float = 0.0
    potential: float = 0.0
    dft: float = 1.0  # the oracle of the campaign

    def __post_init__(self) -> None:
        if not (np.isfinite(self.dft) and self.dft > 0):
            raise ConfigError(f"--costs dft={self.dft}: the oracle's cost must be positive, such as dft=1000")
        for name in CHEAP:
            if not 0 <= getattr(self, name) < self.dft:
                raise ConfigError(f"--costs {name}={getattr(self, name)}: give a cost from 0 to below dft={self.dft:g}")

    @property
    def rungs(self) -> tuple[str, ...]:
        """Cheap rungs that are asked, the cheapest first."""
        return tuple(name for name in CHEAP if getattr(self, name) > 0)

    def of(self, rung: str) -> float:
        """The cost of one call."""
        return float(getattr(self, rung))


def costs_from(text: str) -> Costs:
    """Costs from the text of the option --costs, such as ``potential=1,dft=1000``.

    Raises:
        ConfigError: it cannot be read; the message shows how to write it.
    """
    known = [f.name for f in fields(Costs)]
    pairs = [part.partition("=") for part in text.split(",")]
    try:
        values = {name.strip(): float(value) for name, _, value in pairs}
    except ValueError as error:
        raise ConfigError(f"--costs {text!r} cannot be read: write potential=1,dft=1000") from error
    if unknown := sorted(set(values) - set(known)):
        raise ConfigError(f"--costs knows no {unknown[0]!r}: choose from {', '.join(known)}")
    return Costs(**values)


@dataclass(frozen=True)
class Rung:
    """How far looks of one rung lie from the labels."""

    bias: float  # eV/atom, look minus label
    noise: float  # eV/atom, standard deviation around it


def learned_rung(name: str, differences: Sequence[float]) -> Rung:
    """A rung after candidates that got a look and a label (look minus label, eV/atom).

    The bias is shrunk towards 0, the variance towards its prior, so that the first pairs do not decide alone.
    """
    given, prior = np.array(differences, dtype=np.float64), NOISE[name]
    shrunk = len(given) / (len(given) + prior**2 / BIAS_STD**2)
    bias = float(shrunk * given.mean()) if len(given) else 0.0
    variance = (PRIOR_PAIRS * prior**2 + ((given - bias) ** 2).sum()) / (PRIOR_PAIRS + len(given))
    return Rung(bias, float(np.sqrt(variance)))


def fused(mean: FloatArray, std: FloatArray, look: FloatArray, rung: Rung) -> tuple[FloatArray, FloatArray]:
    """Mean and std after a look (eV/atom, all of shape (n,)); where the look is NaN they stay as they are."""
    precision = 1.0 / std**2
    told = np.where(np.isnan(look), 0.0, 1.0 / rung.noise**2)
    after = (precision * mean + told * (np.nan_to_num(look) - rung.bias)) / (precision + told)
    return after, 1.0 / np.sqrt(precision + told)


@dataclass(frozen=True)
class Question:
    """What a look is judged by; arrays of shape (n,)."""

    above_hull: FloatArray  # believed energy above hull, eV/atom
    std: FloatArray
    tolerance: float
    batch: int  # labels that will be asked for


def worth_a_look(question: Question, rung: Rung, cost: float, dear: float) -> NDArray[np.int64]:
    """Rows for which a look pays, the best first.

    A look can lift a candidate into the batch, or show that one of the batch does not belong there. The expected gain
    in stable compounds, at the price that the batch pays for one (dear / mean chance), must exceed the cost.
    """
    chance = ndtr((question.tolerance - question.above_hull) / question.std)
    order = np.argsort(-chance, kind="stable")
    size = min(question.batch, len(order))
    if size == 0 or size == len(order):  # all of them are asked for: nothing to choose
        return np.zeros(0, dtype=np.int64)
    inside = np.zeros(len(order), dtype=bool)
    inside[order[:size]] = True
    # the first one outside would come in, the last one inside would go
    edge = np.where(inside, chance[order[size]], chance[order[size - 1]])
    gain = expected_gain(question, rung, edge, inside)
    price = dear / max(float(chance[inside].mean()), 1e-6)
    rows = np.argsort(-gain, kind="stable")
    return rows[gain[rows] * price > cost]


def expected_gain(question: Question, rung: Rung, edge: FloatArray, inside: NDArray[np.bool_]) -> FloatArray:
    """Expected stable compounds that the batch gains by a look at each candidate, shape (n,).

    Before the look, the mean after it is normal with variance std^2 - (std after)^2.
    """
    _, after = fused(question.above_hull, question.std, np.zeros(len(edge)), rung)
    moved = np.sqrt(np.maximum(question.std**2 - after**2, 0.0))
    means = question.above_hull[:, None] + moved[:, None] * NODES
    chance = ndtr((question.tolerance - means) / after[:, None])  # (n, nodes)
    change = np.where(inside[:, None], edge[:, None] - chance, chance - edge[:, None])
    return np.asarray(np.maximum(change, 0.0).mean(axis=1))


def total(costs: Costs, calls: Mapping[str, int]) -> float:
    """What a number of calls of each rung costs."""
    return sum(costs.of(rung) * number for rung, number in calls.items())
