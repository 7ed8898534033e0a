"""``python -m discovery.surrogates correct``: what a trained ensemble gets wrong of analogues, learned from its labels.

The networks stay as they are; analogues (`discovery.surrogates.analogues`), calibration and the errors on the card are
made anew. A training ends with the same step: this is for ensembles that were trained without it, or on fewer labels.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch

from discovery.errors import ConfigError
from discovery.options import torch_device
from discovery.surrogates import evaluation
from discovery.surrogates.dataset import load_dataset
from discovery.surrogates.zoo import DEFAULT, load_ensemble


def add_options(options: argparse.ArgumentParser) -> None:
    """The options of this entry point."""
    options.add_argument("--surrogate", default=DEFAULT, metavar="NAME|DIR", help="an ensemble")
    options.add_argument("--data", required=True, type=Path, metavar="DIR", help="tables that it learned from")
    options.add_argument("--potential", type=Path, metavar="FILE", help="formation energies by a potential")
    options.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder of the corrected ensemble")
    options.add_argument("--threads", type=int, default=1, metavar="N", help="torch threads")
    options.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")


def run(args: argparse.Namespace, command: str) -> int:
    """Correct, calibrate, measure, write the folder.

    Raises:
        ConfigError: not an ensemble of networks, or one of other schemes than the tables.
    """
    if args.threads < 1:
        raise ConfigError("--threads must be 1 or more")
    torch.set_num_threads(args.threads)
    surrogate = load_ensemble(args.surrogate, "--surrogate")
    data = load_dataset(args.data, args.potential)
    if surrogate.schemes != data.schemes:
        raise ConfigError(f"the ensemble knows {', '.join(surrogate.schemes)}, the data {', '.join(data.schemes)}")
    corrected = evaluation.with_analogues(surrogate.on(torch_device(args.device)), data)
    corrected = evaluation.calibrate(corrected, data)
    card = {
        **surrogate.card,
        "analogues": evaluation.words_of_analogues(corrected),
        "analogues_command": command,
        "results_on_test": evaluation.rounded_results(evaluation.evaluate(corrected, data, "test")),
    }
    replace(corrected, card=card).save(args.out)
    return 0
