"""The default campaign against candidates from simpler sources, with the same oracle and the same number of calls.

    python -m benchmarks.campaign --rounds 5 --batch-size 16 --seeds 0 --out campaign.json

Arms: the loop as shipped; random compositions, pseudo-random charge-neutral ones and known compounds with other ions
(all picked by chance); the pseudo-random ones ranked by the shipped surrogate (what the language model adds); the
language model's candidates picked by chance (what the ranking adds). All candidates are new to the reference and have a
prototype.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from discovery.config import CampaignConfig
from discovery.generators.base import SamplingOptions
from discovery.generators.zoo import load_generator
from discovery.metrics import reduced, wilson
from discovery.reference.loading import load_reference

LIST_SIZE = 2000  # distinct new compositions in a baseline's list
TOLERANCES = (0.1, 0.05, 0.025, 0.0)  # eV/atom above the hull; candidates are chosen for the first

# arm -> (generator of a fixed list or None for the loop's own, acquisition, learn)
ARMS: dict[str, tuple[str | None, str, bool]] = {
    "loop": (None, "stability", True),
    "random": ("random", "random", False),
    "pseudo-random": ("pseudo-random", "random", False),
    "ion exchange": ("ion-exchange", "random", False),
    "pseudo-random, ranked": ("pseudo-random", "stability", True),
    "gpt2, picked by chance": (None, "random", False),
}


def baseline_list(name: str, seed: int, path: Path) -> None:
    """Write `LIST_SIZE` distinct compositions of a baseline generator that the builtin reference does not know."""
    known = load_reference("builtin").known
    generator, rng = load_generator(name), np.random.default_rng(seed)
    found: dict[str, None] = {}
    while len(found) < LIST_SIZE:
        for sample in generator.sample(LIST_SIZE, rng, SamplingOptions()):
            formula = reduced(sample)
            if formula is not None and formula not in known:
                found.setdefault(formula)
    path.write_text("formula\n" + "\n".join(list(found)[:LIST_SIZE]) + "\n", encoding="utf-8")


def run_arm(arm: str, seed: int, options: argparse.Namespace) -> dict[str, object]:
    """One campaign in a process of its own; returns its JSON object."""
    source, acquisition, learn = ARMS[arm]
    folder = Path(options.work) / f"{arm.replace(' ', '-').replace(',', '')}-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    candidates = None
    if source is not None:
        candidates = folder / "candidates-in.csv"
        if not candidates.exists():
            baseline_list(source, seed, candidates)
    config = CampaignConfig(
        rounds=options.rounds,
        batch_size=options.batch_size,
        seed=seed,
        acquisition=acquisition,
        learn=learn,
        candidates=None if candidates is None else str(candidates),
    )
    path = folder / "config-in.toml"
    path.write_text(dataclasses.replace(config).to_toml(), encoding="utf-8")
    command = [sys.executable, "-m", "discovery.loop", "--config", str(path), "--run-dir", str(folder / "run")]
    done = subprocess.run([*command, "--resume", "--json"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{arm}, seed {seed}: {done.stderr.strip()}")
    result: dict[str, object] = json.loads(done.stdout.strip().splitlines()[-1])
    return result | {"within": within(folder / "run" / "candidates.csv")}


def within(path: Path) -> dict[str, int]:
    """Validated candidates of a campaign within each tolerance of the hull."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["status"] == "validated"]
    energies = [float(row["energy_above_hull"]) for row in rows]
    return {f"{tolerance:g}": sum(energy <= tolerance for energy in energies) for tolerance in TOLERANCES}


def table(results: Sequence[dict[str, Any]]) -> list[dict[str, object]]:
    """Counts, share of oracle calls and interval for each arm, all seeds together; failures count as calls."""
    rows = []
    for arm in ARMS:
        own = [row for row in results if row["arm"] == arm]
        if not own:
            continue
        failed = sum(int(str(row["failed"])) for row in own)
        calls = failed + sum(int(str(row["validated"])) for row in own)
        seconds = round(sum(float(str(row["seconds"])) for row in own), 1)
        found = {key: sum(int(row["within"][key]) for row in own) for key in own[0]["within"]}
        rows.append(
            {"arm": arm, "seeds": len(own), "calls": calls, "failed": failed, "seconds": seconds}
            | {f"within {tolerance} eV/atom": _share(count, calls) for tolerance, count in found.items()}
        )
    return rows


def _share(count: int, calls: int) -> dict[str, object]:
    low, high = wilson(count, calls)
    share = count / calls if calls else 0.0
    return {"found": count, "share": round(share, 4), "interval_95": [round(low, 4), round(high, 4)]}


def main(argv: Sequence[str] | None = None) -> None:
    """Run the arms one after the other; finished ones are not repeated."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.campaign", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--work", default="runs/benchmark-campaign", help="folder of the campaigns; resumed from there")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark-campaign.json"))
    options = parser.parse_args(argv)
    results = []
    for seed in options.seeds:
        for arm in options.arms:
            result = run_arm(arm, seed, options)
            results.append({"arm": arm, "seed": seed, **result})
            print(f"{arm}, seed {seed}: {result['stable']} of {result['validated']} validated", flush=True)
    machine = f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}"
    report = {"command": " ".join(["python -m benchmarks.campaign", *(argv or sys.argv[1:])]), "machine": machine}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report | {"table": table(results), "campaigns": results}, indent=1) + "\n")
    for row in table(results):
        print(json.dumps(row))


if __name__ == "__main__":
    main()
