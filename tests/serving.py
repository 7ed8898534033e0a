"""A small service for tests: the parts of `tests.small` in a home of its own, in this process."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

from serve.backend import Backend, local_backend
from serve.settings import Limits, Settings
from serve.tokens import Tokens
from tests.small import small_models

READ, WRITE = "read-token-for-tests", "write-token-for-tests"
ORACLE = "tests.small:formula_oracle"
SMALL: dict[str, Any] = {  # a campaign that takes a second per round
    "name": "small",
    "rounds": 2,
    "candidates_per_round": 40,
    "batch_size": 3,
    "tolerance": 0.3,
    "oracle": "external",
    "constraints": {"allowed": ["Li", "Na", "K", "Mg", "O", "F", "Cl"], "max_atoms": 8},
}


def home(folder: Path) -> Path:
    """A DISCOVERY_HOME whose models and reference are those of `tests.small`."""
    made = small_models(folder / "models")
    (folder / "uploads").mkdir(parents=True)
    shutil.move(made / "reference.csv", folder / "uploads" / "reference.csv")
    return folder


def settings(folder: Path, **changes: Any) -> Settings:
    """Settings of a service in `folder`, with a token for reading and one for writing."""
    plain = Settings(
        home=folder,
        tokens=Tokens.parse(f"read:{READ},write:{WRITE}"),
        model="generator",
        surrogate="surrogate",
        reference="snapshot:reference.csv",
        allowed_oracles=frozenset({ORACLE}),
        ask_wait_s=300.0,  # a busy machine is slow
        limits=Limits(rate=1e6, burst=10**6),
    )
    return dataclasses.replace(plain, **changes)


def backend(folder: Path, **changes: Any) -> Backend:
    """A service in this process."""
    return local_backend(settings(folder, **changes))
