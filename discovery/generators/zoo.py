"""Names of generators -> how to build, find and load them. A new family is one file and a line in `FAMILIES`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from discovery.errors import ConfigError, WeightsError
from discovery.generators import blanks, masked
from discovery.generators.base import Generator, LanguageModel
from discovery.generators.baselines import PSEUDO_RANDOM, RANDOM
from discovery.generators.blank_network import BlankConfig, BlankNetwork
from discovery.generators.causal import BART, GPT, GPT2, GPTJ, GPTNEO, CausalFamily
from discovery.generators.ion_exchange import ION_EXCHANGE
from discovery.generators.masked_network import untrained
from discovery.model_files import CARD, read_json

PRESETS = ("small", "paper")  # about 1 M parameters; the published size
PRETRAINED = Path(__file__).parent.parent / "pretrained"
SHIPPED = "-small"  # how the folders of shipped language models end


@dataclass(frozen=True)
class Size:
    """The architecture of a language model, of any family."""

    layers: int
    width: int  # a multiple of `heads`
    heads: int
    dropout: float = 0.0
    left_to_right: float | None = None  # see `BlankConfig`; None for the families that write in one order only

    def __post_init__(self) -> None:
        if min(self.layers, self.width, self.heads) < 1 or self.width % self.heads or not 0 <= self.dropout < 1:
            raise ConfigError(f"{self} is no network: a width that the heads divide, dropout below 1")


@dataclass(frozen=True)
class Family:
    """A family of language models."""

    build: Callable[[str], LanguageModel]  # preset -> untrained model; its weights follow torch's global seed
    load: Callable[[Path], LanguageModel]  # a folder that the model's `save` wrote
    sized: Callable[[Size], LanguageModel] | None = None  # as `build`, for the search; None: only the presets


def _causal(family: CausalFamily) -> Family:
    return Family(
        family.build, family.load, lambda size: family.of_size(size.layers, size.width, size.heads, size.dropout)
    )


def _masked(size: Size) -> LanguageModel:
    return masked.MaskedGenerator("roberta", untrained(size.layers, size.width, size.heads, size.dropout))


def _blank(size: Size) -> LanguageModel:
    order = BlankConfig.left_to_right if size.left_to_right is None else size.left_to_right
    config = BlankConfig(size.layers, size.width, size.heads, left_to_right=order, dropout=size.dropout)
    return blanks.BlankGenerator("blmm", BlankNetwork(config).eval())


FAMILIES: dict[str, Family] = {
    **{family.name: _causal(family) for family in (GPT, GPT2, GPTNEO, GPTJ, BART)},
    "roberta": Family(masked.roberta, masked.MaskedGenerator.load, _masked),
    "blmm": Family(blanks.blmm, blanks.BlankGenerator.load, _blank),
}
BASELINES: dict[str, Generator] = {baseline.name: baseline for baseline in (RANDOM, PSEUDO_RANDOM, ION_EXCHANGE)}


def build(name: str, preset: str) -> LanguageModel:
    """An untrained model; its weights follow torch's global seed.

    Raises:
        ConfigError: no such family or preset.
    """
    if name not in FAMILIES or preset not in PRESETS:
        raise ConfigError(f"no language model {name!r} {preset!r}: {', '.join(FAMILIES)}; {' or '.join(PRESETS)}")
    return FAMILIES[name].build(preset)


def sized(name: str, size: Size, seed: int) -> LanguageModel:
    """An untrained model of any size; its weights are a function of `seed`.

    Raises:
        ConfigError: no such family, or the order of writing is not free in it.
    """
    make = FAMILIES[name].sized if name in FAMILIES else None
    if make is None:
        able = [family for family, how in FAMILIES.items() if how.sized is not None]
        raise ConfigError(f"no language model {name!r} of any size: choose from {', '.join(able)}")
    if size.left_to_right is not None and name != "blmm":
        raise ConfigError(f"{name} writes in one order only: leave left_to_right out")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make(size)


def names() -> list[str]:
    """What `load_generator` knows by name: families, baselines, and whatever else ships, such as ``gpt2-strict``."""
    shipped = (folder.name.removesuffix(SHIPPED) for folder in PRETRAINED.glob(f"*{SHIPPED}"))
    return sorted({*FAMILIES, *BASELINES, *shipped})


def load_generator(name_or_folder: str) -> Generator:
    """A generator by name (its shipped weights, preset `small`) or from a model folder.

    Raises:
        ConfigError: no such name or folder; the message names what there is.
        WeightsError: its files are missing, damaged or foreign.
    """
    if name_or_folder in BASELINES:
        return BASELINES[name_or_folder]
    if name_or_folder in FAMILIES:
        return _load_shipped(name_or_folder)
    folder = Path(name_or_folder)
    if not folder.is_dir() and name_or_folder in names():
        folder = PRETRAINED / f"{name_or_folder}{SHIPPED}"
    if not folder.is_dir():
        raise ConfigError(f"no generator {name_or_folder!r}: name one of {', '.join(names())} or a model folder")
    family = read_json(folder / CARD).get("model")
    if family in BASELINES:
        return BASELINES[family]
    if family not in FAMILIES:
        raise WeightsError(f"{folder} holds another kind of model ({family!r}): give one of {', '.join(names())}")
    return FAMILIES[family].load(folder)


def _load_shipped(name: str) -> LanguageModel:
    folder = PRETRAINED / f"{name}{SHIPPED}"
    if not folder.is_dir():
        raise WeightsError(
            f"no trained weights of {name} are shipped: make them with python -m discovery.train --model {name} "
            "--data FILE --out DIR, and give DIR as the model"
        )
    return FAMILIES[name].load(folder)
