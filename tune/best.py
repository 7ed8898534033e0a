"""The best trial, judged afresh and handed on as a model folder."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError

from discovery.errors import DataError
from discovery.generators.base import SamplingOptions
from discovery.generators.zoo import load_generator
from discovery.model_files import CARD, read_json, write_json
from discovery.surrogates.dataset import Dataset
from tune.plan import Plan
from tune.records import Record, counts, median_of, ranked
from tune.scoring import score
from tune.shares import Share
from tune.storage import BEST, Storage
from tune.supplies import Supplies
from tune.trainable import MODEL

FRESH_SEED = 1_000_000  # added to the search's: samples that no trial was chosen by


@dataclass(frozen=True)
class Confirmed:
    """The best and the median trial, each judged by samples that it was not chosen by."""

    best: Mapping[str, float]
    median: Mapping[str, float]

    @property
    def apart(self) -> bool:
        """Whether the best trial's interval lies wholly above the median's."""
        return self.best["yield_low"] > self.median["yield_high"]


def confirm(
    records: Sequence[Record], plan: Plan, storage: Storage, share: Share, material: Supplies | Dataset
) -> Confirmed | None:
    """Sample the best and the median trial afresh: the best of many is partly the luckiest (the winner's curse).

    Args:
        records: of all trials.
        plan: of the search.
        storage: of the search.
        share: of the cluster for each of the two.
        material: what the trials worked with.

    Raises:
        DataError: a worker failed; the message says why.

    Returns:
        None where nothing is to be confirmed: fewer than two finished trials, a surrogate, or ``--confirm 0``.
    """
    order = ranked(records, plan.goal)
    if len(order) < 2 or not isinstance(material, Supplies) or not plan.confirm:
        return None
    judge = ray.remote(num_cpus=share.cpus, num_gpus=share.gpus)(judged_afresh)
    shared = ray.put(material)
    calls = [judge.remote(record, plan, storage, share, shared) for record in (order[0], median_of(order))]
    try:
        return Confirmed(*ray.get(calls))
    except RayError as error:
        reason = str(error).strip().splitlines()[-1]
        raise DataError(f"the best trial cannot be judged afresh ({reason}): use --resume, or --confirm 0") from error


def judged_afresh(record: Record, plan: Plan, storage: Storage, share: Share, supplies: Supplies) -> dict[str, float]:
    """Results of a trained trial by fresh samples."""
    share.apply()
    with tempfile.TemporaryDirectory() as folder:
        fetch(record, storage, Path(folder))
        generator = load_generator(folder)
        sampling = read_json(Path(folder) / CARD)["sampling"]
    options = SamplingOptions(sampling["constrained"], temperature=sampling["temperature"], top_p=sampling["top_p"])
    numbers = max(plan.samples, plan.confirm), plan.confirm
    return score(generator.on(share.device), supplies, options, numbers, plan.seed + FRESH_SEED)


def fetch(record: Record, storage: Storage, folder: Path) -> None:
    """A finished trial's model folder, copied here."""
    source = f"{record.checkpoint}/{MODEL}"
    for path in storage.filesystem.ls(source, detail=False):
        storage.filesystem.get_file(path, str(folder / Path(path).name))


def write_best(records: Sequence[Record], plan: Plan, storage: Storage, confirmed: Confirmed | None) -> Record | None:
    """Put the best trial's model into the storage, with a card that names the search; None where no trial finished."""
    order = ranked(records, plan.goal)
    if not order:
        return None
    best = order[0]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fetch(best, storage, folder)
        card = read_json(folder / CARD)
        write_json(folder / CARD, {**card, "search": search_card(best, records, plan, confirmed)})
        storage.put(folder, BEST)
    return best


def search_card(best: Record, records: Sequence[Record], plan: Plan, confirmed: Confirmed | None) -> dict[str, Any]:
    """What the card of the best model says of the search."""
    return {
        "command": f"python -m tune.search --model {plan.model} --target {plan.target} --trials {plan.trials} "
        f"--objective {plan.objective} --seed {plan.seed}",
        "plan": plan.plain(),
        "trials": counts(records),
        "trial": best.number,
        "config": dict(best.config),
        "confirmed": None if confirmed is None else {"best": dict(confirmed.best), "median": dict(confirmed.median)},
    }
