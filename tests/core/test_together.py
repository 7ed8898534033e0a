"""Requests decoded together get what they get alone."""

from __future__ import annotations

import numpy as np
import pytest

from discovery.constraints import Constraints
from discovery.decoding import Order
from discovery.errors import ConfigError, ConstraintError, DiscoveryError
from discovery.generators.base import Generator, SamplingOptions
from discovery.generators.baselines import PSEUDO_RANDOM
from discovery.generators.together import precise, sample_orders
from discovery.generators.zoo import load_generator
from tests.small import small_generator

FREE = SamplingOptions()
OXIDES = SamplingOptions(True, Constraints(required=frozenset({"O"}), max_atoms=10))
SYSTEM = SamplingOptions(True, Constraints.from_chemical_system("Li-Fe-O"), temperature=1.3)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Generator:
    return load_generator(str(small_generator(tmp_path_factory.mktemp("generator"))))


def order(n: int, seed: int, options: SamplingOptions) -> Order:
    return Order(n, np.random.default_rng(seed), options)


def test_the_company_changes_nothing(small: Generator) -> None:
    generator = precise(small)
    wanted = [(7, 1, FREE), (1, 2, OXIDES), (40, 3, SYSTEM), (3, 1, FREE), (600, 4, OXIDES)]
    alone = [sample_orders(generator, [order(*one)])[0] for one in wanted]
    together = sample_orders(generator, [order(*one) for one in wanted])
    backwards = sample_orders(generator, [order(*one) for one in reversed(wanted)])
    assert together == alone
    assert backwards[::-1] == alone
    assert [len(found) for found in together if isinstance(found, list)] == [7, 1, 40, 3, 600]


def test_alone_in_double_precision_is_the_model_itself(small: Generator) -> None:
    [found] = sample_orders(precise(small), [order(50, 5, OXIDES)])
    assert isinstance(found, list)
    plain = small.sample(50, np.random.default_rng(5), OXIDES)
    assert [sample.sequence for sample in found] == [sample.sequence for sample in plain]
    np.testing.assert_allclose([s.log_probability for s in found], [s.log_probability for s in plain], atol=1e-3)


def test_another_seed_gives_other_samples(small: Generator) -> None:
    first, second = sample_orders(precise(small), [order(20, 1, FREE), order(20, 2, FREE)])
    assert first != second


def test_one_impossible_order_is_an_error_of_its_own(small: Generator) -> None:
    impossible = SamplingOptions(True, Constraints(allowed=frozenset({"He", "Ne"})))
    cold = SamplingOptions(temperature=0.0)
    alone, first, second = sample_orders(small, [order(5, 1, FREE), order(5, 1, impossible), order(5, 1, cold)])
    assert isinstance(first, ConstraintError)
    assert isinstance(second, ConfigError)
    assert alone == sample_orders(small, [order(5, 1, FREE)])[0]


def test_other_generators_take_turns() -> None:
    assert precise(PSEUDO_RANDOM) is PSEUDO_RANDOM
    found = sample_orders(PSEUDO_RANDOM, [order(3, 1, FREE), order(2, 2, FREE)])
    assert [len(samples) for samples in found if not isinstance(samples, DiscoveryError)] == [3, 2]
