"""``python -m discovery.surrogates lift``: teach a language model to answer with formation energies."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from discovery.errors import ConfigError
from discovery.generators.zoo import load_generator
from discovery.labels import read_labels
from discovery.options import torch_device
from discovery.surrogates.base import Labels
from discovery.surrogates.dataset import SPLIT_SEED, TEST_SHARE, VALIDATION_SHARE, Dataset, load_dataset
from discovery.surrogates.evaluation import labelled, rounded_results
from discovery.surrogates.from_labels import labelled_dataset
from discovery.surrogates.lift.base import Answerer
from discovery.surrogates.lift.composition_model import CompositionModel
from discovery.surrogates.lift.sentence_model import SentenceModel, SentenceSettings
from discovery.surrogates.lift.surrogate import LiftSurrogate
from discovery.surrogates.lift.training import LiftConfig, measured, report_line, train_lift
from discovery.training import Hooks

AUXILIARY = "oqmd"  # left out unless it is asked for: more than half of all labels, and no hull of the loop is of it
MODEL = {
    "composition": "language model of compositions that answers with a formation energy in digits (LIFT), eV/atom",
    "sentences": "causal language model with adapters that answers with a formation energy as text (LIFT), eV/atom",
}


def add_options(options: argparse.ArgumentParser) -> None:
    """The options of this entry point."""
    options.add_argument("--data", required=True, type=Path, metavar="DIR|FILE", help="Parquet tables, or own labels")
    options.add_argument("--scheme", metavar="NAME", help="of labels in a FILE that name none")
    options.add_argument("--schemes", metavar="A,B", help=f"to learn (default: all that have labels but {AUXILIARY})")
    options.add_argument("--potential", type=Path, metavar="FILE", help="formation energies by a potential")
    options.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder of the surrogate")
    options.add_argument("--checkpoints", type=Path, default=Path("runs/lift"), metavar="DIR")
    start = options.add_mutually_exclusive_group()
    start.add_argument("--start", default="gpt2", metavar="NAME|DIR", help="language model of compositions")
    start.add_argument("--base", metavar="DIR|NAME", help="any causal language model: a local folder or a hub name")
    options.add_argument(
        "--from-scratch", action="store_true", help="random weights, not those of --start: the control"
    )
    options.add_argument("--no-names", action="store_true", help="--base: questions without the names of the features")
    options.add_argument("--rank", type=int, default=SentenceSettings.rank, help="--base: of the adapters")
    options.add_argument("--samples", type=int, default=SentenceSettings.samples, help="--base: answers per question")
    options.add_argument("--epochs", type=int, default=LiftConfig.epochs)
    options.add_argument("--pretext", type=int, default=LiftConfig.pretext, metavar="N", help="made-up examples first")
    options.add_argument("--learning-rate", type=float, default=LiftConfig.learning_rate)
    options.add_argument("--batch-tokens", type=int, default=LiftConfig.tokens_per_batch)
    options.add_argument("--limit", type=int, metavar="N", help="learn so many of the labels, drawn by --seed")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--threads", type=int, default=1, metavar="N", help="torch threads")
    options.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")


def run(args: argparse.Namespace, command: str) -> int:
    """Train, measure on the test part, write the folder."""
    torch.set_num_threads(args.threads)
    data = limited(load(args), args.limit, args.seed)
    schemes = wanted(data, args.schemes)
    answerer = starting_model(args, schemes)
    config = LiftConfig(
        epochs=args.epochs,
        pretext=args.pretext,
        learning_rate=args.learning_rate,
        tokens_per_batch=args.batch_tokens,
        device=torch_device(args.device),
        seed=args.seed,
    )
    surrogate = train_lift(answerer, data, config, Hooks(report_line, args.checkpoints / "lift.safetensors"))
    card = {**make_card(args, surrogate, data, command), **surrogate.card}
    card["results_on_test"] = rounded_results(measured(surrogate, data))
    replace(surrogate, card=card).save(args.out)
    return 0


def load(args: argparse.Namespace) -> Dataset:
    """The labels of a folder of tables, or of one table of own labels."""
    if args.data.is_dir():
        return load_dataset(args.data, args.potential)
    table = read_labels(args.data, args.scheme)
    energies = table.formation_energy_per_atom.to_numpy(dtype=np.float64)
    return labelled_dataset(Labels(tuple(table.formula), energies, tuple(table.scheme)))


def limited(data: Dataset, most: int | None, seed: int) -> Dataset:
    """The same with at most so many training compositions, drawn by seed."""
    train = data.rows("train")
    if most is None or most >= len(train):
        return data
    left_out = np.random.default_rng([seed, 2]).permutation(train)[most:]
    split = data.split.astype("U16")
    split[left_out] = "left out"
    return replace(data, split=split)


def wanted(data: Dataset, names: str | None) -> tuple[str, ...]:
    """The schemes to learn.

    Raises:
        ConfigError: one that has no labels.
    """
    present = [scheme for column, scheme in enumerate(data.schemes) if np.isfinite(data.energies[:, column]).any()]
    if names is None:
        return tuple(scheme for scheme in present if scheme != AUXILIARY or present == [AUXILIARY])
    chosen = [name.strip() for name in names.split(",") if name.strip()]
    if missing := [name for name in chosen if name not in present] or not chosen:
        raise ConfigError(f"--schemes {names}: no labels of {missing}; there are {', '.join(present)}")
    return tuple(chosen)


def starting_model(args: argparse.Namespace, schemes: tuple[str, ...]) -> Answerer:
    """The model before it has seen a label."""
    if args.base is not None:
        settings = SentenceSettings(not args.no_names, args.samples, args.rank, args.seed)
        return SentenceModel.of(args.base, schemes, settings)
    model = CompositionModel.of(load_generator(args.start), schemes)
    return model.from_scratch(args.seed) if args.from_scratch else model


def make_card(args: argparse.Namespace, surrogate: LiftSurrogate, data: Dataset, command: str) -> dict[str, object]:
    """What a reader of the weights must know."""
    return {
        "model": MODEL[surrogate.answerer.kind],
        "command": command,
        "started_from": args.base or (f"random weights, sizes of {args.start}" if args.from_scratch else args.start),
        "schemes": list(surrogate.schemes),
        "training_labels": {scheme: len(labelled(data, "train", scheme)[0]) for scheme in surrogate.schemes},
        "split": f"by BLAKE2b hash of '{SPLIT_SEED}:' and the reduced formula, for all schemes at once: "
        f"{TEST_SHARE:.1%} test, {VALIDATION_SHARE:.1%} validation (epoch, calibration), the rest training",
        "calibration": "Student's t, maximum likelihood on the validation part; factors in config.json",
        "licences": "labels: Materials Project CC BY 4.0 (A. Jain et al., APL Mater. 1, 011002 (2013)) where --data is "
        "its tables; the starting model's own card says what it has read",
        "limits": "the starting model has read compositions (no energies) of which some are in the test part",
    }
