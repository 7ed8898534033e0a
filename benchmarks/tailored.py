"""Property-tailored generation: a model trained further on wide-gap compounds writes wide-gap compounds.

    python -m benchmarks.tailored --data FILE [--model NAME|DIR] --out DIR [--min 1.98] [--n N] [--seeds S ..]

FILE has the columns `reduced_formula` and ``--property`` (``band_gap`` of `oqmd_crabnet.parquet`: DFT gaps in eV). Its
balanced rows are cut in two by a hash of the composition. From one half come the compounds at or above ``--min`` that
the generator is trained further on; from the other alone a random forest on composition features learns the property:
it has seen neither those compounds nor anything that the generator wrote. Two kinds of evidence, for the model before
and after, free and constrained: what the forest says of the distinct compositions, and the DFT value itself of those
that happen to lie in the other half. Prints Markdown and writes `results.json` and the tailored model into ``--out``.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestRegressor
from sklearn.metrics import roc_auc_score

from benchmarks.language_tables import table
from discovery import model_files
from discovery.composition import amounts, canonical_key
from discovery.errors import ConfigError, DataError
from discovery.formulas import fits, read_rows, split_of_key
from discovery.generators.base import LanguageModel, SamplingOptions
from discovery.generators.zoo import FAMILIES, load_generator
from discovery.metrics import reduced, wilson
from discovery.options import exit_with
from discovery.surrogates.features import element_properties, encode
from discovery.training import TrainingConfig
from discovery.validity import judge

HALVES = 198  # seed of the cut
TREES, LEAF = 100, 2
Values = dict[str, float]  # canonical key -> property


@dataclass(frozen=True)
class Halves:
    """The balanced rows of a table."""

    generator: Values
    predictor: Values

    @classmethod
    def read(cls, path: Path, column: str) -> Halves:
        """Cut a table in two.

        Raises:
            DataError: no row is balanced and has a value.
        """
        halves = cls({}, {})
        for row in read_rows(path, value=column):
            value = float("nan") if row.value in (None, "") else float(str(row.value))
            if np.isfinite(value) and fits(row.formula) and judge(row.formula).electronegativity_balanced:
                key = canonical_key(amounts(row.formula))
                mine = split_of_key(key, HALVES, 0.0, 0.5) == "test"
                (halves.generator if mine else halves.predictor)[key] = value
        if not halves.generator or not halves.predictor:
            raise DataError(f"{path} has too few balanced compounds with {column}: give a longer table")
        return halves


def features(keys: Sequence[str]) -> NDArray[np.float64]:
    """Atomic fractions, and mean, spread, smallest and largest value of each property of the elements; shape (n, ..).

    In the manner of Ward et al., npj Comput. Mater. 2, 16028 (2016).
    """
    compositions = encode(keys)
    fractions = compositions.fractions()
    properties = element_properties().numpy().astype(np.float64)
    mean = fractions @ properties
    spread = np.sqrt(np.maximum(fractions @ properties**2 - mean**2, 0.0))
    present = (fractions > 0)[:, :, None]
    low = np.where(present, properties, np.inf).min(axis=1)
    high = np.where(present, properties, -np.inf).max(axis=1)
    return np.hstack([fractions, mean, spread, low, high])


class Forest:
    """A random forest of the property; a tenth of its half is set aside to say how good it is."""

    def __init__(self, values: Values, rows: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        keys = [list(values)[index] for index in rng.permutation(len(values))[:rows]]
        test, train = keys[: len(keys) // 10], keys[len(keys) // 10 :]
        self._trees = RandomForestRegressor(TREES, min_samples_leaf=LEAF, max_features=0.3, random_state=seed)
        self._trees.fit(features(train), [values[key] for key in train])
        self.test = {key: values[key] for key in test}
        self.trained_on = len(train)

    def predict(self, keys: Sequence[str]) -> NDArray[np.float64]:
        """The property of compositions, shape (n,)."""
        chunks = [keys[start : start + 2000] for start in range(0, len(keys), 2000)]  # features are wide
        found = [np.asarray(self._trees.predict(features(chunk))) for chunk in chunks]
        return np.concatenate(found) if found else np.zeros(0)

    def quality(self, minimum: float) -> dict[str, float]:
        """Errors on rows that it did not learn from."""
        truth, said = np.array(list(self.test.values())), self.predict(list(self.test))
        return {
            "rows": len(truth),
            "mean_absolute_error": float(np.abs(truth - said).mean()),
            "auc": float(roc_auc_score(truth >= minimum, said)),
            "share": float((truth >= minimum).mean()),
            "predicted_share": float((said >= minimum).mean()),
        }


def main(argv: list[str] | None = None) -> int:
    """Cut, learn, train further, sample, compare, print."""
    args = _parser().parse_args(argv)
    torch.set_num_threads(1)
    halves = Halves.read(args.data, args.property)
    base = load_generator(args.model)
    if base.name not in FAMILIES:
        raise ConfigError(f"{base.name} learns nothing: name a language model with --model")
    wanted = [key for key, value in halves.generator.items() if value >= args.min]
    tailored = tailor(base, wanted, args)  # type: ignore[arg-type]  # every family is a LanguageModel
    tailored.save(args.out / "model")
    forest = Forest(halves.predictor, args.forest_rows, seed=0)
    report: dict[str, Any] = {
        "command": f"python -m benchmarks.tailored {shlex.join(sys.argv[1:] if argv is None else argv)}",
        "model": base.version,
        "tailored": tailored.version,
        "trained_further_on": len(wanted),
        "forest": {"trained_on": forest.trained_on, **forest.quality(args.min)},
        "rows": [
            measure(model, forest, (halves, set(wanted)), args, constrained=constrained, name=name)
            for constrained in (False, True)
            for name, model in (("before", base), ("after", tailored))
        ],
    }
    model_files.write_json(args.out / "results.json", report)
    print(_markdown(report, args))
    return 0


def tailor(base: LanguageModel, wanted: Sequence[str], args: argparse.Namespace) -> LanguageModel:
    """The model trained further on the wanted compounds, the epoch that is best on a tenth of them."""
    parts: Mapping[bool, list[str]] = {True: [], False: []}
    for key in wanted:
        parts[split_of_key(key, args.seeds[0], 0.1, 0.0) == "valid"].append(key)
    config = TrainingConfig(args.epochs, peak_learning_rate=args.learning_rate, seed=args.seeds[0], patience=2)
    trained, history = base.fit(parts[False], parts[True], config)
    losses = [round(report.valid_loss, 4) for report in history]
    return trained.with_card({"tailored": {"compounds": len(parts[False]), "valid_nats_per_token": losses}})


def measure(
    model: Any,
    forest: Forest,
    known: tuple[Halves, set[str]],
    args: argparse.Namespace,
    *,
    constrained: bool,
    name: str,
) -> dict[str, Any]:
    """The distinct compositions of all seeds before the forest and before DFT."""
    halves, wanted = known
    samples = [
        sample
        for seed in args.seeds
        for sample in model.sample(args.n, np.random.default_rng(seed), SamplingOptions(constrained=constrained))
    ]
    formulas = [formula for sample in samples if (formula := reduced(sample)) is not None]
    balanced = sum(judge(formula).electronegativity_balanced for formula in formulas)
    distinct = list(dict.fromkeys(canonical_key(amounts(formula)) for formula in formulas))
    said = forest.predict(distinct)
    truths = [halves.predictor[key] for key in distinct if key in halves.predictor]
    above = int(sum(value >= args.min for value in truths))
    return {
        "name": f"{'constrained' if constrained else 'free'}, {name}",
        "n": len(samples),
        "balanced": balanced / len(samples),
        "distinct": len(distinct),
        "new": float(np.mean([key not in wanted for key in distinct])),
        "predicted_mean": float(said.mean()),
        "predicted_above": int((said >= args.min).sum()),
        "dft_known": len(truths),
        "dft_above": above,
        "dft_interval": wilson(above, len(truths)),
    }


def _markdown(report: dict[str, Any], args: argparse.Namespace) -> str:
    head = (
        "samples",
        "EB",
        "distinct",
        "not trained further on",
        "mean predicted (eV)",
        "predicted above",
        "DFT above",
    )
    lines = [
        (
            row["name"],
            f"{row['balanced']:.4f}",
            f"{row['distinct']:,} of {row['n']:,}",
            f"{row['new']:.3f}",
            f"{row['predicted_mean']:.2f}",
            f"{row['predicted_above'] / row['distinct']:.3f} ({row['predicted_above']:,})",
            "{:.3f} ({} of {}; {:.3f} - {:.3f})".format(
                row["dft_above"] / max(1, row["dft_known"]), row["dft_above"], row["dft_known"], *row["dft_interval"]
            ),
        )
        for row in report["rows"]
    ]
    forest = report["forest"]
    text = (
        f"{report['model']} trained further on {report['trained_further_on']:,} compounds with {args.property} of at "
        f"least {args.min}. Forest: {forest['trained_on']:,} other rows; on {forest['rows']:,} more its mean absolute "
        f"error is {forest['mean_absolute_error']:.3f}, AUC of 'above' {forest['auc']:.3f}; {forest['share']:.3f} of "
        f"them are above, it says {forest['predicted_share']:.3f}."
    )
    return f"{text}\n\n{table(head, lines)}\n"


def _parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(prog="python -m benchmarks.tailored", description=__doc__)
    options.add_argument("--data", required=True, type=Path, metavar="FILE", help="such as oqmd_crabnet.parquet")
    options.add_argument("--property", default="band_gap", metavar="COLUMN")
    options.add_argument("--min", type=float, default=1.98, metavar="X", help="the paper's band gap, eV")
    options.add_argument("--model", default="gpt2", metavar="NAME|DIR", help="trained further")
    options.add_argument("--out", required=True, type=Path, metavar="DIR")
    options.add_argument("--epochs", type=int, default=8, metavar="N")
    options.add_argument("--learning-rate", type=float, default=5e-4, metavar="RATE")
    options.add_argument("--forest-rows", type=int, default=20_000, metavar="N", help="rows that the forest learns")
    options.add_argument("--n", type=int, default=10_000, metavar="N", help="samples per seed")
    options.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="S")
    return options


if __name__ == "__main__":
    exit_with(main)
