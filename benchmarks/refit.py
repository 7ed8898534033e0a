"""Refits of a surrogate, round after round: seconds, what is forgotten, and whether the intervals keep their promise.

    python -m benchmarks.refit --labels FILE [--scheme mp2019] [--rounds 10] [--batch-size 16] [--out FILE.json]

FILE is a table of labels (`discovery.labels`). Each round learns a batch of labels of the surrogate's own test part,
with replay of its training part, as the loop does; the error on other training labels, which no refit sees, is compared
with the one before the first round. `--offset` adds a constant to the labels of all rounds, as another kind of
calculation would: calibration and error must then recover.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.results import add_out, run
from discovery.composition import is_compound
from discovery.labels import lowest_per_formula, read_labels
from discovery.learning import Lesson, label_errors, learn_surrogate
from discovery.options import exit_with
from discovery.surrogates.base import Labels
from discovery.surrogates.dataset import split_of
from discovery.surrogates.zoo import DEFAULT, load_surrogate

REPLAYED, WATCHED = 2000, 1000  # labels of the training part that are replayed, and those that are only watched


def parts(options: argparse.Namespace) -> tuple[Labels, Labels, Labels]:
    """New labels for all rounds, labels to replay, and labels to watch."""
    table = lowest_per_formula(read_labels(options.labels, options.scheme))
    table = table[[is_compound(formula) for formula in table.formula]]
    table = table.sample(len(table), random_state=options.seed)
    split = np.array([split_of(formula) for formula in table.formula])
    new = table[split == "test"][: options.rounds * options.batch_size]
    old = table[split == "train"][: REPLAYED + WATCHED]
    chosen = (new, old[:REPLAYED], old[REPLAYED:])
    energies = [rows.formation_energy_per_atom.to_numpy(dtype=np.float64) for rows in chosen]
    energies[0] = energies[0] + options.offset
    pairs = zip(chosen, energies, strict=True)
    fresh, replay, watched = (Labels(tuple(rows.formula), e, (options.scheme,) * len(rows)) for rows, e in pairs)
    return fresh, replay, watched


def joined(first: Labels, second: Labels) -> Labels:
    """Both, one after the other."""
    energies = np.concatenate([first.formation_energy_per_atom, second.formation_energy_per_atom])
    return Labels(first.formulas + second.formulas, energies, first.schemes + second.schemes)


def measure(options: argparse.Namespace) -> dict[str, object]:
    """What each round and all of them together say."""
    torch.set_num_threads(options.threads)
    surrogate = load_surrogate(options.surrogate)
    fresh, replay, watched = parts(options)
    before = label_errors(surrogate, watched)["mae"]
    rounds = []
    for number in range(options.rounds):
        first = number * options.batch_size
        new = fresh.rows(range(len(fresh.formulas))[first : first + options.batch_size])
        lesson = Lesson(new, replay, (), (), (), np.random.SeedSequence(number))
        start = time.perf_counter()
        surrogate, metrics = learn_surrogate(surrogate, lesson, np.random.default_rng([options.seed, number]))
        rounds.append({"seconds": time.perf_counter() - start, **metrics})
        replay = joined(replay, new)
    after = label_errors(surrogate, watched)["mae"]
    return {
        "surrogate": surrogate.version,
        "labels": len(fresh.formulas),
        "watched": len(watched.formulas),
        "mae_on_old_labels": {"before": before, "after": after, "ratio": after / before},
        "coverage_90_of_new_labels": float(np.mean([entry["coverage_90_before"] for entry in rounds])),
        "recalibrations": sum(entry["calibration_factor"] != 1.0 for entry in rounds),
        "rounds": rounds,
    }


def main(argv: list[str] | None = None) -> int:
    """Print one JSON object."""
    return run(_parser(), measure, argv)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.refit", description=__doc__)
    parser.add_argument("--labels", type=Path, required=True, metavar="FILE")
    parser.add_argument("--scheme", default="mp2019", metavar="NAME", help="of rows that name none")
    parser.add_argument("--surrogate", default=DEFAULT, metavar="NAME|DIR")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--offset", type=float, default=0.0, metavar="EV", help="eV/atom, added to the new labels")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    add_out(parser)
    return parser


if __name__ == "__main__":
    exit_with(main)
