"""A laboratory that answers late and out of order.

    python -m examples.late_lab --n 12 --benches 3 --oracle module:factory

It asks the service for as many candidates as benches are free, and tells each answer when its experiment happens to
end; one answer in ten is told twice, as an impatient robot does. The energies are those of the oracle, the lateness is
drawn. Replace `measure` by a real experiment, and nothing else has to change.
"""

from __future__ import annotations

import argparse
import heapq
import random
import time
from collections.abc import Callable

from discovery.client import Asked, Client, Label, Told
from discovery.options import exit_with
from discovery.oracles.base import Budget, Oracle
from discovery.oracles.loading import load_oracle
from discovery.records import Failure
from discovery.reference.loading import load_reference

TOLD_TWICE = 0.1  # share of the answers
Wait = Callable[[float], None]


def measure(oracle: Oracle, candidate: Asked) -> Label:
    """The experiment: an answer for one candidate."""
    answer = oracle.measure(candidate.formula, Budget())
    if isinstance(answer, Failure):
        return Label(candidate_id=candidate.id, failure=answer.reason, source="late lab")
    return Label(
        candidate_id=candidate.id,
        energy_above_hull=answer.energy_above_hull,
        formation_energy_per_atom=answer.formation_energy_per_atom,
        scheme=answer.scheme,
        source="late lab",
    )


def work(
    service: Client, campaign: str, oracle: Oracle, args: argparse.Namespace, wait: Wait = time.sleep
) -> list[Told]:
    """Ask, measure and tell until `args.n` candidates are answered or none is left; returns what became of them."""
    rng = random.Random(args.seed)
    running: list[tuple[float, int, Label]] = []  # when each experiment ends, in seconds from the start
    clock, begun, told = 0.0, 0, list[Told]()
    while True:
        free = min(args.benches - len(running), args.n - begun)
        for candidate in service.ask(campaign, free) if free else []:
            ends = clock + rng.expovariate(1 / args.delay)
            heapq.heappush(running, (ends, begun, measure(oracle, candidate)))
            begun += 1
        if not running:
            return told
        ends, _, label = heapq.heappop(running)
        wait(ends - clock)
        clock = ends
        for _ in range(1 + (rng.random() < TOLD_TWICE)):
            told += service.tell(campaign, [label])
            print(f"{clock:6.1f} s  {told[-1].formula}  {told[-1].status}")


def parser() -> argparse.ArgumentParser:
    """The options of this example."""
    p = argparse.ArgumentParser(prog="python -m examples.late_lab", description="A laboratory that answers late.")
    p.add_argument("--url", help="of the service")
    p.add_argument("--campaign", help="id of a campaign whose oracle is external (default: a new one)")
    p.add_argument("--oracle", default="chgnet", help="where the energies come from: chgnet or module:factory")
    p.add_argument("--n", type=int, default=12, help="candidates to measure")
    p.add_argument("--benches", type=int, default=3, help="experiments at a time")
    p.add_argument("--delay", type=float, default=5.0, help="seconds of an experiment, on average")
    p.add_argument("--seed", type=int, default=0, help="of the delays")
    return p


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    args = parser().parse_args(argv)
    oracle = load_oracle(args.oracle, load_reference("builtin"))
    with Client(args.url) as service:
        campaign = args.campaign or service.create(name="late lab", oracle="external", batch_size=args.benches)["id"]
        told = work(service, campaign, oracle, args)
        print(f"campaign {campaign}: {sum(one.status == 'accepted' for one in told)} answers accepted")
    return 0


if __name__ == "__main__":
    exit_with(main)
