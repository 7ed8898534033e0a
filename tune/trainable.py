"""What one trial does: train by its recipe, report after each period, judge what it learned. Runs inside Ray Tune."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ray import tune

from discovery.checkpoints import read_history
from discovery.errors import DiscoveryError
from discovery.surrogates import calibration
from discovery.surrogates.dataset import Dataset
from discovery.surrogates.ensemble import EnsembleSurrogate, element_counts, rounded
from discovery.surrogates.evaluation import labelled, outputs
from discovery.surrogates.training import EpochReport as SurrogateReport
from discovery.surrogates.training import train_member
from discovery.training import EpochReport, Hooks
from tune.plan import Plan
from tune.recipe import RETUNED, Recipe, recipe_of, surrogate_recipe
from tune.scoring import score
from tune.shares import Share
from tune.supplies import Supplies

STATE = "checkpoint.safetensors"  # of the training, in a trial's checkpoint
MODEL = "model"  # folder of the trained model, in the checkpoint of a finished trial
CAUSE = "cause"  # result of a trial that failed: why
PROGRESS = "progress"  # percent of a trial's training; what early stopping goes by
SIZES = ("layers", "heads", "head_width", "dropout", "left_to_right")  # of a trial's settings, in its card
REPORTS = 16  # of a trial under way, at most
MEMORY = ("not enough memory", "can't allocate memory", "out of memory")  # in messages of torch's plain errors

_kept: dict[str, Supplies] = {}  # of this worker, so that the hull that earlier trials completed serves the next ones


class DivergedError(DiscoveryError):
    """A loss that is no number."""


def run_trial(config: Mapping[str, Any], plan: Plan, share: Share, supplies: Supplies | Dataset) -> None:
    """A trial from its checkpoint, or from the beginning; an error becomes its result, with the cause."""
    share.apply()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        try:
            _take_up(work)
            if isinstance(supplies, Dataset):
                train_surrogate(config, (plan, share), supplies, work)
            else:
                train_generator(config, (plan, share), kept(supplies), work)
        except Exception as error:  # whatever a trial dies of is its result: the search goes on
            tune.report({CAUSE: cause_of(error)})


def train_generator(config: Mapping[str, Any], asked: tuple[Plan, Share], supplies: Supplies, work: Path) -> None:
    """Train a language model, sample it and report what the samples hold."""
    plan, share = asked
    recipe = recipe_of(config, plan, supplies.tokens(), share.device)
    reports = [EpochReport(**entry) for entry in read_history(work / STATE)]
    on_epoch = partial(_epoch_done, supplies.tokens_per_atom, reports, work)
    hooks = Hooks(on_epoch, work / STATE, may_change=RETUNED)
    trained, history = recipe.model.fit(supplies.train[recipe.variant], supplies.valid, recipe.training, hooks)
    found = score(trained.on(share.device), supplies, recipe.sampling, (plan.samples, plan.judged), plan.seed)
    learned = _learned(history, supplies.tokens_per_atom)
    trained.with_card(card_of(config, recipe, {**learned, **found})).save(work / MODEL)
    cost = {"parameters": recipe.parameters, "petaflop": recipe.petaflop}
    _report({**learned, **cost, **found, PROGRESS: 100.0}, work)


def _epoch_done(tokens_per_atom: float, reports: list[EpochReport], work: Path, report: EpochReport) -> None:
    if not math.isfinite(report.train_loss + report.valid_loss):
        raise DivergedError(f"the loss is no number in period {report.epoch}: a lower peak_learning_rate may help")
    reports.append(report)
    if report.epoch % math.ceil(report.epochs / REPORTS) and report.epoch < report.epochs:
        return  # a checkpoint for each of hundreds of short periods would cost more than they do
    so_far = _learned(reports, tokens_per_atom)
    _report({**so_far, PROGRESS: 100.0 * report.epoch / report.epochs}, work)


def _learned(reports: list[EpochReport], tokens_per_atom: float) -> dict[str, float]:
    """Losses and seconds of a training so far."""
    best = min(report.valid_loss for report in reports)
    return {
        "nll": best * tokens_per_atom,
        "train_nll": reports[-1].train_loss * tokens_per_atom,
        "train_seconds": sum(report.seconds for report in reports),
    }


def card_of(config: Mapping[str, Any], recipe: Recipe, results: Mapping[str, float]) -> dict[str, Any]:
    """What a reader of a trial's weights must know; `tune.best` adds the search."""
    size = {name: config[name] for name in SIZES if name in config}
    sampling = {"temperature": recipe.sampling.temperature, "top_p": recipe.sampling.top_p}
    return {
        "preset": "searched",
        "size": {**size, "parameters": recipe.parameters},
        "training": {**asdict(recipe.training), "variant": recipe.variant, "petaflop": recipe.petaflop},
        "sampling": {**sampling, "constrained": recipe.sampling.constrained},
        "results": dict(results),
    }


