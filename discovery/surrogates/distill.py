"""``python -m discovery.surrogates distill``: one small network that says what the ensemble says, six times as quickly.

Knowledge distillation (Hinton, Vinyals and Dean, arXiv 1503.02531) for regression: the student learns the ensemble's
mean in every energy scheme, and as its scale the ensemble's whole standard deviation, for all compositions of the
training tables and for any list of known ones beside them, which need no label. What the held-out parts of the split
hold is left out of both; their labels calibrate and measure the student as they do the ensemble.

One network has no members to disagree: its epistemic std is that of elements with few labels (which it takes over as it
is) and of its own correction by analogues, and the ensemble's disagreement is a part of what it calls aleatoric.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from discovery.composition import is_compound
from discovery.errors import ConfigError
from discovery.formulas import read_distinct
from discovery.options import torch_device
from discovery.surrogates import evaluation
from discovery.surrogates.dataset import Dataset, load_dataset, split_of
from discovery.surrogates.ensemble import EnsembleSurrogate, Outputs, rounded
from discovery.surrogates.features import encode
from discovery.surrogates.network import NetworkConfig
from discovery.surrogates.training import TrainingConfig, predict_rows, show_report, train_member
from discovery.surrogates.zoo import DEFAULT, load_ensemble

NAME = "fast"
EPOCHS = 12
Answers = tuple[NDArray[np.float32], NDArray[np.float32]]


def add_options(options: argparse.ArgumentParser) -> None:
    """The options of this entry point."""
    options.add_argument("--teacher", default=DEFAULT, metavar="NAME|DIR", help="an ensemble")
    options.add_argument("--data", required=True, type=Path, metavar="DIR", help="tables that the teacher learned from")
    options.add_argument("--potential", type=Path, metavar="FILE", help="formation energies by a potential")
    options.add_argument("--formulas", type=Path, metavar="FILE", help="more compositions to ask the teacher about")
    options.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder of the student")
    options.add_argument("--checkpoints", type=Path, default=Path("runs/distill"), metavar="DIR")
    options.add_argument("--epochs", type=int, default=EPOCHS, metavar="N")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--threads", type=int, default=1, metavar="N", help="torch threads")
    options.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")


def run(args: argparse.Namespace, command: str) -> int:
    """Ask, teach, measure, write the folder."""
    if args.epochs < 1 or args.threads < 1:
        raise ConfigError("--epochs and --threads must be 1 or more")
    torch.set_num_threads(args.threads)
    teacher = load_ensemble(args.teacher, "--teacher")
    data = load_dataset(args.data, args.potential)
    more = [] if args.formulas is None else read_distinct(args.formulas)[0]
    lesson = lessons(teacher.on(torch_device(args.device)), data, more)
    config = TrainingConfig(seed=args.seed, epochs=args.epochs, restart_epochs=0, dropout=0.0)
    checkpoint = args.checkpoints / "student.safetensors"
    network = train_member(
        lesson, config, checkpoint, show_report, sizes(data.schemes), device=torch_device(args.device)
    )
    student = EnsembleSurrogate((rounded(network),), {}, teacher.element_counts, NAME)
    student = evaluation.calibrate(evaluation.with_analogues(student, data), data)
    card = {
        "model": "one attention network distilled from an ensemble; predicts formation energy, eV/atom",
        "command": command,
        "teacher": teacher.version,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "compositions": len(lesson.rows("train")),
        "training": asdict(config),
        "data": teacher.card.get("data"),
        "split": teacher.card.get("split"),
        "analogues": evaluation.words_of_analogues(student),
        "results_on_test": evaluation.rounded_results(evaluation.evaluate(student, data, "test")),
        "limits": "as the ensemble's, and less accurate; it does not tell what no data can tell (aleatoric) from what "
        "more data would (epistemic)",
    }
    replace(student, card=card).save(args.out)
    return 0


def sizes(schemes: tuple[str, ...]) -> NetworkConfig:
    """Of the student: 0.4 M parameters."""
    return NetworkConfig(schemes, width=128, layers=3, feed_forward=256, pooled=160)


def lessons(teacher: EnsembleSurrogate, data: Dataset, more: Sequence[str]) -> Dataset:
    """What the student learns: the teacher's answers for all training compositions; the validation part as it is.

    Raises:
        ConfigError: the teacher knows other schemes than the tables.
    """
    if teacher.schemes != data.schemes:
        raise ConfigError(f"the teacher knows {', '.join(teacher.schemes)}, the data {', '.join(data.schemes)}")
    kept = data.rows("validation")
    known = {data.formulas[row] for row in data.rows("train")}
    asked = sorted(known | {f for f in more if split_of(f) == "train" and is_compound(f)})
    formulas = (*asked, *(data.formulas[row] for row in kept))
    blank = np.full((len(formulas), len(data.schemes)), np.nan, np.float32)
    lesson = Dataset(
        formulas=formulas,
        compositions=encode(formulas),
        energies=blank,
        schemes=data.schemes,
        primary=np.ones(len(formulas), dtype=bool),
        bartel=np.zeros(len(formulas), dtype=bool),
        split=np.array(["train"] * len(asked) + ["validation"] * len(kept)),
    )
    means, stds = answers(teacher, lesson, lesson.rows("train"))
    energies = np.concatenate([means, data.energies[kept]])
    return replace(lesson, energies=energies, scales=np.concatenate([stds / np.float32(2**0.5), blank[len(asked) :]]))


def answers(teacher: EnsembleSurrogate, data: Dataset, rows: NDArray[np.int64]) -> Answers:
    """Calibrated mean and std in every scheme, eV/atom, of some rows; each of shape (rows, schemes).

    The std is without the part of elements with few labels, which depends on the composition's elements alone.
    """
    told = [predict_rows(network, data, rows) for network in teacher.networks]
    members, scales = (torch.stack(part).double().numpy() for part in zip(*told, strict=True))  # (members, n, schemes)
    means, stds = np.empty(members.shape[1:], np.float32), np.empty(members.shape[1:], np.float32)
    chosen = data.compositions.rows(rows)
    for column, scheme in enumerate(teacher.schemes):
        shift = teacher.shift(chosen, scheme, scales[:, :, column])
        said = Outputs(members[:, :, column] + shift, scales[:, :, column], shift)
        means[:, column] = said.mean
        stds[:, column] = np.hypot(*teacher.calibrations[scheme].apply(said.epistemic, said.aleatoric))
    return means, stds
