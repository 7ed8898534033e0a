"""Train a generator: ``python -m discovery.train --model gpt2 --data FILE --out DIR``."""

from __future__ import annotations

import argparse
import shlex
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from discovery import model_files
from discovery.composition import reduced_formula
from discovery.errors import ConfigError, DataError
from discovery.formulas import DATASET, read_distinct, split_of
from discovery.generators.base import LanguageModel, SamplingOptions
from discovery.generators.causal import CausalGenerator
from discovery.generators.zoo import FAMILIES, PRESETS, Size, build, sized
from discovery.options import exit_with, torch_device
from discovery.training import EpochReport, Hooks, TrainingConfig

CHECKPOINT = "checkpoint.safetensors"  # in --out, until the training is finished and after it
OWN = ("own_samples", "only_new", "sharpen", "balance")  # of a card's data: what the model itself was the source of
SEARCHED = ("tokens_per_batch", "peak_learning_rate", "warmup_share", "weight_decay")  # what --like takes over


def parser() -> argparse.ArgumentParser:
    """The options of this entry point."""
    options = argparse.ArgumentParser(prog="python -m discovery.train", description=__doc__)
    options.add_argument("--model", required=True, choices=sorted(FAMILIES), help="family of language models")
    options.add_argument("--preset", choices=PRESETS, default="small", help="size of the model")
    data = "formulas: txt, csv or parquet; or a folder of discovery.datasets"
    options.add_argument("--data", required=True, type=Path, metavar="FILE|DIR", help=data)
    options.add_argument("--where", metavar="COLUMN", help="keep only the rows where this column is true")
    options.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder of the trained model")
    options.add_argument("--epochs", type=int, default=20, metavar="N")
    options.add_argument(
        "--learning-rate", type=float, metavar="RATE", help="peak of the one-cycle rate (default 2e-3)"
    )
    options.add_argument("--batch-tokens", type=int, metavar="N", help="tokens per step (default 2048)")
    options.add_argument(
        "--like", type=Path, metavar="DIR", help="size, rates and batch of a searched model (python -m tune.search)"
    )
    options.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    options.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    options.add_argument("--start", type=Path, metavar="DIR", help="go on from the weights of this trained model")
    options.add_argument(
        "--own-samples",
        type=int,
        default=0,
        metavar="N",
        help="with --start: train on N charge-neutral, balanced compositions that the model writes itself, too",
    )
    options.add_argument(
        "--only-new",
        action="store_true",
        help="with --own-samples: train on those that are not in the training part, and not on that part again",
    )
    options.add_argument(
        "--sharpen",
        type=float,
        default=1.0,
        metavar="X",
        help="with --own-samples: take them in proportion to the model's p to the power X (default 1; try 1.15)",
    )
    options.add_argument(
        "--balance",
        type=float,
        default=0.0,
        metavar="X",
        help="causal models: weight of a loss that teaches which tokens can still lead to balanced charges (try 1)",
    )
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--threads", type=int, default=None, metavar="N", help="torch threads (default: all cores)")
    options.add_argument("--max-atoms", type=int, default=30, metavar="N", help="leave longer formulas out")
    options.add_argument("--max-elements", type=int, default=8, metavar="N", help="leave formulas of more elements out")
    return options


