"""Requests to one language model, decoded together: what each gets does not depend on the others."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

from discovery.decoding import Order, sample_together
from discovery.errors import DiscoveryError
from discovery.generators.base import Generator
from discovery.generators.causal import CausalGenerator
from discovery.records import Sample

DIGITS = 6  # of a log-probability: nine digits above what the company of other requests can change


def precise(generator: Generator) -> Generator:
    """A causal model in double precision, any other one as it is.

    The sums of a matrix product depend in their last digit on how many rows are multiplied at once. In single precision
    that flips about one drawn token in a million; in double precision, one in 10^15.
    """
    if not isinstance(generator, CausalGenerator):
        return generator
    return replace(generator, network=copy.deepcopy(generator.network).double())


def sample_orders(generator: Generator, orders: Sequence[Order]) -> list[list[Sample] | DiscoveryError]:
    """The samples of each order, or its error as a value.

    Causal models read all orders at once; the others, which write in passes of their own, take one after the other.
    """
    if isinstance(generator, CausalGenerator):
        return [_rounded(found) for found in sample_together(generator.decoder(), orders)]
    return [_rounded(_alone(generator, order)) for order in orders]


def _alone(generator: Generator, order: Order) -> list[Sample] | DiscoveryError:
    try:
        return generator.sample(order.n, order.rng, order.options)
    except DiscoveryError as error:
        return error


def _rounded(found: list[Sample] | DiscoveryError) -> list[Sample] | DiscoveryError:
    if isinstance(found, DiscoveryError):
        return found
    return [replace(sample, log_probability=round(sample.log_probability, DIGITS)) for sample in found]
