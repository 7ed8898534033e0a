"""The results of `benchmarks.surrogate` as Markdown tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.language_tables import table

WAYS = {
    "stability_dft_hull": "DFT hull: predicted formation energy against the competing phases' DFT energies",
    "stability_own_hull": "hull of the predicted energies: errors of a compound and of its competitors enter both",
    "stability_decided": "DFT hull, by the threshold of the largest F1 on the validation rows: probability of "
    "stability for the ensemble, predicted energy above the hull for models without a std",
}
RATES = ("precision", "recall", "f1", "fpr", "auc", "precision_top10")
HEADS = ("model", "MAE Ed (eV/atom)", "precision", "recall", "F1", "FPR", "AUC", "precision in the top 10 %")


def markdown(result: Mapping[str, Any]) -> str:
    """All tables of a result as the benchmark prints it, best model first, under the command that made them."""
    models: Mapping[str, Any] = result["models"]
    names = sorted(models, key=lambda name: models[name]["formation_energy"]["mae"])
    rows = result["rows"]
    parts = [
        f"```\n{result['command']}\n```",
        f"Split `{result['split']}`: {rows['train']:,} training, {rows['validation']:,} validation and "
        f"{rows['test']:,} test compositions ({result['stable_share_of_test']:.1%} of these stable). Intervals: 95 %, "
        "bootstrap over the test compositions.",
        _formation(models, names),
        f"MAE Ef by the true decomposition energy, and the share of all error that lies there:\n\n"
        f"{_distances(models, names)}",
        *_mixtures(models, names),
        *(f"Stable or not, {words}:\n\n{_stability(models, names, way)}" for way, words in WAYS.items()),
        *(_uncertainty(name, models[name]["uncertainty"]) for name in names if "uncertainty" in models[name]),
    ]
    return "\n\n".join(parts) + "\n"


def _formation(models: Mapping[str, Any], names: Sequence[str]) -> str:
    figures = {name: models[name]["formation_energy"] for name in names}
    head = ("model", "MAE Ef (eV/atom)", "RMSE (eV/atom)", "R2")
    return table(
        head, [(name, *(_cell(found, key, 4) for key in ("mae", "rmse", "r2"))) for name, found in figures.items()]
    )


def _distances(models: Mapping[str, Any], names: Sequence[str]) -> str:
    bands = models[names[0]]["error_by_distance"]
    head = ("Ed (eV/atom)", *(_band(*band["edges"]) for band in bands))
    counts = ("compositions", *(f"{band['n']:,}" for band in bands))
    lines = [
        (name, *(_part(band["mae"], band["share_of_error"]) for band in models[name]["error_by_distance"]))
        for name in names
    ]
    return table(head, [counts, *lines])


def _mixtures(models: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    mixed = {name: models[name]["mixed_in"] for name in names if "mixed_in" in models[name]}
    if not mixed:
        return []
    lines = [(name, f"{found['weight']:.2f}", f"{found['mae']:.4f}") for name, found in mixed.items()]
    alone = next(iter(mixed.values()))["mae_alone"]
    words = f"A published model mixed with the surrogate (alone {alone:.4f}), weight chosen on the validation rows:"
    return [f"{words}\n\n{table(('mixed in', 'weight', 'MAE Ef (eV/atom)'), lines)}"]


def _band(low: float | None, high: float | None) -> str:
    if low is None:
        return f"up to {high}"
    return f"above {low}" if high is None else f"{low} to {high}"


def _part(mae: float | None, share: float) -> str:
    return "" if mae is None else f"{mae:.4f} ({share:.0%})"


def _stability(models: Mapping[str, Any], names: Sequence[str], way: str) -> str:
    first = "threshold" if way == "stability_decided" else "mae"
    heads = ("model", "threshold", *HEADS[2:]) if first == "threshold" else HEADS
    lines = [
        (name, _cell(models[name][way], first, 4), *(_cell(models[name][way], key, 3) for key in RATES))
        for name in names
    ]
    return table(heads, lines)


def _uncertainty(name: str, found: Mapping[str, Any]) -> str:
    reached = [
        f"{share:.3f} ({low:.3f} - {high:.3f})"
        for share, (low, high) in zip(found["coverage"].values(), found["coverage_interval"].values(), strict=True)
    ]
    head = [f"{float(level):.0%}" for level in found["coverage"]]
    coverage = table(
        ("interval", *head, "miscalibration area"), [("coverage", *reached, f"{found['miscalibration_area']:.4f}")]
    )
    pairs = found["mean_std_and_error_by_tenth"]
    tenths = table(
        ("tenth of the predicted std", *(str(number) for number in range(1, len(pairs) + 1))),
        [
            ("mean std (eV/atom)", *(f"{std:.3f}" for std, _ in pairs)),
            ("mean error (eV/atom)", *(f"{error:.3f}" for _, error in pairs)),
        ],
    )
    return f"Uncertainty of {name}:\n\n{coverage}\n\n{tenths}"


def _cell(figures: Mapping[str, Any], key: str, digits: int) -> str:
    value, edges = figures[key], figures.get(f"{key}_interval")
    if value is None:
        return ""
    if edges is None:
        return f"{value:.{digits}f}"
    return f"{value:.{digits}f} ({edges[0]:.{digits}f} - {edges[1]:.{digits}f})"
