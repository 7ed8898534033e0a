"""Write compositions: ``python -m discovery.generate --n N --out FILE.csv``, one row per sampled sequence, raw.

``--template "Li ? O"`` completes a composition of which a part is given; see `discovery.templates`.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from discovery.errors import ConfigError, DataError
from discovery.generators.base import Filler, Generator, SamplingOptions
from discovery.generators.rarity import corrected
from discovery.generators.zoo import BASELINES, FAMILIES, build, load_generator, names
from discovery.metrics import reduced
from discovery.options import add_constraint_options, constraints_from, exit_with
from discovery.records import Sample
from discovery.reference.base import KnownFormulas
from discovery.reference.builtin import load_builtin
from discovery.templates import Template
from discovery.validity import judge

PILOT_SEED = 0  # of the samples that --rare looks at
COLUMNS = (
    "sequence",
    "formula",
    "reduced_formula",
    "log_probability",
    "charge_neutral",
    "electronegativity_balanced",
    "known",
)


def parser() -> argparse.ArgumentParser:
    """The options of this entry point."""
    options = argparse.ArgumentParser(prog="python -m discovery.generate", description=__doc__)
    options.add_argument("--n", required=True, type=int, metavar="N", help="number of sequences")
    options.add_argument("--model", default="gpt2", metavar="NAME|DIR", help=f"{', '.join(names())}, or a model folder")
    options.add_argument("--seed", type=int, default=0, metavar="S")
    options.add_argument("--constrained", action="store_true", help="only charge-neutral, balanced compositions")
    options.add_argument(
        "--template",
        metavar="PARTS",
        help="complete a composition, such as 'Sr Ti ? O3': elements, ? for one unknown atom, * for one or more",
    )
    options.add_argument(
        "--rare",
        type=float,
        default=0.0,
        metavar="X",
        help="0 to 1: even out how often the model writes each element (0.5: rare ones several times as often)",
    )
    options.add_argument("--temperature", type=float, default=1.0, metavar="T", help="1 samples the model as it is")
    options.add_argument("--top-p", type=float, default=1.0, metavar="P", help="share of the next token's mass")
    options.add_argument("--out", required=True, type=Path, metavar="FILE.csv")
    add_constraint_options(options)
    return options


def main(argv: list[str] | None = None) -> int:
    """Sample and write the table."""
    args = parser().parse_args(argv)
    if args.n < 1:
        raise ConfigError(f"--n {args.n}: give 1 or more")
    if args.seed < 0:
        raise ConfigError(f"--seed {args.seed}: give 0 or more")
    limits = constraints_from(args)
    options = SamplingOptions(args.constrained, limits, args.temperature, top_p=args.top_p)
    if not args.out.parent.is_dir():
        raise DataError(f"{args.out.parent} is no folder: make it, or choose another --out")
    template = None if args.template is None else Template.parse(args.template)
    generator = load_generator(args.model)
    rng = np.random.default_rng(args.seed)
    if args.rare:
        options = evened(generator, args.rare, options, template)
    if template is None:
        samples = generator.sample(args.n, rng, options)
    else:
        samples = as_filler(generator).fill(template, args.n, rng, options)
    write_samples(args.out, samples, load_builtin().known)
    return 0


def evened(
    generator: Generator, strength: float, options: SamplingOptions, template: Template | None
) -> SamplingOptions:
    """Options with the frequency correction of ``--rare``; its pilot samples leave the seed of the others alone.

    Raises:
        ConfigError: the generator is a rule, or a template is to be completed.
    """
    if generator.name in BASELINES:
        raise ConfigError(f"--rare corrects language models, and {generator.name} is none: use another --model")
    if template is not None:
        raise ConfigError("--rare and --template do not go together: leave one out")
    return corrected(generator, strength, np.random.default_rng(PILOT_SEED), options)


def as_filler(generator: Generator) -> Filler:
    """The generator itself, if it can complete templates.

    Raises:
        ConfigError: it cannot; the message names those that can.
    """
    if not isinstance(generator, Filler):
        able = [name for name in FAMILIES if isinstance(build(name, "small"), Filler)]
        raise ConfigError(f"--template needs a model that fills gaps: use --model {' or '.join(able)}")
    return generator


def write_samples(path: Path, samples: Sequence[Sample], known: KnownFormulas) -> None:
    """One row per sample, in the order in which they were drawn.

    CN and EB are the metric's: SMACT's default rules, whatever the samples were constrained to.
    """
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(COLUMNS)
            table.writerows(row(sample, known) for sample in samples)
    except OSError as error:
        raise DataError(f"{path} cannot be written ({error.strerror}): choose another --out") from error


def row(sample: Sample, known: KnownFormulas) -> tuple[str, ...]:
    """The cells of a sample; truth values as true and false."""
    formula = reduced(sample)
    verdict = judge(formula) if formula is not None else None
    flags = (
        verdict is not None and verdict.charge_neutral,
        verdict is not None and verdict.electronegativity_balanced,
        formula is not None and formula in known,
    )
    texts = tuple("true" if flag else "false" for flag in flags)
    return (sample.sequence, sample.formula or "", formula or "", f"{sample.log_probability:.6f}", *texts)


if __name__ == "__main__":
    exit_with(main)
