"""A queue of calculations through ASE that survives being interrupted.

    python -m examples.dft_queue --calculator my_dft:calculator --n 8 --queue my_queue

`--calculator` names a function without arguments that returns any ASE calculator (GPAW, VASP, Quantum ESPRESSO, a
potential); its attribute `scheme` names the energies. Each candidate is a file in the queue folder, written before its
calculation begins and again when it ends. Started anew after an interruption, the queue first finishes what it was
asked for, repeats no finished calculation, and asks only for what is missing from `--n`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

from discovery.client import Asked, Client, Label
from discovery.composition import reduced_formula
from discovery.errors import ConfigError
from discovery.export import write_whole
from discovery.options import exit_with
from discovery.oracles.base import Budget
from discovery.oracles.potential import PotentialOracle
from discovery.records import Failure
from discovery.structures.potentials import load_potential


class Queue:
    """Jobs of one campaign as files: ``{candidate, label, told}``; the label is null until the calculation ends."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, candidate: Asked) -> None:
        """Remember a candidate before anything is done with it."""
        self.save({"candidate": dataclasses.asdict(candidate), "label": None, "told": None})

    def save(self, job: dict[str, Any]) -> None:
        """Write a job so that an interruption leaves the old or the new state, never half of one."""
        name = reduced_formula(job["candidate"]["formula"])  # refuses what is no formula: nothing else names a file
        write_whole(self.folder / f"{name}.json", json.dumps(job, indent=1))

    def jobs(self) -> list[dict[str, Any]]:
        """All jobs, in order of formula."""
        return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(self.folder.glob("*.json"))]


def work(service: Client, campaign: str, oracle: PotentialOracle, queue: Queue, n: int) -> None:
    """Calculate and tell until `n` candidates are done, beginning with those that were left over."""
    while True:
        for job in queue.jobs():
            if job["label"] is None:
                queue.save(job := {**job, "label": calculate(oracle, Asked(**job["candidate"]))})
            if job["told"] is None:
                (result,) = service.tell(campaign, [Label(**job["label"])])
                queue.save({**job, "told": result.status})
                print(f"{result.formula}  {result.status}")
        missing = n - len(queue.jobs())
        candidates = service.ask(campaign, min(missing, 4)) if missing > 0 else []
        if not candidates:
            return
        for candidate in candidates:
            queue.add(candidate)


def calculate(oracle: PotentialOracle, candidate: Asked) -> dict[str, Any]:
    """Relax the candidate's prototypes; the label as it will be told."""
    answer = oracle.measure(candidate.formula, Budget())
    if isinstance(answer, Failure):
        label = Label(candidate_id=candidate.id, failure=answer.reason, source="dft queue")
    else:
        energy = answer.formation_energy_per_atom
        label = Label(
            candidate_id=candidate.id, formation_energy_per_atom=energy, scheme=answer.scheme, source="dft queue"
        )
    return dataclasses.asdict(label)


def parser() -> argparse.ArgumentParser:
    """The options of this example."""
    p = argparse.ArgumentParser(prog="python -m examples.dft_queue", description="A queue of ASE calculations.")
    p.add_argument("--url", help="of the service")
    p.add_argument("--campaign", help="id of a campaign whose oracle is external (default: a new one, kept in --queue)")
    p.add_argument("--calculator", default="chgnet", help="module:factory, or chgnet")
    p.add_argument("--n", type=int, default=8, help="candidates to calculate, in all")
    p.add_argument("--queue", type=Path, default=Path("dft_queue"), help="folder of the jobs")
    return p


def campaign_of(service: Client, queue: Queue, given: str | None) -> str:
    """The campaign of an earlier start of this queue, else the one that was named, else a new one."""
    kept = queue.folder / "campaign.txt"
    if kept.exists():
        campaign = kept.read_text(encoding="utf-8").strip()
        if given not in (None, campaign):
            raise ConfigError(f"{queue.folder} holds jobs of campaign {campaign}: name another --queue")
        return campaign
    campaign = given or str(service.create(name="dft queue", oracle="external", batch_size=4)["id"])
    write_whole(kept, campaign)
    return campaign


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    args = parser().parse_args(argv)
    queue = Queue(args.queue)
    oracle = PotentialOracle(args.calculator, None, load_potential(args.calculator))
    with Client(args.url) as service:
        campaign = campaign_of(service, queue, args.campaign)
        work(service, campaign, oracle, queue, args.n)
    print(f"campaign {campaign}: {len(queue.jobs())} candidates done")
    return 0


if __name__ == "__main__":
    exit_with(main)