def main(argv: list[str] | None = None) -> int:
    """Train a model and save it with its card."""
    args = parser().parse_args(argv)
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    checkpoint = args.out / CHECKPOINT
    if checkpoint.exists() and not args.resume:
        raise ConfigError(f"{checkpoint} exists: go on with --resume, or choose another --out")
    if args.own_samples and args.start is None:
        raise ConfigError("--own-samples are written by a trained model: name it with --start")
    if not args.own_samples and (args.only_new or args.sharpen != 1.0):
        raise ConfigError("--only-new and --sharpen choose among own samples: give --own-samples N, too")
    if not 0.5 <= args.sharpen <= 2.0:
        raise ConfigError(f"--sharpen {args.sharpen:g}: give a power from 0.5 to 2, such as 1.15")
    config = configured(args)
    parts, notes = split_file(args)
    generator = beginning(args)
    if args.balance:
        generator = balanced(generator, args.balance)
        notes["balance"] = args.balance
    if args.own_samples:
        known = frozenset(parts["train"]) if args.only_new else frozenset()
        own = own_samples(generator, args.own_samples, args.seed, args.sharpen, known)
        parts["train"] = own if args.only_new else parts["train"] + own
        notes |= {"own_samples": len(own), "sharpen": args.sharpen, "only_new": args.only_new}
    print(f"{args.model} {args.preset}: {notes}", flush=True)
    if args.resume and not checkpoint.exists():
        print(f"{checkpoint} does not exist: training starts anew", flush=True)
    trained, history = generator.fit(parts["train"], parts["valid"], config, Hooks(_show, checkpoint))
    best = min(history, key=lambda report: report.valid_loss)
    card = {
        "command": f"python -m discovery.train {shlex.join(sys.argv[1:] if argv is None else argv)}",
        "data": notes,
        "training": {
            "epochs": len(history),
            "epochs_of_schedule": [report.epochs for report in history],  # they differ where --epochs was changed
            "best_epoch": best.epoch,
            "valid_nats_per_token": best.valid_loss,
            "seconds": round(sum(report.seconds for report in history)),
        },
    }
    trained.with_card(card).save(args.out)
    return 0


def configured(args: argparse.Namespace) -> TrainingConfig:
    """The training that the options ask for; what they leave open is that of ``--like``, where it is given."""
    like = {} if args.like is None else searched(args.like, args.model)["training"]
    given = {"tokens_per_batch": args.batch_tokens, "peak_learning_rate": args.learning_rate}
    chosen = {name: like[name] for name in SEARCHED if name in like}
    chosen |= {name: value for name, value in given.items() if value is not None}
    return TrainingConfig(**chosen, epochs=args.epochs, device=torch_device(args.device), seed=args.seed)


def beginning(args: argparse.Namespace) -> LanguageModel:
    """The model that training begins with: a preset, the size of ``--like``, or the trained one of ``--start``."""
    if args.like is not None:
        if args.start is not None:
            raise ConfigError("--start brings its own size, and --like another one: leave one out")
        size = searched(args.like, args.model)["size"]
        width, order = size["heads"] * size["head_width"], size.get("left_to_right")
        shape = Size(size["layers"], width, size["heads"], size["dropout"], order)
        return sized(args.model, shape, args.seed).with_card({"preset": f"like {args.like.name}"})
    torch.manual_seed(args.seed)
    return build(args.model, args.preset) if args.start is None else started(args)


def searched(folder: Path, family: str) -> dict[str, Any]:
    """The card of a model that a search found.

    Raises:
        ConfigError: it was not found by one, or is of another family.
    """
    card = model_files.read_json(folder / model_files.CARD)
    if not {"size", "training"} <= set(card):
        raise ConfigError(f"{folder} was not found by a search: give the folder `best` of python -m tune.search")
    if card.get("model") != family:
        raise ConfigError(f"{folder} holds a {card.get('model')}, not a {family}: name that with --model")
    return card


def started(args: argparse.Namespace) -> LanguageModel:
    """The trained model of ``--start``; its card says so, and what it was trained on goes on under ``start``.

    Raises:
        ConfigError: it is of another family than ``--model``.
    """
    model = FAMILIES[args.model].load(args.start)
    if model.name != args.model:
        raise ConfigError(f"{args.start} holds a {model.name}, not a {args.model}: name that with --model")
    start = {key: model.card[key] for key in ("version", "command", "training", "start") if key in model.card}
    learned = model.card.get("data", {})
    start["data"] = {key: learned[key] for key in OWN if key in learned}
    return replace(model, card={"preset": model.card.get("preset"), "start": start})  # type: ignore[type-var]


