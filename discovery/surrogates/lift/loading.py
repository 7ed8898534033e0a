"""Folders of language-interfaced surrogates."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from discovery.surrogates import calibration
from discovery.surrogates.drift import Watch
from discovery.surrogates.folders import load_folder
from discovery.surrogates.lift import composition_model, sentence_model
from discovery.surrogates.lift.base import Answerer
from discovery.surrogates.lift.surrogate import COUNTS, KIND, Asked, LiftSurrogate, Prior

ANSWERERS: Mapping[str, Callable[[Mapping[str, Any], Mapping[str, Tensor]], Answerer]] = {
    composition_model.KIND: composition_model.CompositionModel.restored,
    sentence_model.KIND: sentence_model.SentenceModel.restored,
}


def load_lift(folder: Path) -> LiftSurrogate:
    """Read a folder that `LiftSurrogate.save` wrote.

    Raises:
        WeightsError: a missing, truncated or foreign file, or a language model that it needs and that is not there.
    """
    surrogate, card = load_folder(folder, KIND, "language-interfaced surrogate", _from_parts)
    return replace(surrogate, card=card)


def _from_parts(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> LiftSurrogate:
    about = json.loads(json.dumps(config))
    kind = about["answerer"]["kind"]
    if kind not in ANSWERERS:
        raise ValueError(f"kind {kind!r}")
    weights = {name: tensor for name, tensor in tensors.items() if name != COUNTS}
    return LiftSurrogate(
        ANSWERERS[kind](about["answerer"], weights),
        calibration.from_config(about["calibration"]),
        tensors[COUNTS],
        Prior(**about["prior"]),
        {scheme: Asked(**way) for scheme, way in about["asked"].items()},
        str(about["name"]),
        watches={k: Watch(tuple(map(float, w["log_ratios"])), int(w["n"])) for k, w in about["watches"].items()},
    )
