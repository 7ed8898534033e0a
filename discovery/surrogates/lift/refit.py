"""A language model learns a handful of new labels in seconds, with replay of old ones against forgetting.

All weights move a little; then they are drawn back along the straight line to the old ones (as in WiSE-FT, Wortsman et
al. 2022) until the loss on replayed labels that no step saw has risen by no more than `MAX_RISE`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from discovery.errors import DataError
from discovery.surrogates.lift.base import Answerer, Example
from discovery.training import TrainingConfig

Model = TypeVar("Model", bound=Answerer)

CONFIG = TrainingConfig(epochs=2, tokens_per_batch=1024, peak_learning_rate=2e-4, weight_decay=0.0)
REPLAYED, GUARDED = 512, 256  # old labels that are learned again, and that measure forgetting
REPEATS = 4  # how often a new label occurs in an epoch
MAX_RISE = 0.003  # of the loss on the guard, as a share: ten refits cost no more than 5 %
SHRINK = 0.6  # factor of the step while that is exceeded
LEAST = 0.01  # of a step; below it nothing is learned


def refit_answerer(model: Model, new: Sequence[Example], old: Sequence[Example], rng: np.random.Generator) -> Model:
    """The model after a short training on `new` and a part of `old`.

    Raises:
        DataError: a label that is no finite number.
    """
    if not all(np.isfinite(example.energy) for example in new):
        raise DataError("a label without a finite formation energy cannot be learned: leave it out of the refit")
    drawn = [old[row] for row in rng.permutation(len(old))[: REPLAYED + GUARDED]]
    guard, replay = drawn[: len(drawn) // 3], drawn[len(drawn) // 3 :]
    config = replace(CONFIG, seed=int(rng.integers(2**31)), device=str(model.device))
    student, _ = model.taught([*(REPEATS * list(new)), *replay], (), config)
    return held_back(model, student, guard)


def held_back(teacher: Model, student: Model, guard: Sequence[Example]) -> Model:
    """The point nearest to `student` on the way from `teacher` at which the guard's loss has not risen too much."""
    if not guard:
        return student
    limit, share, found = (1.0 + MAX_RISE) * teacher.loss_of(guard), 1.0, student
    while found.loss_of(guard) > limit:
        share *= SHRINK
        if share < LEAST:
            return teacher
        found = teacher.toward(student, share)
    return found
