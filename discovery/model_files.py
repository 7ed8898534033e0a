"""Model folders: `model.safetensors`, `config.json` and `card.json`. Nothing in them is unpickled."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from discovery.errors import WeightsError

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "card.json"


def short_hash(tensors: Mapping[str, torch.Tensor]) -> str:
    """Eight hexadecimal digits of BLAKE2b over names, shapes and bytes of all weights."""
    digest = hashlib.blake2b(digest_size=4)
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def write_weights(folder: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """`model.safetensors` of a folder, replaced atomically; readable by transformers."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f"{WEIGHTS}.part"
    whole = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    save_file(whole, temporary, metadata={"format": "pt"})
    temporary.chmod(0o644)  # safetensors writes 0600, which an installed package could not share
    os.replace(temporary, folder / WEIGHTS)  # noqa: PTH105 (atomic)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """A JSON file that people read too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of a model folder.

    Raises:
        WeightsError: the file is missing or damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise WeightsError(f"{path} is missing: {path.parent} is no model folder, name another or train one") from error
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} is damaged ({error}): copy the model folder again") from error
    if not isinstance(content, dict):
        raise WeightsError(f"{path} holds no JSON object: copy the model folder again")
    return content


def read_weights(folder: Path) -> dict[str, torch.Tensor]:
    """Tensors of a model folder.

    Raises:
        WeightsError: the file is missing, truncated or no safetensors file.
    """
    path = folder / WEIGHTS
    if not path.is_file():
        raise WeightsError(f"{path} is missing: copy the whole model folder, or train one with discovery.train")
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is truncated or no weight file ({error}): copy the model folder again") from error
