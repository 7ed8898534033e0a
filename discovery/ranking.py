"""From a surrogate and a hull to estimates."""

from __future__ import annotations

from collections.abc import Sequence

from discovery.composition import amounts
from discovery.hull import Hull
from discovery.records import Estimate
from discovery.reference.competition import CompletedHull
from discovery.surrogates.base import Surrogate

AnyHull = Hull | CompletedHull


def estimates(surrogate: Surrogate, hull: AnyHull, formulas: Sequence[str]) -> list[Estimate]:
    """Formation energy with both parts of its uncertainty, and energy above hull, of each reduced formula."""
    if not formulas:
        return []
    prediction = surrogate.predict(formulas, hull.scheme)
    plain = hull.facing(formulas) if isinstance(hull, CompletedHull) else hull
    version = surrogate.version
    points = plain.points(formulas, prediction.mean)
    stds = zip(prediction.epistemic_std, prediction.aleatoric_std, strict=True)
    return [
        Estimate(
            formation_energy_per_atom=float(mean),
            epistemic_std=float(epistemic),
            aleatoric_std=float(aleatoric),
            scheme=hull.scheme,
            model_version=version,
            energy_above_hull=point.energy_above_hull,
            competing_phases=point.competing_phases,
            unmeasured_phases=any(phase.predicted for phase in plain.phases_in(amounts(formula))),
        )
        for formula, mean, (epistemic, aleatoric), point in zip(formulas, prediction.mean, stds, points, strict=True)
    ]
