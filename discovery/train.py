"""Train a generator: ``python -m discovery.train --model gpt2 --data FILE --out DIR``."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

import torch

from discovery.composition import reduced_formula
from discovery.errors import CompositionError, ConfigError, DataError
from discovery.formulas import fits, read_rows, split_of
from discovery.generators.causal import causal_loss, training_sequence
from discovery.generators.zoo import PRESETS, build
from discovery.options import exit_with
from discovery.training import EpochReport, Hooks, TrainingConfig, TrainingData, pad, train


def parser() -> argparse.ArgumentParser:
    """The options of this entry point."""
    options = argparse.ArgumentParser(prog="python -m discovery.train", description=__doc__)
    options.add_argument("--model", required=True, choices=sorted(PRESETS), help="family of language models")
    options.add_argument("--preset", choices=("small", "paper"), default="small", help="size of the model")
    options.add_argument("--data", required=True, type=Path, metavar="FILE", help="formulas: txt, csv or parquet")
    options.add_argument("--where", metavar="COLUMN", help="keep only the rows where this column is true")
    options.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder of the trained model")
    options.add_argument("--epochs", type=int, default=20, metavar="N")
    options.add_argument("--learning-rate", type=float, default=2e-3, metavar="RATE", help="peak of the one-cycle rate")
    options.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    options.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
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
    checkpoint = args.out / "checkpoint.safetensors"
    if checkpoint.exists() and not args.resume:
        raise ConfigError(f"{checkpoint} exists: go on with --resume, or choose another --out")
    config = TrainingConfig(
        epochs=args.epochs, peak_learning_rate=args.learning_rate, device=device(args.device), seed=args.seed
    )
    parts, notes = split_file(args)
    data = TrainingData(*(pad([training_sequence(f) for f in parts[name]]) for name in ("train", "valid")))
    torch.manual_seed(args.seed)
    generator = build(args.model, args.preset)
    print(f"{args.model} {args.preset}: {notes}", flush=True)
    history = train(generator.network, data, causal_loss, config, Hooks(_show, checkpoint))
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
    generator.with_card(card).save(args.out)
    return 0


def device(name: str) -> str:
    """The torch device of an option; ``auto`` takes the GPU where there is one."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--device cuda, but torch sees no GPU: use --device cpu or auto")
    return name


def split_file(args: argparse.Namespace) -> tuple[dict[str, list[str]], dict[str, object]]:
    """Train, validation and test part of ``--data``, and notes on how they were made for the card."""
    rows = read_rows(args.data, args.where)
    formulas: dict[str, None] = {}
    for row in rows:
        try:
            if fits(row.formula, args.max_atoms, args.max_elements):
                formulas.setdefault(reduced_formula(row.formula))
        except CompositionError as error:
            raise DataError(f"{args.data}, line {row.line}: {error}") from error
    parts: dict[str, list[str]] = {"train": [], "valid": [], "test": []}
    for formula in formulas:
        parts[split_of(formula, args.seed)].append(formula)
    if not parts["train"] or not parts["valid"]:
        raise DataError(
            f"{args.data}: {len(formulas)} usable formulas are too few to train and validate on: give 100 or more"
        )
    notes: dict[str, object] = {
        "file": args.data.name,
        "where": args.where,
        "rows": len(rows),
        "rule": f"2 to {args.max_elements} elements, at most {args.max_atoms} atoms, each reduced formula once",
        "split": f"discovery.formulas.split_of, seed {args.seed}: 5 % test, 5 % validation by hash",
        **{part: len(members) for part, members in parts.items()},
    }
    return parts, notes


def _show(report: EpochReport) -> None:
    print(report.line(), flush=True)


if __name__ == "__main__":
    exit_with(main)
