"""A surrogate's folder: `config.json` with its kind and version, the weights, the card."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

from torch import Tensor

from discovery.errors import WeightsError
from discovery.model_files import CARD, CONFIG, read_json, read_weights


class Versioned(Protocol):
    """Knows a version that its weights determine."""

    @property
    def version(self) -> str:
        """Name and hash."""
        ...


Made = TypeVar("Made", bound=Versioned)


def load_folder(
    folder: Path, kind: str, words: str, make: Callable[[Mapping[str, Any], Mapping[str, Tensor]], Made]
) -> tuple[Made, dict[str, Any]]:
    """What `make` builds of the config and the weights (in single precision, or integers), checked, and the card.

    Args:
        folder: that `save` wrote.
        kind: the entry `kind` that the config must have.
        words: what such a folder is called in an error, such as "ensemble of this package".
        make: config, weights by name -> the surrogate.

    Raises:
        WeightsError: a missing, truncated or foreign file, or weights of another version than the config names.
    """
    config, card, tensors = read_json(folder / CONFIG), read_json(folder / CARD), read_weights(folder)
    if config.get("kind") != kind:
        raise WeightsError(f"{folder / CONFIG} is no {words}: give a folder that it wrote")
    try:
        surrogate = make(config, {key: _single(value) for key, value in tensors.items()})
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise WeightsError(f"{folder} holds weights of another model ({reason}): copy the folder again") from error
    if surrogate.version != config["version"]:
        raise WeightsError(f"{folder} has weights of {surrogate.version}, not {config['version']}: copy it again")
    return surrogate, card


def _single(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor
