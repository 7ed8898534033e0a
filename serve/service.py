"""Generate and rank as plain functions of requests: no Ray, no HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from discovery.composition import reduced_formula
from discovery.constraints import Constraints
from discovery.errors import CompositionError, ConfigError
from discovery.generators.base import Generator, SamplingOptions
from discovery.ranking import AnyHull, estimates
from discovery.records import Estimate, Sample
from discovery.reference.base import Reference
from discovery.reference.competition import completed_hull
from discovery.surrogates.base import Surrogate
from discovery.validity import judge


@dataclass(frozen=True)
class Service:
    """What the service answers with: one generator, one surrogate, one reference."""

    generator: Generator
    surrogate: Surrogate
    reference: Reference
    hull: AnyHull

    @classmethod
    def of(cls, generator: Generator, surrogate: Surrogate, reference: Reference) -> Service:
        """A service whose hull is completed with predicted energies of known phases."""
        hull = completed_hull(reference, surrogate)
        return cls(generator, surrogate, reference, hull)

    def generate(self, n: int, seed: int, options: SamplingOptions) -> dict[str, object]:
        """`n` raw samples with what is known of each."""
        samples = self.generator.sample(n, np.random.default_rng(seed), options)
        rows = [self._described(sample, options.constraints) for sample in samples]
        return {"candidates": rows, "model_version": self.generator.version}

    def rank(self, formulas: Sequence[str], scheme: str | None, tolerance: float) -> list[dict[str, object]]:
        """One row per formula, in order; an unparsable formula is an error of its own row.

        Raises:
            ConfigError: a scheme other than the reference's.
        """
        if scheme not in (None, self.reference.scheme):
            raise ConfigError(
                f"scheme {scheme!r} has no reference here: leave it out or ask for {self.reference.scheme!r}"
            )
        parsed = {text: _reduced(text) for text in formulas}
        wanted = sorted({value for value in parsed.values() if not isinstance(value, CompositionError)})
        found = dict(zip(wanted, estimates(self.surrogate, self.hull, wanted), strict=True))
        return [_row(text, parsed[text], found, tolerance) for text in formulas]

    def _described(self, sample: Sample, constraints: Constraints) -> dict[str, object]:
        row: dict[str, object] = {"formula": sample.formula, "log_probability": sample.log_probability}
        if sample.formula is None:
            return row | {"charge_neutral": False, "electronegativity_balanced": False, "known": False}
        formula = reduced_formula(sample.formula)
        verdict = judge(formula, intermetallics=constraints.intermetallics, mixed_valence=constraints.mixed_valence)
        return row | {
            "charge_neutral": verdict.charge_neutral,
            "electronegativity_balanced": verdict.electronegativity_balanced,
            "known": formula in self.reference.known,
        }


def _reduced(text: str) -> str | CompositionError:
    try:
        return reduced_formula(text)
    except CompositionError as error:
        return error


def _row(text: str, formula: str | CompositionError, found: dict[str, Estimate], tolerance: float) -> dict[str, object]:
    if isinstance(formula, CompositionError):
        return {"formula": text, "error": str(formula)}
    estimate = found[formula]
    above = estimate.energy_above_hull
    stable = None if above is None else float(norm.cdf((tolerance - above) / max(estimate.std, 1e-6)))
    return {
        "formula": text,
        "formation_energy_per_atom": estimate.formation_energy_per_atom,
        "formation_energy_std": estimate.std,
        "energy_above_hull": above,
        "probability_stable": stable,
        "competing_phases": list(estimate.competing_phases),
    }
