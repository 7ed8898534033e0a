"""Search hyperparameters for discovery: ``python -m tune.search --model gpt2 --trials 50``. Wiring only."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from actors.cluster import Cluster, connect
from discovery.errors import ConfigError, DataError
from discovery.generators.zoo import FAMILIES
from discovery.options import exit_with
from tune.best import Confirmed, confirm, write_best
from tune.page import confirmed_sentence, headline, write_page
from tune.plan import OBJECTIVES, SAMPLERS, SCHEDULERS, SECOND, Plan
from tune.records import Record, counts, front
from tune.run import Search, check_storage, run_search, supplies_of
from tune.storage import BEST, PAGE, Storage

DEFAULT_GOALS = {"generator": "yield", "surrogate": "nll"}


def parser() -> argparse.ArgumentParser:
    """All options of the search."""
    p = argparse.ArgumentParser(prog="python -m tune.search", description=__doc__)
    p.add_argument("--target", choices=("generator", "surrogate"), default="generator", help="what is searched for")
    p.add_argument("--model", default="gpt2", choices=sorted(FAMILIES), help="family of language models (default gpt2)")
    p.add_argument("--trials", type=int, default=Plan.trials, metavar="N", help=f"(default {Plan.trials})")
    goals = sorted({name for target in OBJECTIVES.values() for name in target})
    p.add_argument("--objective", choices=goals, help="generator: yield (default), nll, recovery; surrogate: nll, mae")
    p.add_argument("--pareto", action="store_true", help="also against seconds (surrogate: calibration); no early stop")
    data = "formulas (a surrogate: tables); a folder of discovery.datasets, or of several (default: the reference's)"
    p.add_argument("--data", metavar="FILE|DIR", help=data)
    p.add_argument("--reference", default=Plan.reference, help="as in discovery.loop (default builtin)")
    p.add_argument("--surrogate", default=Plan.surrogate, help="judges samples (default ensemble)")
    p.add_argument(
        "--petaflop", type=float, default=Plan.petaflop, metavar="X", help="training of a trial (default 0.01)"
    )
    p.add_argument("--epochs", type=int, metavar="N", help="passes over the data in the place of --petaflop")
    p.add_argument("--samples", type=int, default=Plan.samples, metavar="N", help=f"per model (default {Plan.samples})")
    p.add_argument("--judged", type=int, default=Plan.judged, metavar="N", help="of them, by energies (default 2000)")
    p.add_argument(
        "--confirm", type=int, default=Plan.confirm, metavar="N", help="fresh samples of best and median trial"
    )
    p.add_argument("--constrained", action="store_true", help="judge samples drawn within the charge grammar")
    p.add_argument("--tolerance", type=float, default=Plan.tolerance, help="eV/atom above the hull (default 0.1)")
    p.add_argument("--scheduler", choices=SCHEDULERS, help="asha (default), pbt, or none")
    p.add_argument("--sampler", choices=SAMPLERS, default=Plan.sampler, help="of Optuna (default tpe)")
    p.add_argument("--storage", metavar="DIR|URL", help="where all nodes can write (default: a new folder under runs/)")
    p.add_argument("--resume", action="store_true", help="go on with the search in --storage")
    p.add_argument("--seed", type=int, default=Plan.seed, help="of all randomness")
    p.add_argument("--cpus-per-trial", type=float, dest="cpus", metavar="X", help="a fraction lets trials share a core")
    p.add_argument("--gpus-per-trial", type=float, dest="gpus", metavar="X", help="a fraction lets trials share a GPU")
    p.add_argument("--mlflow", metavar="URI", help="log to this MLflow tracking URI, too")
    p.add_argument("--json", action="store_true", help="print one JSON object as the last line, nothing else")
    return p


def plan_of(args: argparse.Namespace) -> Plan:
    """The plan that the options ask for.

    Raises:
        ConfigError: a value outside of what is possible.
    """
    names = {field.name for field in dataclasses.fields(Plan)}
    given = {name: value for name, value in vars(args).items() if name in names}
    given["objective"] = args.objective or DEFAULT_GOALS[args.target]
    given["scheduler"] = args.scheduler or ("none" if args.pareto else Plan.scheduler)
    return Plan(**given)


def main(argv: list[str] | None = None) -> int:
    """Search, judge the best afresh, and write what was found."""
    args = parser().parse_args(argv)
    plan = plan_of(args)
    if args.resume and not args.storage:
        raise ConfigError("--resume needs the folder of the search: add --storage DIR")
    storage = Storage.at(args.storage or datetime.now(UTC).strftime("runs/search-%Y%m%d-%H%M%S"))
    check_storage(plan, storage, resume=args.resume)
    material = supplies_of(plan)
    with connect() as cluster:
        _greet(cluster, storage, quiet=args.json)
        search = run_search(plan, storage, cluster, material, quiet=args.json)
        write_best(search.records, plan, storage, None)  # what comes next may fail
        confirmed = confirm(search.records, plan, storage, search.share, material)
    best = write_best(search.records, plan, storage, confirmed)
    write_page(search.records, plan, storage, confirmed)
    if best is None:
        causes = "; ".join(cause for record in search.records for cause in record.causes[-1:]) or "all were stopped"
        raise DataError(f"no trial finished ({causes[:300]}): see {storage.inner(PAGE)}")
    summary = summarize(search, plan, storage, best, confirmed)
    print(json.dumps(summary) if args.json else "\n".join(lines(summary)))
    return 0


def summarize(
    search: Search, plan: Plan, storage: Storage, best: Record, confirmed: Confirmed | None
) -> dict[str, Any]:
    """What ``--json`` prints."""
    return {
        "storage": storage.url,
        "best": storage.inner(BEST),
        "page": storage.inner(PAGE),
        "headline": headline(search.records, plan),
        "objective": plan.objective,
        "trials": counts(search.records),
        "trial": best.number,
        "config": dict(best.config),
        "results": dict(best.results),
        "confirmed": confirmed_sentence(confirmed),
        "front": [r.number for r in front(search.records, plan.goal, SECOND[plan.target])],
        "failures": {str(r.number): list(r.causes) for r in search.records if r.causes},
        "next": next_command(plan, storage, best),
    }


def next_command(plan: Plan, storage: Storage, best: Record) -> str:
    """How the loop takes the best model."""
    if plan.target == "surrogate":
        return f"python -m discovery.loop --surrogate {storage.inner(BEST)}"
    sampling = f"--temperature {best.config['temperature']:.4g} --top-p {best.config.get('top_p', 1.0):.4g}"
    return f"python -m discovery.loop --model {storage.inner(BEST)} {sampling}"


def lines(summary: Mapping[str, Any]) -> list[str]:
    """What a person reads at the end."""
    failures = [f"trial {number}: {'; '.join(causes)}" for number, causes in summary["failures"].items()]
    return [
        f"{summary['headline']}. {', '.join(f'{n} {status}' for status, n in summary['trials'].items())}.",
        *filter(None, [summary["confirmed"]]),
        *failures,
        f"Page: {summary['page']}  Best model: {summary['best']}",
        f"Next: {summary['next']}",
    ]


def _greet(cluster: Cluster, storage: Storage, *, quiet: bool) -> None:
    if quiet:
        return
    print(f"search in {storage.url}; TensorBoard: tensorboard --logdir {storage.inner('trials')}", file=sys.stderr)
    if cluster.dashboard_hint:
        print(cluster.dashboard_hint, file=sys.stderr)
    if storage.local and cluster.nodes > 1:
        print("several nodes: --storage must be a folder that all of them share, or a URL", file=sys.stderr)


if __name__ == "__main__":
    exit_with(main)