def train_surrogate(config: Mapping[str, Any], asked: tuple[Plan, Share], data: Dataset, work: Path) -> None:
    """Train one member of an ensemble; judge it on one half of the validation part, calibrated on the other."""
    plan, share = asked
    sizes, training = surrogate_recipe(config, plan, data.schemes)

    def on_epoch(report: SurrogateReport) -> None:
        mae = report.validation_mae[data.schemes[0]]
        if not math.isfinite(report.loss + mae):
            raise DivergedError(f"the loss is no number in epoch {report.epoch}: a lower peak_rate may help")
        _report({"mae": mae, PROGRESS: 100.0 * report.epoch / training.all_epochs}, work)

    network = train_member(data, training, work / STATE, on_epoch, sizes, device=share.device)
    counts = element_counts(data.compositions, data.rows("train"))
    surrogate, results = judged(EnsembleSurrogate((rounded(network),), {}, counts), data)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    card = {"model": "one member, as searched", "network": sizes.to_dict(), "training": asdict(training)}
    EnsembleSurrogate(surrogate.networks, surrogate.calibrations, counts, card={**card, "results": results}).save(
        work / MODEL
    )
    _report({**results, "parameters": parameters, PROGRESS: 100.0}, work)


def judged(surrogate: EnsembleSurrogate, data: Dataset) -> tuple[EnsembleSurrogate, dict[str, float]]:
    """The surrogate, calibrated on every second labelled row of the validation part, and its errors on the others."""
    calibrations, results = {}, {}
    for scheme in reversed(data.schemes):  # the first one last: its results are the trial's
        rows, labels = labelled(data, "validation", scheme)
        if len(rows) < 2:
            calibrations[scheme] = calibration.SchemeCalibration()
            continue
        said = outputs(surrogate, data, rows, scheme)
        error, epistemic, aleatoric = said.mean - labels, said.epistemic, said.aleatoric
        fitted = calibration.fit(error[::2], epistemic[::2], aleatoric[::2])
        calibrations[scheme] = fitted
        std = np.hypot(*fitted.apply(epistemic[1::2], aleatoric[1::2]))
        freedom = fitted.degrees_of_freedom
        results = {
            "mae": float(np.abs(error[1::2]).mean()),
            "nll": calibration.negative_log_likelihood(error[1::2], std, freedom),
            "miscalibration_area": calibration.miscalibration_area(error[1::2], std, freedom),
            "judged_on": float(len(error[1::2])),
        }
    return surrogate.with_calibration(calibrations), results


def kept(supplies: Supplies) -> Supplies:
    """The supplies that this worker has used before, where they are the same."""
    return _kept.setdefault(supplies.key, supplies)


def cause_of(error: BaseException) -> str:
    """Why a trial failed, in one line."""
    text = str(error).strip().splitlines()
    first = text[0] if text else ""
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or any(words in first for words in MEMORY):
        return f"out of memory: {first or type(error).__name__}"[:300]
    return first if isinstance(error, DiscoveryError) else f"{type(error).__name__}: {first}"[:300]


def _take_up(work: Path) -> None:
    """What an interrupted training left, or the one that population-based training hands on."""
    checkpoint = tune.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as folder:
            shutil.copytree(folder, work, dirs_exist_ok=True)


def _report(results: Mapping[str, float], work: Path) -> None:
    tune.report(dict(results), checkpoint=tune.Checkpoint.from_directory(work))
