"""All trainings behind the table of the language models, then the table: one command from a list of formulas.

    python -m benchmarks.language_zoo --formulas FILE --out DIR [--only NAME ..] [--n N] [--seeds S ..]

Makes the data sets ``strict``, ``pure`` and ``mix`` (the families K-Zn and Na-Ti withheld from each), trains every
model of `RECIPES` below ``DIR/models`` in that order and ends with `benchmarks.language_models`. What is finished is
not made again and an interrupted training goes on, so the command can be stopped and repeated. The shipped weights came
out of these recipes, all but those of ``gpt2`` (its card says how).
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks import language_models, masked_noise
from discovery import datasets, model_files, train
from discovery.errors import ConfigError
from discovery.formulas import DATASET
from discovery.options import exit_with
from discovery.train import CHECKPOINT

WITHHELD = ("K,Zn", "Na,Ti")
NOISE = "noise"  # ending of a model that learns with the published defect
BALANCED, NOVEL = "gpt-strict-balanced", "gpt-strict-novel"
OWN = "--learning-rate 1e-3 --own-samples"
RECIPES: Mapping[str, str] = {  # folder, family-variant first -> what `discovery.train` is told beside data and place
    "gpt-strict": "--epochs 11",
    "gpt2-strict": "--epochs 16",
    "gptneo-strict": "--epochs 11",
    "gptj-strict": "--epochs 9",
    "bart-strict": "--epochs 11",
    "roberta-strict": "--epochs 12",
    "blmm-strict": "--epochs 12",
    f"gpt2-strict-{NOISE}": "--epochs 16",
    f"{BALANCED}-1": f"--epochs 4 {OWN} 70000 --balance 5 --start gpt-strict",
    f"{BALANCED}-2": f"--epochs 3 {OWN} 70000 --balance 30 --start {BALANCED}-1",
    f"{BALANCED}-3": f"--epochs 2 {OWN} 70000 --balance 60 --start {BALANCED}-2",
    NOVEL: f"--epochs 2 {OWN} 150000 --only-new --sharpen 1.15 --balance 60 --start {BALANCED}-3",
    "gpt-pure": "--epochs 9",
    "bart-pure": "--epochs 8",
    "gpt-mix": "--epochs 3",
    "bart-mix": "--epochs 3",
}


def main(argv: list[str] | None = None) -> int:
    """Make what is missing, then measure."""
    args = parser().parse_args(argv)
    if unknown := sorted(set(args.only or ()) - set(RECIPES)):
        raise ConfigError(f"--only {unknown}: there are {', '.join(RECIPES)}")
    chosen = {name: words for name, words in RECIPES.items() if not args.only or name in args.only}
    data, models = args.out / "data", args.out / "models"
    for variant in sorted({variant_of(name) for name in chosen}):
        make_data(args.formulas, variant, data / variant)
    for name, words in chosen.items():
        train_one(name, words.split(), data / variant_of(name), models, args.threads)
    seeds = [str(seed) for seed in args.seeds]
    words = ["--models", str(models), "--data", str(data), "--out", str(args.out / "table"), "--n", str(args.n)]
    return language_models.main([*words, "--threads", str(args.threads), "--seeds", *seeds])


def variant_of(name: str) -> str:
    """Data set of a recipe."""
    return name.split("-")[1]


def make_data(formulas: Path, variant: str, out: Path) -> None:
    """A data set, where it is not there yet."""
    if not (out / DATASET).is_file():
        withheld = [word for family in WITHHELD for word in ("--withhold", family)]
        datasets.main(["--formulas", str(formulas), "--variant", variant, *withheld, "--out", str(out)])


def train_one(name: str, words: Sequence[str], data: Path, models: Path, threads: int) -> None:
    """One model, where it is not finished yet; an interrupted training goes on."""
    out = models / name
    if (out / model_files.CARD).is_file():
        return
    told = list(words)
    if "--start" in told:
        told[told.index("--start") + 1] = str(models / told[told.index("--start") + 1])
    if (out / CHECKPOINT).is_file():
        told.append("--resume")
    common = ["--data", str(data), "--out", str(out), "--batch-tokens", "1024", "--threads", str(threads)]
    entry = masked_noise.main if name.endswith(NOISE) else train.main
    entry(["--model", name.split("-")[0], *told, *common])


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.language_zoo", description=__doc__)
    options.add_argument("--formulas", required=True, type=Path, metavar="FILE", help="list of known compounds")
    options.add_argument("--out", required=True, type=Path, metavar="DIR", help="for data, models and table")
    options.add_argument("--only", nargs="+", metavar="NAME", help=f"of {', '.join(RECIPES)}")
    language_models.add_sampling(options)
    return options


if __name__ == "__main__":
    exit_with(main)
