"""Train a surrogate: ``python -m discovery.surrogates train|lift|distill|correct --data DIR --out DIR``.

``lift`` teaches a language model to answer with formation energies (`discovery.surrogates.lift`), ``distill`` makes a
quick student of the ensemble (`discovery.surrogates.distill`), ``correct`` learns anew what a trained ensemble gets
wrong of analogues (`discovery.surrogates.correct`), ``train`` makes the ensemble:

Members are trained one after the other, or each in a process of its own with ``--member K``; a member that is
finished is not trained again, an interrupted one goes on from its last epoch. ``--keep`` adds members to an ensemble
that was trained before: the result is that of training all of them, for a member depends on its seed alone.
``--start`` lets the members of a trained ensemble go on, as with more labels; ``--epochs 0`` leaves them the second
cycle alone. ``--together`` trains them as one computation, for a GPU (`discovery.surrogates.stacked`). ``--auxiliary``
lets them learn further tabulated quantities (`discovery.surrogates.auxiliary`), which are dropped at the end. The call
without ``--member`` ends by calibrating, measuring and writing the ensemble.

With glibc, ``MALLOC_MMAP_THRESHOLD_=4294967295 MALLOC_TRIM_THRESHOLD_=4294967295`` makes a step a sixth quicker (no
page faults for large temporaries).
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch

from discovery.errors import ConfigError
from discovery.options import exit_with, torch_device
from discovery.surrogates import evaluation
from discovery.surrogates.auxiliary import with_auxiliary, without_auxiliary
from discovery.surrogates.correct import add_options as add_correct_options
from discovery.surrogates.correct import run as run_correct
from discovery.surrogates.dataset import QUANTITIES, SPLIT_SEED, TEST_SHARE, VALIDATION_SHARE, Dataset, load_dataset
from discovery.surrogates.distill import add_options as add_distill_options
from discovery.surrogates.distill import run as run_distill
from discovery.surrogates.ensemble import EnsembleSurrogate, element_counts, rounded
from discovery.surrogates.lift.command import add_options as add_lift_options
from discovery.surrogates.lift.command import run as run_lift
from discovery.surrogates.network import Network
from discovery.surrogates.stacked import StackReport, train_stack
from discovery.surrogates.training import TrainingConfig, show_report, train_member
from discovery.surrogates.zoo import load_ensemble


def parser() -> argparse.ArgumentParser:
    """The options of this entry point."""
    top = argparse.ArgumentParser(prog="python -m discovery.surrogates", description=__doc__)
    commands = top.add_subparsers(required=True, metavar="train|lift|distill|correct", dest="verb")
    add_lift_options(commands.add_parser("lift", help="teach a language model to answer with formation energies"))
    add_distill_options(commands.add_parser("distill", help="make a quick student of an ensemble"))
    add_correct_options(commands.add_parser("correct", help="correct an ensemble by its errors on training labels"))
    options = commands.add_parser("train", help="train the ensemble")
    options.add_argument("--data", required=True, type=Path, metavar="DIR", help="folder of the Parquet tables")
    options.add_argument("--potential", type=Path, metavar="FILE", help="formation energies by a potential")
    options.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder of the ensemble")
    options.add_argument("--checkpoints", type=Path, default=Path("runs/surrogate"), metavar="DIR")
    options.add_argument("--members", type=int, default=5, metavar="N", help="networks in the ensemble")
    options.add_argument("--member", type=int, metavar="K", help="train only this one (from 0) and write no ensemble")
    options.add_argument("--together", action="store_true", help="all members side by side: what a GPU is quick at")
    options.add_argument("--auxiliary", action="store_true", help="learn further quantities beside the energies")
    options.add_argument("--keep", type=Path, metavar="DIR", help="ensemble whose members count as the first ones")
    options.add_argument("--start", metavar="NAME|DIR", help="ensemble whose members go on learning")
    options.add_argument("--epochs", type=int, default=TrainingConfig.epochs, metavar="N", help="of the first cycle")
    options.add_argument("--restart-epochs", type=int, default=TrainingConfig.restart_epochs, metavar="N")
    options.add_argument("--seed", type=int, default=0, help="of the first member; the others count up")
    options.add_argument("--threads", type=int, default=1, metavar="N", help="torch threads")
    options.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    return top


def main(argv: list[str] | None = None) -> int:
    """Train what is missing, then write the surrogate."""
    args = parser().parse_args(argv)
    command = f"python -m discovery.surrogates {shlex.join(sys.argv[1:] if argv is None else argv)}"
    verbs = {"lift": run_lift, "distill": run_distill, "correct": run_correct, "train": train_ensemble}
    return verbs[args.verb](args, command)


def train_ensemble(args: argparse.Namespace, command: str) -> int:
    """The members that are missing, and the whole."""
    if args.members < 1 or args.threads < 1 or args.restart_epochs < 0:
        raise ConfigError("--members and --threads must be 1 or more, --restart-epochs 0 or more")
    if args.epochs < (0 if args.start else 1) or args.epochs + args.restart_epochs < 1:
        raise ConfigError("--epochs must be 1 or more; with --start 0 or more, and 1 or more with --restart-epochs")
    torch.set_num_threads(args.threads)
    data = load_dataset(args.data, args.potential)
    if args.together and args.member is not None:
        raise ConfigError("--together trains all members: leave out --member")
    start = starting_ensemble(args, data)
    learned = with_auxiliary(data, args.data) if args.auxiliary else data
    if args.member is not None:
        train(learned, args, args.member, start)
        return 0
    networks = kept_members(args, data)
    missing = range(len(networks), args.members)
    if args.together:
        networks += train_together(learned, args, missing)
    else:
        networks += [train(learned, args, member, start) for member in missing]
    bare = assemble([without_auxiliary(network) for network in networks], data)
    surrogate = evaluation.calibrate(evaluation.with_analogues(bare, data), data)
    card = make_card(surrogate, data, training_config(args, 0), command)
    if start is not None:
        card |= {"start": start.version, "training_of_the_start": start.card.get("training")}
    if args.auxiliary:
        card["auxiliary"] = f"further quantities learned beside the energies: {', '.join(QUANTITIES)}"
    card["analogues"] = evaluation.words_of_analogues(surrogate)
    card["results_on_test"] = evaluation.rounded_results(evaluation.evaluate(surrogate, data, "test"))
    predictions = args.data / "bartel2020_predictions.parquet"
    if predictions.is_file():
        others = evaluation.published_on_same_rows(data, predictions, "test")
        card["mae_of_others_on_the_test_rows_of_mp_bartel2020"] = evaluation.rounded_results(others)
    replace(surrogate, card=card).save(args.out)
    return 0


def kept_members(args: argparse.Namespace, data: Dataset) -> list[Network]:
    """The networks of ``--keep``, which must be of the same training: it draws on the data and their split alone.

    Raises:
        ConfigError: more members than wanted, other settings, or other schemes.
    """
    if args.keep is None:
        return []
    kept = EnsembleSurrogate.load(args.keep)
    settings = asdict(training_config(args, 0))
    same = kept.card.get("training") == settings and bool(kept.card.get("auxiliary")) == args.auxiliary
    if not same or kept.schemes != data.schemes:
        raise ConfigError(f"{args.keep} was trained with other settings or schemes: train all members anew")
    if len(kept.networks) > args.members:
        raise ConfigError(f"{args.keep} has {len(kept.networks)} members already: give --members {len(kept.networks)}")
    return list(kept.networks)


def starting_ensemble(args: argparse.Namespace, data: Dataset) -> EnsembleSurrogate | None:
    """The ensemble of ``--start``, None without one.

    Raises:
        ConfigError: fewer members than wanted, other schemes, or an option that goes with random weights alone.
    """
    if args.start is None:
        return None
    if args.keep is not None or args.together or args.auxiliary:
        raise ConfigError("--start goes without --keep, --together and --auxiliary: leave these out")
    start = load_ensemble(args.start, "--start")
    members = args.members if args.member is None else args.member + 1
    if len(start.networks) < members:
        raise ConfigError(f"{args.start} has {len(start.networks)} members: give --members {len(start.networks)}")
    if start.schemes != data.schemes:
        raise ConfigError(f"{args.start} knows {', '.join(start.schemes)}, the data {', '.join(data.schemes)}")
    return start


def train(data: Dataset, args: argparse.Namespace, member: int, start: EnsembleSurrogate | None) -> Network:
    """One member, from its checkpoint if there is one."""
    config = training_config(args, member)
    checkpoint = args.checkpoints / f"member-{member}.safetensors"
    begin = None if start is None else start.networks[member]
    sizes = None if begin is None else begin.config
    return train_member(data, config, checkpoint, show_report, sizes, start=begin, device=torch_device(args.device))


def train_together(data: Dataset, args: argparse.Namespace, members: Sequence[int]) -> list[Network]:
    """Members side by side, from their checkpoint if there is one."""
    if not members:
        return []
    configs = [training_config(args, member) for member in members]
    checkpoint = args.checkpoints / f"members-{members[0]}-to-{members[-1]}.safetensors"
    return list(train_stack(data, configs, checkpoint, show_stack, device=torch_device(args.device)))


def show_stack(report: StackReport) -> None:
    """Print one line of progress."""
    print(f"epoch {report.epoch}, {report.seconds:.0f} s: loss {report.loss:.4f}; validation MAE (eV/atom): members "
          f"{report.member_mae:.4f}, together {report.ensemble_mae:.4f}", flush=True)  # fmt: skip


def training_config(args: argparse.Namespace, member: int) -> TrainingConfig:
    """Settings of one member."""
    return TrainingConfig(seed=args.seed + member, epochs=args.epochs, restart_epochs=args.restart_epochs)


def assemble(networks: list[Network], data: Dataset) -> EnsembleSurrogate:
    """An uncalibrated ensemble with weights that half precision holds exactly."""
    counts = element_counts(data.compositions, data.rows("train"))
    return EnsembleSurrogate(tuple(rounded(network) for network in networks), {}, counts)


def make_card(surrogate: EnsembleSurrogate, data: Dataset, config: TrainingConfig, command: str) -> dict[str, object]:
    """What a reader of the weights must know."""
    labels = {scheme: len(evaluation.labelled(data, "train", scheme)[0]) for scheme in data.schemes}
    return {
        "model": "ensemble of attention networks over element fractions; predicts formation energy, eV/atom",
        "command": command,
        "members": len(surrogate.networks),
        "parameters_per_member": sum(parameter.numel() for parameter in surrogate.networks[0].parameters()),
        "training": asdict(config),
        "training_labels": {scheme: n for scheme, n in labels.items() if n},
        "data": {
            "mp2019": "mp_bartel2020, and the lowest energy per composition of matbench_mp_e_form where that lacks it",
            "mp2020": "lowest formation energy per composition of mp_structures",
            "chgnet-0.3.0": "the builtin reference's table: CHGNet 0.3.0 on mp_structures, fitted elemental references",
            "oqmd": "oqmd_crabnet, auxiliary task",
            "licences": "Materials Project CC BY 4.0 (A. Jain et al., APL Mater. 1, 011002 (2013)); OQMD CC BY 4.0 "
            "(S. Kirklin et al., npj Comput. Mater. 1, 15010 (2015))",
        },
        "split": f"by BLAKE2b hash of '{SPLIT_SEED}:' and the reduced formula, for all schemes at once: "
        f"{TEST_SHARE:.1%} test, {VALIDATION_SHARE:.1%} validation (calibration), the rest training",
        "calibration": "Student's t, maximum likelihood on the validation part; factors in config.json",
        "limits": "one energy per composition (ground state); a low formation-energy error is not discovery; elements "
        "without training data are flagged by a wide epistemic std, not known",
    }


if __name__ == "__main__":
    exit_with(main)
