"""The surrogate against DFT labels, beside published models on the same compositions.

    python -m benchmarks.surrogate --labels FILE [--published FILE] [--split random|crabnet|time|chemsys|family]
        [--out FILE.json] [--markdown FILE.md]

Prints one JSON object: errors of formation energies, all and by the distance from the hull; stability against the DFT
hull and against the hull of the predicted energies (both ways of Bartel et al., npj Comput. Mater. 6, 97 (2020)), and
by a threshold that is chosen on the validation rows; coverage of the intervals, miscalibration area, error by predicted
std; and the error of each published model mixed with the surrogate, by the weight that is best on the validation rows.
Intervals are 95 %, by bootstrap over the compositions. ``--markdown`` writes the same as tables.

The split `random` is the shipped ensemble's own: it never saw the test part. For any other split an ensemble is trained
on the training rows of FILE alone (``--members``, ``--epochs``; resumable in ``--work``). A whole element is left out
by ``--split family --withhold F``, a chemical family by ``--withhold Li,O``, everything after 2018 by ``--split time``.
"""

from __future__ import annotations

import argparse
import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.results import add_out, command, finish
from benchmarks.surrogate.measures import by_distance, decided, errors, mixture, own_hull, stability, uncertainty
from benchmarks.surrogate.models import SCHEME, TREES, Training, baselines, published, threads, train_ensemble
from benchmarks.surrogate.page import markdown
from benchmarks.surrogate.tables import SPLITS, Labels, read_labels
from discovery.errors import ConfigError
from discovery.judging import log_stability
from discovery.options import exit_with, symbols
from discovery.surrogates.base import Prediction, Surrogate
from discovery.surrogates.training import TrainingConfig
from discovery.surrogates.zoo import DEFAULT, load_surrogate

NOTE = (
    "own hull: the published models' competitors are predicted out of fold, those of the models here that are training "
    "compositions in sample; the DFT hull compares like with like"
)


def main(argv: list[str] | None = None) -> int:
    """Predict, measure, print."""
    args = parser().parse_args(argv)
    threads(args.threads)
    started = time.monotonic()
    labels = read_labels(args.labels, args.split, symbols(args.withhold, "--withhold") or frozenset())
    surrogate = _surrogate(args, labels)
    result = {
        "command": command("benchmarks.surrogate", argv),
        "split": args.split,
        "rows": {part: len(labels.rows(part)) for part in ("train", "validation", "test")},
        "stable_share_of_test": float((labels.decomposition[labels.rows("test")] <= 0).mean()),
        "models": models(labels, surrogate, args),
        "note": NOTE,
        "software": {name: version(name) for name in ("torch", "scikit-learn", "numpy")},
        "python": platform.python_version(),
        "seconds": round(time.monotonic() - started, 1),
    }
    if args.markdown is not None:
        args.markdown.write_text(markdown(result), encoding="utf-8")
    finish(rounded(result), args.out)
    return 0


def models(labels: Labels, surrogate: Surrogate, args: argparse.Namespace) -> dict[str, Any]:
    """All figures, by model."""
    rows = labels.rows("test")
    prediction = surrogate.predict(labels.formulas, SCHEME)
    probable = np.exp(log_stability(prediction.mean - labels.hull, prediction.std, 0.0))
    measured = {surrogate.version: measure(labels, prediction.mean, -probable)}
    measured[surrogate.version]["uncertainty"] = uncertainty(
        surrogate, SCHEME, taken(prediction, rows), labels.formation[rows]
    )
    if not args.no_baselines:
        measured |= {name: measure(labels, energies) for name, energies in baselines(labels, args.trees).items()}
    if args.published is not None:
        measured |= others(labels, prediction.mean, args.published)
    return measured


def others(labels: Labels, own: np.ndarray, file: Path) -> dict[str, Any]:
    """Figures of the published models, and what each of them adds to the surrogate's predictions `own`, eV/atom."""
    rows = labels.rows("test")
    both = np.concatenate([labels.rows("validation"), rows])
    chosen, found = labels.parts[both] == "validation", {}
    for name, given in published(file, labels, both).items():
        formation = np.full(len(labels.formulas), np.nan)
        formation[both] = given["formation"]
        found[f"{name} (published)"] = {
            **figures(labels, formation, given["own hull"][-len(rows) :]),
            "mixed_in": mixture(own[both], formation[both], labels.formation[both], chosen),
        }
    return found


