"""What a trial takes of a machine: cores, a part of a GPU, torch threads."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from tune.plan import Plan

PER_GPU = 4  # trials on one GPU: a network of some million parameters leaves most of one idle
GRAIN = 1e4  # Ray counts in ten-thousandths


@dataclass(frozen=True)
class Share:
    """What Ray reserves for each trial; all of them take the same, so that a worker can go on to the next one."""

    cpus: float
    gpus: float

    @property
    def threads(self) -> int:
        """Torch threads: one on a core that is shared, so that trials do not wait for each other's threads."""
        return max(1, int(self.cpus))

    @property
    def device(self) -> str:
        """Of torch. A trial without a share of a GPU leaves those that it may see alone."""
        return "cuda" if self.gpus and torch.cuda.is_available() else "cpu"

    def resources(self) -> dict[str, float]:
        """For `ray.tune.with_resources`."""
        return {"cpu": self.cpus, **({"gpu": self.gpus} if self.gpus else {})}

    def apply(self) -> None:
        """Keep this process within its share: threads, and its part of the GPU's memory."""
        torch.set_num_threads(self.threads)
        if 0 < self.gpus < 1 and torch.cuda.is_available():
            torch.cuda.set_per_process_memory_fraction(self.gpus)  # a trial that wants more fails alone


def share_of(plan: Plan, cpus: int, gpus: int) -> Share:
    """The share that a plan asks for, or what suits a cluster of so many CPUs and GPUs.

    With GPUs, `PER_GPU` trials share each of them, or fewer where there are not as many cores; else each trial has a
    core of its own.
    """
    per_gpu = max(1, min(PER_GPU, cpus // gpus)) if gpus else 0
    own_gpus = plan.gpus if plan.gpus is not None else (_floor(1 / per_gpu) if per_gpu else 0.0)
    side_by_side = gpus / own_gpus if own_gpus else cpus
    own_cpus = plan.cpus if plan.cpus is not None else _floor(min(1.0, cpus / max(1.0, side_by_side)))
    return Share(own_cpus, own_gpus)


def _floor(share: float) -> float:
    return math.floor(share * GRAIN) / GRAIN
