"""Generate and rank as plain functions of requests: no Ray, no HTTP. Many requests are answered together.

What a request gets does not depend on the others: generation draws from the request's own seed and in double precision
(`discovery.generators.together`), and an error belongs to its request alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from scipy.stats import norm

from discovery.composition import parse, reduced_formula
from discovery.constraints import Constraints
from discovery.decoding import Order
from discovery.errors import CompositionError, ConfigError, DiscoveryError
from discovery.generators.base import SamplingOptions
from discovery.generators.together import sample_orders
from discovery.ranking import estimates
from discovery.records import Estimate, Sample
from discovery.reference.base import Reference
from discovery.reference.competition import CompletedHull
from discovery.summary import plain_number
from discovery.validity import judge
from serve.library import Library

Row = dict[str, object]
Q = TypeVar("Q")  # a request
T = TypeVar("T")  # its answer


@dataclass(frozen=True)
class Generation:
    """A request for samples."""

    n: int
    seed: int
    model: str  # as `load_generator` knows it
    options: SamplingOptions


@dataclass(frozen=True)
class Ranking:
    """A request for estimates."""

    formulas: tuple[str, ...]
    scheme: str | None  # None: the reference's
    reference: str  # as `load_reference` knows it
    tolerance: float  # eV/atom above the hull that still counts as stable


class Service:
    """Answers requests with the models of a library.

    Args:
        library: of models and references.
        surrogate: name of the surrogate that ranks.
        reference: name of the reference that says what is known, and that ranks where a request names none.
    """

    def __init__(self, library: Library, surrogate: str, reference: str) -> None:
        self._library = library
        self._surrogate = surrogate
        self._reference = reference
        self._hulls: dict[int, CompletedHull] = {}  # by the identity of their reference
        self._lock = threading.Lock()

    def generate(self, request: Generation) -> Row:
        """The answer to one request; raises its error."""
        return raised(self.generate_many([request])[0])

    def rank(self, request: Ranking) -> list[Row]:
        """The answer to one request; raises its error."""
        return raised(self.rank_many([request])[0])

    def generate_many(self, requests: Sequence[Generation]) -> list[Row | DiscoveryError]:
        """One answer per request: raw samples with what is known of each."""
        return _grouped(requests, lambda request: request.model, self._generated)

    def rank_many(self, requests: Sequence[Ranking]) -> list[list[Row] | DiscoveryError]:
        """One answer per request: one row per formula, in order; an unparsable formula is an error of its own row."""
        return _grouped(requests, lambda request: request.reference, self._ranked)

    def ready_to_generate(self, model: str) -> None:
        """Answer a request for samples, so that nobody waits for what the first one loads and compiles."""
        self.generate(Generation(1, 0, model, SamplingOptions(constrained=True)))

    def ready_to_rank(self) -> None:
        """Answer a request for estimates, so that nobody waits for what the first one loads and compiles."""
        self.rank(Ranking(("NaCl", "LiFePO4"), None, self._reference, 0.0))

    def _generated(self, model: str, requests: Sequence[Generation]) -> list[Row | DiscoveryError]:
        try:
            generator = self._library.precise_generator(model)
            reference = self._library.reference(self._reference)
        except DiscoveryError as error:
            return [error] * len(requests)
        orders = [Order(request.n, np.random.default_rng(request.seed), request.options) for request in requests]
        return [
            found
            if isinstance(found, DiscoveryError)
            else {
                "candidates": [_described(sample, request.options.constraints, reference) for sample in found],
                "model_version": generator.version,
            }
            for request, found in zip(requests, sample_orders(generator, orders), strict=True)
        ]

    def _ranked(self, name: str, requests: Sequence[Ranking]) -> list[list[Row] | DiscoveryError]:
        try:
            reference = self._library.reference(name)
            surrogate = self._library.placed_surrogate(self._surrogate)
            parsed = {text: _reduced(text) for request in requests for text in request.formulas}
            wanted = sorted({value for value in parsed.values() if not isinstance(value, CompositionError)})
            with self._lock:  # the hull grows with use
                hull = self._hull(reference).facing(wanted)
            found = dict(zip(wanted, estimates(surrogate, hull, wanted), strict=True))
        except DiscoveryError as error:
            return [error] * len(requests)
        return [_answer(request, reference, parsed, found) for request in requests]

    def _hull(self, reference: Reference) -> CompletedHull:
        if id(reference) not in self._hulls:
            surrogate = self._library.placed_surrogate(self._surrogate)
            self._hulls[id(reference)] = CompletedHull(self._library.hull(reference), reference.known, surrogate)
        return self._hulls[id(reference)]


def _grouped(
    requests: Sequence[Q], name: Callable[[Q], str], answered: Callable[[str, Sequence[Q]], list[T | DiscoveryError]]
) -> list[T | DiscoveryError]:
    """One answer per request, in their order; those that name the same thing are answered together."""
    found: dict[int, T | DiscoveryError] = {}
    for one in sorted({name(request) for request in requests}):
        places = [place for place, request in enumerate(requests) if name(request) == one]
        found |= zip(places, answered(one, [requests[place] for place in places]), strict=True)
    return [found[place] for place in range(len(requests))]


def raised(answer: T | DiscoveryError) -> T:
    """The answer; an error that stands in its place is raised."""
    if isinstance(answer, DiscoveryError):
        raise answer
    return answer


def _described(sample: Sample, constraints: Constraints, reference: Reference) -> Row:
    row: Row = {"formula": sample.formula, "log_probability": sample.log_probability}
    nothing = {"charge_neutral": False, "electronegativity_balanced": False, "known": False}
    if sample.formula is None:
        return row | nothing
    formula = _reduced(sample.formula)
    if isinstance(formula, CompositionError):
        return row | nothing
    verdict = judge(formula, intermetallics=constraints.intermetallics, mixed_valence=constraints.mixed_valence)
    return row | {
        "charge_neutral": verdict.charge_neutral,
        "electronegativity_balanced": verdict.electronegativity_balanced,
        "known": formula in reference.known,
    }


def _reduced(text: str) -> str | CompositionError:
    """The reduced formula of a compound, or why it is none."""
    try:
        parse(text)
        return reduced_formula(text)
    except CompositionError as error:
        return error


def _answer(
    request: Ranking, reference: Reference, parsed: dict[str, str | CompositionError], found: dict[str, Estimate]
) -> list[Row] | DiscoveryError:
    if request.scheme not in (None, reference.scheme):
        return ConfigError(
            f"scheme {request.scheme!r} has no reference here: leave it out or ask for {reference.scheme!r}"
        )
    return [_row(text, parsed[text], found, request.tolerance) for text in request.formulas]


def _row(text: str, formula: str | CompositionError, found: dict[str, Estimate], tolerance: float) -> Row:
    if isinstance(formula, CompositionError):
        return {"formula": text, "error": str(formula)}
    estimate = found[formula]
    above = estimate.energy_above_hull
    stable = None if above is None else float(norm.cdf((tolerance - above) / max(estimate.std, 1e-6)))
    return {
        "formula": text,
        "formation_energy_per_atom": plain_number(estimate.formation_energy_per_atom),
        "formation_energy_std": plain_number(estimate.std),
        "energy_above_hull": plain_number(above),
        "probability_stable": plain_number(stable),
        "competing_phases": list(estimate.competing_phases),
    }
