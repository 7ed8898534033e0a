"""Resumable training states as one safetensors file, replaced atomically after every epoch. Nothing is unpickled."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from discovery.errors import WeightsError

LATER = {"epoch_share": 1.0}  # settings that older checkpoints do not name, with the values they were made with


@dataclass(frozen=True)
class TrainingState:
    """All that a training needs to go on, beside the model and the optimizer."""

    settings: Mapping[str, Any]  # of the training; a resumed one must have the same
    history: tuple[dict[str, Any], ...] = ()  # one EpochReport per finished epoch
    best_loss: float = math.inf  # lowest validation loss so far, nats per token
    best_weights: Mapping[str, torch.Tensor] = field(default_factory=dict)  # {} until there is a validation loss
    epochs_without_progress: int = 0


def write_checkpoint(
    path: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer, state: TrainingState
) -> None:
    """Write everything beside `path`, then move it there: a killed process leaves the old checkpoint whole."""
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    tensors |= {f"best.{name}": tensor for name, tensor in state.best_weights.items()}
    for index, slots in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{slot}": value for slot, value in slots.items()}
    # clones, because safetensors refuses tensors that share memory (GPT-2 ties its embeddings)
    tensors = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    progress = {
        "settings": dict(state.settings),
        "history": list(state.history),
        "best_loss": None if math.isinf(state.best_loss) else state.best_loss,
        "epochs_without_progress": state.epochs_without_progress,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    save_file(tensors, temporary, metadata={"training": json.dumps(progress)})
    os.replace(temporary, path)  # noqa: PTH105 (atomic on one file system, says so by its name)


def read_checkpoint(
    path: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer, settings: Mapping[str, Any]
) -> TrainingState:
    """Load a checkpoint into `model` and `optimizer`.

    Raises:
        WeightsError: the file is damaged, of another model, or of a training with other settings.
    """
    try:
        with safe_open(path, framework="pt") as file:
            progress = json.loads((file.metadata() or {})["training"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise WeightsError(f"{path} is no checkpoint of a training ({error}): delete it and start again") from error
    if any(progress["settings"].get(name, LATER.get(name)) != value for name, value in settings.items()):
        raise WeightsError(f"{path} belongs to a training with other settings: use the same ones or another --out")
    try:
        model.load_state_dict(_part(tensors, "model."))
        _load_optimizer(optimizer, _part(tensors, "optimizer."))
    except (RuntimeError, ValueError) as error:
        raise WeightsError(f"{path} is the checkpoint of another model: use another --out") from error
    best = progress["best_loss"]
    return TrainingState(
        settings=progress["settings"],
        history=tuple(progress["history"]),
        best_loss=math.inf if best is None else best,
        best_weights=_part(tensors, "best."),
        epochs_without_progress=progress["epochs_without_progress"],
    )


def read_history(path: Path) -> tuple[dict[str, Any], ...]:
    """The reports of a checkpoint's finished epochs; () where there is no checkpoint.

    Raises:
        WeightsError: the file is damaged.
    """
    if not path.exists():
        return ()
    try:
        with safe_open(path, framework="pt") as file:
            return tuple(json.loads((file.metadata() or {})["training"])["history"])
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise WeightsError(f"{path} is no checkpoint of a training ({error}): delete it and start again") from error


def _part(tensors: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _load_optimizer(optimizer: torch.optim.Optimizer, slots: Mapping[str, torch.Tensor]) -> None:
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in slots.items():
        index, slot = name.split(".", 1)
        state.setdefault(int(index), {})[slot] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