def balanced(generator: LanguageModel, weight: float) -> LanguageModel:
    """The model with the loss of ``--balance``; see `discovery.generators.balance_loss`.

    Raises:
        ConfigError: it is not causal, or the weight is negative.
    """
    if not isinstance(generator, CausalGenerator) or weight < 0:
        raise ConfigError("--balance is a weight above 0 for causal models: leave it out for this one")
    return replace(generator, balance=weight)


def own_samples(
    generator: LanguageModel, n: int, seed: int, sharpen: float = 1.0, known: frozenset[str] = frozenset()
) -> list[str]:
    """Reduced formulas of `n` constrained samples, repeated ones included.

    Constrained decoding draws from the model's distribution under the condition that charges balance. A model trained
    further on such samples learns to keep that condition by itself: the list of real compounds is too short to learn
    the arithmetic of charges from. Nothing but the training part and the table of oxidation states is behind them, so
    held-out compounds stay unseen.

    With `sharpen` or `known` the samples are drawn again, with replacement, by importance weights p^(sharpen - 1), zero
    for known compounds: a sample of p^sharpen among the compounds that the model has not been shown.

    Args:
        generator: what writes them.
        n: samples.
        seed: of the drawing.
        sharpen: power of the model's probability; 1 leaves it.
        known: reduced formulas to leave out.

    Raises:
        DataError: all samples are known.
    """
    options, rng = SamplingOptions(constrained=True), np.random.default_rng([seed, n])
    samples = [reduced_formula(sample.formula) for sample in generator.sample(n, rng, options) if sample.formula]
    if sharpen == 1.0 and not known:
        return samples
    new = [formula for formula in samples if formula not in known]
    if not new:
        raise DataError(f"all {n} own samples are in the training part: give more --own-samples, or no --only-new")
    distinct = list(dict.fromkeys(new))
    logarithms = dict(zip(distinct, (sharpen - 1.0) * generator.log_probability(distinct), strict=True))
    weights = np.exp(np.array([logarithms[formula] for formula in new]) - max(logarithms.values()))
    return [new[index] for index in rng.choice(len(new), size=n, p=weights / weights.sum())]


def split_file(args: argparse.Namespace) -> tuple[dict[str, list[str]], dict[str, object]]:
    """Parts of ``--data`` (those of a folder as they are, a file is split), and notes on how they were made."""
    read = partial(read_distinct, where=args.where, max_atoms=args.max_atoms, max_elements=args.max_elements)
    if args.data.is_dir():
        found = {part: read(args.data / f"{part}.csv") for part in ("train", "valid")}
        parts, rows = {part: formulas for part, (formulas, _) in found.items()}, sum(n for _, n in found.values())
        split, origin = "as the folder has it", _origin(args.data)
    else:
        (formulas, rows), origin = read(args.data), {}
        parts = {"train": [], "valid": [], "test": []}
        for formula in formulas:
            parts[split_of(formula, args.seed)].append(formula)
        split = f"discovery.formulas.split_of, seed {args.seed}: 5 % test, 5 % validation by hash"
    if not parts["train"] or not parts["valid"]:
        formulas = [formula for part in parts.values() for formula in part]
        raise DataError(
            f"{args.data}: {len(formulas)} usable formulas are too few to train and validate on: give 100 or more"
        )
    notes: dict[str, object] = {
        "file": args.data.name,
        "where": args.where,
        "rows": rows,
        "rule": f"2 to {args.max_elements} elements, at most {args.max_atoms} atoms, each reduced formula once",
        "split": split,
        **origin,
        **{part: len(members) for part, members in parts.items()},
    }
    return parts, notes


def _origin(folder: Path) -> dict[str, object]:
    """What a card keeps of a data set's own: its variant, its list and split, and the families withheld from it."""
    if not (folder / DATASET).is_file():
        return {}
    known = model_files.read_json(folder / DATASET)
    return {key: known[key] for key in ("variant", "source", "property", "withheld", "split") if key in known}


def _show(report: EpochReport) -> None:
    print(report.line(), flush=True)


if __name__ == "__main__":
    exit_with(main)
