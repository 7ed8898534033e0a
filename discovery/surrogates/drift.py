"""Does the calibration still hold? A test that may be looked at after every round.

While it holds, errors in units of their predicted standard deviation follow Student's t (`calibration`). The
alternative: the same distribution, s times as wide, with log s normal around 0. The ratio of the two likelihoods,
averaged over s, is a test martingale: while the calibration holds it ever exceeds 1 / ALPHA with a probability of at
most ALPHA, however often one looks (Ville, 1939; Robbins, Ann. Math. Stat. 41, 1397 (1970); Ramdas et al., Stat. Sci.
38, 576 (2023)). An ordinary test at each of ten rounds would cry wolf far more often than it says.

Errors of one batch are taken as independent; a batch spreads over chemical systems so that they nearly are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

FloatArray = NDArray[np.float64]

ALPHA = 0.05  # of false alarms per campaign
SCALES = np.geomspace(1 / 8, 16, 57)  # widths tried
PRIOR_WIDTH = 0.7  # standard deviation of log s: a factor of two either way is unremarkable
_LOG_PRIOR = -0.5 * (np.log(SCALES) / PRIOR_WIDTH) ** 2
_LOG_PRIOR -= special.logsumexp(_LOG_PRIOR)


@dataclass(frozen=True)
class Watch:
    """What the labels since the last (re)calibration say about it."""

    log_ratios: tuple[float, ...] = (0.0,) * len(SCALES)  # log-likelihood at each width minus that at 1, summed
    n: int = 0  # labels behind it

    def after(self, relative: FloatArray, degrees_of_freedom: float) -> Watch:
        """With the errors of more labels.

        Args:
            relative: errors over their predicted total standard deviation, made before the labels were learned, (n,).
            degrees_of_freedom: of the calibration's Student's t.
        """
        z = relative * np.sqrt(degrees_of_freedom / (degrees_of_freedom - 2.0))  # over the scale instead of the std
        wide = stats.t.logpdf(z[:, None] / SCALES, degrees_of_freedom) - np.log(SCALES)
        ratios = (wide - stats.t.logpdf(z, degrees_of_freedom)[:, None]).sum(axis=0)
        return Watch(tuple((np.array(self.log_ratios) + ratios).tolist()), self.n + len(relative))

    @property
    def evidence(self) -> float:
        """The averaged likelihood ratio: 1 without labels; `drifted` from 1 / ALPHA on."""
        return float(np.exp(min(special.logsumexp(_LOG_PRIOR + np.array(self.log_ratios)), 700.0)))

    @property
    def drifted(self) -> bool:
        """True where errors are wider or narrower than promised beyond chance."""
        return self.evidence >= 1.0 / ALPHA

    @property
    def scale(self) -> float:
        """How many times as wide as promised the errors are: geometric mean over the posterior of s."""
        posterior = special.softmax(_LOG_PRIOR + np.array(self.log_ratios))
        return float(np.exp(posterior @ np.log(SCALES)))


def report(watches: Sequence[Watch]) -> dict[str, float]:
    """What a round's look showed, of the scheme with the strongest evidence: numbers for the record; {} for none.

    `calibration_labels`: since the last calibration; `calibration_evidence`: against it; `calibration_factor`: what the
    predicted standard deviations are multiplied by from now on, 1 while it holds.
    """
    if not watches:
        return {}
    worst = max(watches, key=lambda watch: watch.evidence)
    factor = worst.scale if worst.drifted else 1.0
    return {
        "calibration_labels": float(worst.n),
        "calibration_evidence": worst.evidence,
        "calibration_factor": factor,
    }
