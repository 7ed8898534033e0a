"""The wiring: roles become Ray actors here, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from actors.fanout import WorkerDiedError
from actors.roles import ModelRole, ValidatorRole
from discovery.errors import DiscoveryError, OracleError
from discovery.oracles.base import Budget, Oracle
from discovery.workers import Models, rank_chunks

ATTEMPTS = 3  # how often a request is made while the actors that work on it keep dying
Options = dict[str, Any]  # of ray.remote: num_cpus, num_gpus, ...
Request = tuple[str, tuple[Any, ...]]  # method of the role, its arguments


class ModelPool:
    """Equal actors that hold models. What they are asked is deterministic, so it is asked again where one died."""

    def __init__(self, size: int, options: Options, threads: int) -> None:
        self._actor_class = ray.remote(**options)(ModelRole)
        self._size = size
        self._arguments = (threads, "cuda" if options.get("num_gpus") else "cpu")
        self._models: Any = None  # in the object store
        self._loading: list[Any] = []
        self._actors: list[Any] = []
        self._create()

    def load(self, models: Models) -> None:
        """Give every actor these models; they travel through the object store, once. Does not wait."""
        self._models = ray.put(models)
        self._hand_out()

    def call(self, requests: Sequence[Request]) -> list[Any]:
        """One result per request, in their order; spread over the actors.

        Raises:
            DiscoveryError: what a role raised on purpose, or that the actors keep dying.
        """
        for _ in range(ATTEMPTS):
            try:
                results = get([*self._loading, *self._submit(requests)])  # with the loading, so that its errors show
                return results[len(self._loading) :]
            except WorkerDiedError as error:
                reason = str(error)
                self._create()
                self._hand_out()
        raise DiscoveryError(f"processes keep dying in {requests[0][0]} ({reason}): free memory or try --local")

    def close(self) -> None:
        """End the actors."""
        for actor in self._actors:
            ray.kill(actor)
        self._actors, self._models, self._loading = [], None, []

    def _create(self) -> None:
        for actor in self._actors:
            ray.kill(actor)
        self._actors = [self._actor_class.remote(*self._arguments) for _ in range(self._size)]

    def _hand_out(self) -> None:
        self._loading = [actor.use.remote(self._models) for actor in self._actors]

    def _submit(self, requests: Sequence[Request]) -> list[Any]:
        actors = self._actors
        return [getattr(actors[i % len(actors)], name).remote(*args) for i, (name, args) in enumerate(requests)]


class ValidatorPool:
    """Validators as `actors.fanout.Pool`."""

    def __init__(self, make_oracle: Callable[[], Oracle], size: int, options: Options, threads: int) -> None:
        # Deaths are counted by the fan-out: Ray itself must neither restart an actor nor repeat a call.
        self._actor_class = ray.remote(max_restarts=0, max_task_retries=0, **options)(ValidatorRole)
        self._arguments = (ray.put(make_oracle), threads)
        self._actors = [self._create() for _ in range(size)]
        self.budget = Budget()

    @property
    def size(self) -> int:
        """How many validators there are."""
        return len(self._actors)

    def start(self, worker: int) -> Hashable:
        """Build the oracle; the result is its name."""
        return self._actors[worker].start.remote()  # type: ignore[no-any-return]

    def submit(self, worker: int, formula: str) -> Hashable:
        """One oracle call under `budget`."""
        return self._actors[worker].measure.remote(formula, self.budget)  # type: ignore[no-any-return]

    def wait(self, calls: Sequence[Hashable], timeout_s: float | None) -> Sequence[Hashable]:
        """Those calls that ended."""
        ended, _ = ray.wait(list(calls), num_returns=1, timeout=timeout_s, fetch_local=False)
        return ended  # type: ignore[no-any-return]

    def result(self, call: Hashable) -> Any:
        """The result of a call that ended."""
        return get([call])[0]

    def replace(self, worker: int) -> None:
        """End a validator and put a new one in its place."""
        ray.kill(self._actors[worker])
        self._actors[worker] = self._create()

    def can_measure(self, formulas: Sequence[str]) -> list[bool]:
        """Whether the oracle has a way to measure each."""
        parts = [(i % self.size, part) for i, part in enumerate(rank_chunks(formulas))]
        calls = [(worker, part, self._can_measure(worker, part)) for worker, part in parts]
        return [able for worker, part, call in calls for able in self._repeated(worker, part, call)]

    def close(self) -> None:
        """End the validators."""
        for actor in self._actors:
            ray.kill(actor)
        self._actors = []

    def _create(self) -> Any:
        return self._actor_class.remote(*self._arguments)

    def _can_measure(self, worker: int, formulas: Sequence[str]) -> Any:
        return self._actors[worker].can_measure.remote(formulas)

    def _repeated(self, worker: int, formulas: Sequence[str], call: Any) -> list[bool]:
        for _ in range(ATTEMPTS):
            try:
                return get([call])[0]  # type: ignore[no-any-return]
            except WorkerDiedError as error:
                reason = str(error)
                self.replace(worker)
                call = self._can_measure(worker, formulas)
        raise OracleError(f"validators keep dying ({reason}): free memory, lower --workers or try --local")


def share(value: object) -> Any:
    """Put a value into the object store; as an argument of a request it arrives as the value."""
    return ray.put(value)


def get(calls: Sequence[Any]) -> list[Any]:
    """The results of calls.

    Raises:
        WorkerDiedError: an actor is gone.
        DiscoveryError: an error that a role raised on purpose, as it was, without Ray's traceback around it.
    """
    try:
        return ray.get(list(calls))  # type: ignore[no-any-return]
    except RayTaskError as error:
        cause = error.cause
        raise (cause if isinstance(cause, DiscoveryError) else error) from None
    except RayError as error:  # a dead actor, a lost node, a full memory
        raise WorkerDiedError(_first_line(error)) from error


def _first_line(error: BaseException) -> str:
    """The gist of one of Ray's long messages."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