def measure(labels: Labels, predicted: np.ndarray, scores: np.ndarray | None = None) -> dict[str, Any]:
    """Figures of a model that predicts every row, eV/atom, shape (n,); for `scores` see `figures`."""
    return figures(labels, predicted, own_hull(labels.formulas, predicted, labels.rows("test")), scores)


def figures(labels: Labels, formation: np.ndarray, own: np.ndarray, scores: np.ndarray | None = None) -> dict[str, Any]:
    """Figures of the test rows.

    Args:
        labels: with the truth.
        formation: predicted formation energies, eV/atom, shape (n,); of validation and test rows at least.
        own: decomposition energies of the test rows against the hull of predicted energies, eV/atom.
        scores: the lower the likelier stable, shape (n,); None: the predicted energy above the DFT hull.
    """
    rows, validation = labels.rows("test"), labels.rows("validation")
    true, above = labels.decomposition, formation - labels.hull
    scores = above if scores is None else scores
    return {
        "formation_energy": errors(formation[rows], labels.formation[rows]),
        "error_by_distance": by_distance(formation[rows], labels.formation[rows], true[rows]),
        "stability_dft_hull": stability(above[rows], true[rows]),
        "stability_own_hull": stability(own, true[rows]),
        "stability_decided": decided(scores[rows], true[rows], (scores[validation], true[validation])),
    }


def taken(prediction: Prediction, rows: np.ndarray) -> Prediction:
    """The prediction of some rows."""
    return Prediction(prediction.mean[rows], prediction.epistemic_std[rows], prediction.aleatoric_std[rows])


def rounded(value: Any) -> Any:
    """The same with floats cut to five decimals."""
    if isinstance(value, dict):
        return {key: rounded(part) for key, part in value.items()}
    if isinstance(value, list):
        return [rounded(part) for part in value]
    return round(value, 5) if isinstance(value, float) else value


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.surrogate", description=__doc__)
    options.add_argument("--labels", required=True, type=Path, metavar="FILE", help="Parquet, as mp_bartel2020")
    options.add_argument("--published", type=Path, metavar="FILE", help="Parquet, as bartel2020_predictions")
    options.add_argument("--split", choices=SPLITS, default="random")
    options.add_argument("--withhold", metavar="A,B", help="elements of the split family, such as F, or Li,O")
    options.add_argument("--surrogate", default=DEFAULT, metavar="NAME|DIR", help="of the split random")
    options.add_argument("--members", type=int, default=4, help="of an ensemble for another split")
    options.add_argument("--epochs", type=int, default=TrainingConfig.epochs, help="of its first cycle")
    options.add_argument("--restart-epochs", type=int, default=TrainingConfig.restart_epochs)
    options.add_argument("--work", type=Path, default=Path("runs/benchmark-surrogate"), help="its checkpoints")
    options.add_argument("--no-baselines", action="store_true", help="without random forest, boosting and mean")
    options.add_argument("--trees", type=int, default=TREES, metavar="N", help="of the forest; boosting: ten times N")
    options.add_argument("--markdown", type=Path, metavar="FILE.md", help="write the tables there")
    add_out(options)
    options.add_argument("--threads", type=int, default=1)
    return options


def _surrogate(args: argparse.Namespace, labels: Labels) -> Surrogate:
    if args.split == "random":
        return load_surrogate(args.surrogate)
    if args.surrogate != DEFAULT:
        raise ConfigError("--surrogate belongs to --split random: for another split an ensemble is trained here")
    name = "-".join(filter(None, (args.split, (args.withhold or "").replace(",", "-"))))
    return train_ensemble(labels, Training(args.work / name, args.members, args.epochs, args.restart_epochs))


if __name__ == "__main__":
    exit_with(main)
