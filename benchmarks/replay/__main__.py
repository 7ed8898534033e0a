"""Replays a discovery campaign against labels that are withheld from it.

    python -m benchmarks.replay --protocol time --data DIR --calls 500 --seeds 0 1 2 3 4
    python -m benchmarks.replay --protocol family --data DIR --share 0.01
    python -m benchmarks.replay --protocol made --data DIR --systems 10 --episodes 5 --calls 50
    python -m benchmarks.replay --protocol pool --candidates FILE --labels FILE --reference FILE

The models are trained on the known part alone (kept in --work, as is every finished run: a killed replay goes on).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import shlex
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.replay import made_run
from benchmarks.replay.arms import ARMS, BASELINES, LOOP, Budget
from benchmarks.replay.desk import Desks
from benchmarks.replay.metrics import TOLERANCES
from benchmarks.replay.models import Training, models_for, unaware_generator
from benchmarks.replay.page import image, page
from benchmarks.replay.problem import Problem, problem_from_files
from benchmarks.replay.protocols import Hiding, hidden_problems, load_table, time_problem
from benchmarks.replay.simulation import Run, kept, simulate
from benchmarks.replay.tables import curve, gain_per_cost, kinds, table, together
from discovery.errors import ConfigError
from discovery.fidelity import Costs, costs_from
from discovery.options import exit_with
from discovery.surrogates.from_labels import Preset

FAMILIES = ["K-Zn", "Na-Ti"]  # of the *family* protocol: most shipped language models were trained without these
NOTE = (
    "Models saw the known part alone: no potential, no shipped weights, except for a language model that was "
    "trained without the family, where one is named. Labels are handed out one by one. Found: true "
    "energy above the complete hull within the tolerance. A call without a label counts, except in the free protocol."
)


def main(argv: list[str] | None = None) -> int:
    """Run what is missing, then write `replay.json`, `replay.html` and `replay.svg` (curves of the first problem)."""
    args = parser().parse_args(argv)
    if args.calls < 1 or args.batch < 1 or not args.seeds:
        raise ConfigError("--calls and --batch must be 1 or more, and --seeds needs a seed")
    torch.set_num_threads(args.threads)
    if args.protocol == "made":
        return made(args)
    results = [measure(problem, args) for problem in problems(args)]
    report = {
        "command": f"python -m benchmarks.replay {shlex.join(sys.argv[1:] if argv is None else argv)}",
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}",
        "note": NOTE,
        "results": results,
        "together": together(results, args.arms, args.tolerance) if len(results) > 1 else None,
    }
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "replay.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    (args.out / "replay.html").write_text(page(report), encoding="utf-8")
    (args.out / "replay.svg").write_text(image(results[0]), encoding="utf-8")
    print(f"wrote {args.out / 'replay.json'}, replay.html and replay.svg")
    return 0


def made(args: argparse.Namespace) -> int:
    """The protocol with a potential as oracle; its figures go to `made.json`."""
    result = made_run.run(made_run.Plan(args.systems, args.episodes, args.calls), args.data, args.work)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "made.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {args.out / 'made.json'}")
    return 0


def problems(args: argparse.Namespace) -> Iterator[Problem]:
    """What is replayed."""
    if args.protocol == "pool":
        if not (args.candidates and args.labels and args.reference):
            raise ConfigError("--protocol pool needs --candidates, --labels and --reference: give three files")
        yield problem_from_files(args.candidates, args.labels, args.reference, args.scheme)
        return
    if args.data is None:
        raise ConfigError(f"--protocol {args.protocol} needs the folder of the DFT labels: give --data DIR")
    labels = load_table(args.data)
    if args.protocol in ("systems", "family"):
        families = [tuple(family.split("-")) for family in args.family]
        for draw in args.draw:
            hiding = Hiding(args.systems, args.max_atoms, args.anion, draw)
            of_families, of_systems = hidden_problems(labels, families, hiding)
            yield from of_systems if args.protocol == "systems" else of_families
    else:
        yield time_problem(labels, args.limit, seed=0, free=args.protocol == "free")


def measure(problem: Problem, args: argparse.Namespace) -> dict[str, Any]:
    """All arms and seeds of one problem."""
    preset = Preset(members=args.members, epochs=args.surrogate_epochs)
    given = args.language_model
    models = models_for(problem, Training(preset, epochs=0 if given else args.language_epochs), args.work)
    if given:
        models = replace(models, generator=unaware_generator(given, problem))
    desks = Desks(problem, models)
    calls = min(args.calls if args.share is None else math.ceil(args.share * problem.size()), problem.size())
    budget = Budget(calls, args.batch, args.tolerance, args.per_system, args.costs, args.work)
    runs: list[Run] = []
    for arm in args.arms:
        for seed in args.seeds if by_chance(arm, problem) else args.seeds[:1]:
            path = run_path(args, problem, arm, seed, calls)
            runs.append(kept(path, lambda arm=arm, seed=seed: simulate(arm, desks, budget, seed)))  # type: ignore[misc]
            stable = sum(energy is not None and energy <= args.tolerance for energy in runs[-1].energies)
            print(f"{problem.name}, {arm}, seed {seed}: {stable} stable in {len(runs[-1].calls)} calls", flush=True)
    return {
        "name": problem.name,
        "known": len(problem.known),
        "pool": problem.size(),
        "labelled": sum(f in problem.answers for f in problem.candidates)
        if problem.candidates
        else len(problem.answers),
        "stable": {f"{tolerance:g}": problem.stable(tolerance) for tolerance in TOLERANCES},
        "tolerance": args.tolerance,
        "seeds": args.seeds,
        "costs": {arm: gain_per_cost(runs, arm, args.tolerance, args.costs) for arm in args.arms},
        "table": table(problem, runs, args.arms, calls, 0),
        "curves": {arm: curve(runs, arm, args.tolerance, calls) for arm in args.arms},
        "kinds": kinds(runs, args.tolerance),
        "outside": {arm: sum(len(run.outside) for run in runs if run.arm == arm) for arm in args.arms},
    }


def by_chance(arm: str, problem: Problem) -> bool:
    """Whether runs of different seeds differ; free proposals are drawn."""
    return ARMS[arm].chance or problem.free


def run_path(args: argparse.Namespace, problem: Problem, arm: str, seed: int, calls: int) -> Path:
    """Where a finished run is kept: other settings have other names."""
    settings = f"{calls}-{args.batch}-{args.tolerance:g}-{args.members}-{args.surrogate_epochs}-{args.language_epochs}"
    folder = f"{problem.name.replace(' ', '-')}-{problem.size()}-{problem.digest}"
    return Path(args.work) / folder / settings / f"{arm.replace(' ', '-').replace(',', '')}-{seed}.json"


def parser() -> argparse.ArgumentParser:
    """The options of this entry point."""
    p = argparse.ArgumentParser(prog="python -m benchmarks.replay", description=__doc__)
    p.add_argument("--protocol", choices=("pool", "free", "time", "systems", "family", "made"), required=True)
    p.add_argument("--data", type=Path, metavar="DIR", help="folder of the DFT labels (mp_bartel2020.parquet)")
    p.add_argument("--candidates", type=Path, metavar="FILE", help="pool: a column `formula`")
    p.add_argument("--labels", type=Path, metavar="FILE", help="pool: withheld labels, see discovery.labels")
    p.add_argument("--reference", type=Path, metavar="FILE", help="pool: known labels, to train on and as the hull")
    p.add_argument("--scheme", help="pool: of tables without a column `scheme`")
    p.add_argument("--family", nargs="+", default=FAMILIES, metavar="A-B", help="family: what its compounds all hold")
    p.add_argument("--anion", default="O", metavar="X", help="family: also the systems with this element")
    p.add_argument("--max-atoms", type=int, default=20, metavar="N", help="family, systems: of listed compositions")
    p.add_argument("--systems", type=int, default=10, metavar="N", help="family, systems, made: drawn of each size")
    p.add_argument("--episodes", type=int, default=5, metavar="N", help="made: in each system")
    p.add_argument(
        "--draw", type=int, nargs="+", default=[0], metavar="SEED", help="family, systems: seeds of the drawn systems"
    )
    p.add_argument("--limit", type=int, metavar="N", help="time: a random part of the candidates")
    p.add_argument("--arms", nargs="+", choices=list(ARMS), default=[LOOP, *BASELINES])
    p.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    p.add_argument("--calls", type=int, default=500)
    p.add_argument("--share", type=float, metavar="X", help="calls as a share of the list, such as 0.01")
    p.add_argument("--batch", type=int, default=50, help="calls between two lessons")
    p.add_argument("--per-system", type=int, default=1_000_000, help="calls of a batch in one chemical system, at most")
    p.add_argument(
        "--costs", type=costs_from, default=Costs(), metavar="potential=1,dft=1000", help="of looks and labels"
    )
    p.add_argument("--tolerance", type=float, default=0.0, help="eV/atom that the askers aim at; all four are reported")
    p.add_argument("--members", type=int, default=2, help="networks of the surrogate")
    p.add_argument("--surrogate-epochs", type=int, default=16)
    p.add_argument("--language-epochs", type=int, default=6, help="0: no language model")
    p.add_argument(
        "--language-model", metavar="NAME", help="family: one whose card says that the family was withheld from it"
    )
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--work", type=Path, default=Path("runs/replay"), help="models and finished runs")
    p.add_argument("--out", type=Path, default=Path("runs/replay"))
    return p


if __name__ == "__main__":
    exit_with(main)
