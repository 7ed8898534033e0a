"""One small Ray for all tests of this folder."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from actors.cluster import Cluster, connect
from discovery.generators.zoo import load_generator
from discovery.hull import Hull
from discovery.reference.loading import load_reference
from discovery.surrogates.zoo import load_surrogate
from discovery.workers import Models
from tests.small import small_models


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # Ray leaves the log files of its processes open
        with connect(num_cpus=2, dashboard=False) as opened:
            yield opened


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)  # as the actors do: results depend on it in their last digits


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def models(folder: Path) -> Models:
    reference = load_reference(f"snapshot:{folder / 'reference.csv'}")
    hull = Hull(reference.phases, reference.scheme)
    return Models(load_generator(str(folder / "generator")), load_surrogate(str(folder / "surrogate")), hull)
