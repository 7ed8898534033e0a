"""Names of generators -> how to build, find and load them. A new family is one file and a line in each table."""

from __future__ import annotations

from pathlib import Path

from transformers import GPT2LMHeadModel

from discovery.errors import ConfigError, WeightsError
from discovery.generators.base import Generator
from discovery.generators.baselines import PSEUDO_RANDOM, RANDOM, BaselineGenerator
from discovery.generators.causal import CausalGenerator, gpt2_config
from discovery.model_files import CARD, read_json

PRESETS: dict[str, dict[str, tuple[int, int, int]]] = {  # family -> preset -> (layers, width, heads)
    "gpt2": {"small": (4, 128, 4), "paper": (8, 180, 4)},
}
BASELINES: dict[str, BaselineGenerator] = {RANDOM.name: RANDOM, PSEUDO_RANDOM.name: PSEUDO_RANDOM}
PRETRAINED = Path(__file__).parent.parent / "pretrained"


def build(name: str, preset: str) -> CausalGenerator:
    """An untrained generator; its weights follow torch's global seed."""
    network = GPT2LMHeadModel(gpt2_config(*PRESETS[name][preset]))
    return CausalGenerator(name, network, {"preset": preset})


def names() -> list[str]:
    """What `load_generator` knows by name."""
    return sorted([*PRESETS, *BASELINES])


def load_generator(name_or_folder: str) -> Generator:
    """A generator by name (its shipped weights, preset `small`) or from a model folder.

    Raises:
        ConfigError: no such name or folder; the message names what there is.
        WeightsError: its files are missing, damaged or foreign.
    """
    if name_or_folder in BASELINES:
        return BASELINES[name_or_folder]
    if name_or_folder in PRESETS:
        return CausalGenerator.load(PRETRAINED / f"{name_or_folder}-small")
    folder = Path(name_or_folder)
    if not folder.is_dir():
        raise ConfigError(f"no generator {name_or_folder!r}: name one of {', '.join(names())} or a model folder")
    family = read_json(folder / CARD).get("model")
    if family in BASELINES:
        return BASELINES[family]
    if family not in PRESETS:
        raise WeightsError(f"{folder} holds another kind of model ({family!r}): give one of {', '.join(names())}")
    return CausalGenerator.load(folder)
