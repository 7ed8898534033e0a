"""Judge generated compositions: ``python -m discovery.evaluate --samples FILE --train FILE --holdout FILE``.

CN, EB, uniqueness, novelty and recovery with 95 % intervals: *raw*, over all sequences of the file, and apart from that
*filtered*, over the balanced ones with each composition once. Under SMACT's default oxidation states, and beside it
under its older list (smact14), which is nearer to published work.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from discovery.composition import amounts, canonical_key
from discovery.errors import CompositionError, ConfigError, DataError
from discovery.formulas import read_rows
from discovery.metrics import LEVEL, RESAMPLES, Evaluation, Share, evaluation
from discovery.options import exit_with
from discovery.validity import Rules, StateSet, verdict

ROWS = {  # metric -> what is counted, and out of what
    "charge_neutral": ("charge neutral (CN)", "sequences"),
    "electronegativity_balanced": ("electronegativity balanced (EB)", "sequences"),
    "uniqueness": ("uniqueness", "sequences"),
    "novelty": ("novelty", "distinct"),
    "recovery": ("recovery", "held-out"),
}
TITLES = {"raw": "raw: over all sequences", "filtered": "filtered: the balanced ones, each composition once"}
STATES: tuple[StateSet, ...] = ("icsd24", "smact14")


def parser() -> argparse.ArgumentParser:
    """The options of this entry point."""
    options = argparse.ArgumentParser(prog="python -m discovery.evaluate", description=__doc__)
    options.add_argument(
        "--samples", required=True, type=Path, metavar="FILE", help="of discovery.generate, or any list of formulas"
    )
    options.add_argument("--train", required=True, type=Path, metavar="FILE", help="what the generator was trained on")
    options.add_argument("--holdout", required=True, type=Path, metavar="FILE", help="real compounds it never saw")
    options.add_argument("--seed", type=int, default=0, help="of the bootstrap")
    options.add_argument("--json", action="store_true", help="print one JSON object on the last line")
    return options


def main(argv: list[str] | None = None) -> int:
    """Read, judge and print."""
    args = parser().parse_args(argv)
    if args.seed < 0:
        raise ConfigError(f"--seed {args.seed}: give 0 or more")
    samples = read_samples(args.samples)
    training, held_out = read_compounds(args.train), read_compounds(args.holdout)
    if both := len(training & held_out):
        raise DataError(
            f"{both} compounds of {args.holdout} are in {args.train}, too: what was trained on cannot be recovered, "
            "give parts that do not overlap (discovery.datasets makes them)"
        )
    report = {
        "samples": args.samples.name,
        "n": len(samples),
        "train": {"file": args.train.name, "compositions": len(training)},
        "holdout": {"file": args.holdout.name, "compositions": len(held_out)},
        "smact": version("smact"),
        "intervals": {"level": LEVEL, "resamples": RESAMPLES, "seed": args.seed},
        **evaluate(samples, training, held_out, args.seed),
    }
    print("\n".join(_lines(report)))
    if args.json:
        print(json.dumps(report))
    return 0


def read_samples(path: Path) -> list[str | None]:
    """Canonical key of every row; None for one that is no composition of two elements or more.

    Raises:
        DataError: the file cannot be read, has no column `formula`, or no rows.
    """
    rows = read_rows(path)
    if not rows:
        raise DataError(f"{path} holds no samples: draw some with discovery.generate")
    return [_key(row.formula) for row in rows]


def read_compounds(path: Path) -> set[str]:
    """Canonical keys of a list of compounds; single elements are left out.

    Raises:
        DataError: the file cannot be read, is empty, or a row is no composition (its line is named).
    """
    keys: set[str] = set()
    for row in read_rows(path):
        try:
            counts = amounts(row.formula)  # ten times as quick as `formulas.read_formulas`: a minute for mix
        except CompositionError as error:
            raise DataError(f"{path}, line {row.line}: {error}") from error
        if len(counts) > 1:
            keys.add(canonical_key(counts))
    if not keys:
        raise DataError(f"{path} holds no compounds: write one per line, or a column named formula")
    return keys


def _key(formula: str) -> str | None:
    try:
        counts = amounts(formula)
    except CompositionError:
        return None
    return canonical_key(counts) if len(counts) > 1 else None


def evaluate(samples: Sequence[str | None], training: set[str], held_out: set[str], seed: int) -> dict[str, Any]:
    """Raw metrics under both tables of oxidation states, and the same after filtering.

    Returns:
        ``raw`` and ``filtered``; in each, table of states -> metric -> count, of, share, low, high.
    """
    result: dict[str, Any] = {"raw": {}, "filtered": {}}
    for states in STATES:
        kept = _balanced(samples, states)
        for name, formulas in (("raw", samples), ("filtered", kept)):
            rng = np.random.default_rng(seed)
            found = evaluation(formulas, training, held_out, rng, states)
            result[name][states] = {"n": len(formulas), **_as_dict(found)}
    return result


def _balanced(samples: Sequence[str | None], states: StateSet) -> list[str | None]:
    """The balanced compositions, each once."""
    distinct = dict.fromkeys(formula for formula in samples if formula is not None)
    rules = Rules(states=states)
    return [formula for formula in distinct if verdict(amounts(formula), rules).electronegativity_balanced]


def _as_dict(found: Evaluation) -> dict[str, Any]:
    shares: dict[str, Share] = {field.name: getattr(found, field.name) for field in dataclasses.fields(found)}
    return {name: {"share": share.value, **dataclasses.asdict(share)} for name, share in shares.items()}


def _lines(report: dict[str, Any]) -> list[str]:
    trained, held_out = report["train"]["compositions"], report["holdout"]["compositions"]
    lines = [
        f"{report['n']:,} sequences of {report['samples']}; trained on {trained:,}, held out {held_out:,}",
        f"SMACT {report['smact']}; 95 % bootstrap intervals, seed {report['intervals']['seed']}",
    ]
    for part, title in TITLES.items():
        for states in STATES:
            lines += ["", f"{title}, {states}"]
            lines += [_line(*ROWS[metric], report[part][states][metric]) for metric in ROWS]
    return lines


def _line(label: str, of: str, share: dict[str, Any]) -> str:
    percent, low, high = (f"{100 * share[name]:.2f}" for name in ("share", "low", "high"))
    return f"  {label:<31}{percent:>7} %  ({low} to {high})  {share['count']:,} of {share['of']:,} {of}"


if __name__ == "__main__":
    exit_with(main)
