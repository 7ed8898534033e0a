"""From runs to tables: counts beside every ratio, intervals beside every estimate."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from benchmarks.replay.metrics import (
    TOLERANCES,
    Interval,
    acceleration,
    audc,
    bootstrap,
    calls_needed,
    curve_interval,
    discovery_acceleration,
    enrichment,
    found,
    largest_daf,
    mean_interval,
    random_calls_needed,
)
from benchmarks.replay.problem import Problem
from benchmarks.replay.simulation import Run
from discovery.fidelity import Costs

SHARES = (0.1, 0.25, 0.5)  # of the stable compounds: the k of AF(k)
YARDSTICK = "ion exchange"  # the baseline that a paired difference is told for
POINTS = 50  # of a drawn curve


def table(problem: Problem, runs: Sequence[Run], arms: Sequence[str], calls: int, seed: int) -> list[dict[str, Any]]:
    """One row per arm and tolerance."""
    rows = []
    for tolerance in TOLERANCES:
        for arm in arms:
            own = [run for run in runs if run.arm == arm]
            if own:
                rows.append(_row(problem, own, _of(runs, "random"), (tolerance, calls, seed)))
    return rows


def together(results: Sequence[dict[str, Any]], arms: Sequence[str], tolerance: float) -> list[dict[str, Any]]:
    """All problems as one: finds as sums of means over seeds, intervals from resampling the problems.

    The enrichment is over the finds that are expected by chance; AF is the median over the problems, with k half of
    the stable ones; `ahead` is the paired difference to `YARDSTICK`.
    """
    own = {
        arm: [r for result in results for r in result["table"] if r["arm"] == arm and r["tolerance"] == tolerance]
        for arm in arms
    }
    finds = {arm: [row["found"]["value"] for row in rows] for arm, rows in own.items()}
    return [_joint_row(arm, own[arm], finds[arm], finds.get(YARDSTICK)) for arm in arms]


def _joint_row(
    arm: str, rows: Sequence[dict[str, Any]], finds: Sequence[float], yardstick: Sequence[float] | None
) -> dict[str, Any]:
    calls, stable = (sum(row[name] for row in rows) for name in ("calls", "stable_in_pool"))
    largest = sum(min(row["calls"], row["stable_in_pool"]) for row in rows)
    chance = [row["calls"] * row["stable_in_pool"] / row["pool"] for row in rows]
    factors = [list(row["acceleration"].values())[-1] for row in rows if row["acceleration"]]
    reached = [0.0 if factor["value"] is None else factor["value"] for factor in factors]
    joint: dict[str, Any] = {
        "arm": arm,
        "problems": len(rows),
        "found": plain(_resampled(lambda drawn: float(np.sum(drawn[0])), finds)),
        "largest": largest,
        "calls": calls,
        "stable": stable,
        "by_chance": round(sum(chance), 2),
        "enrichment": plain(_resampled(lambda drawn: float(np.sum(drawn[0]) / np.sum(drawn[1])), finds, chance)),
        "largest_enrichment": number(largest / sum(chance)) if sum(chance) else None,
        "ahead": None,
    }
    if reached:
        joint["acceleration"] = plain(_resampled(lambda drawn: float(np.median(drawn[0])), reached))
        joint["largest_acceleration"] = number(float(np.median([factor["largest"] for factor in factors])))
    if yardstick is not None and len(yardstick) == len(finds):
        joint["ahead"] = plain(_resampled(lambda drawn: float(np.sum(drawn[0] - drawn[1])), finds, yardstick))
    return joint


def _resampled(statistic: Callable[[np.ndarray], float], *columns: Sequence[float]) -> Interval:
    """A statistic of columns that belong to the same problems, which are drawn together."""
    values = np.array(columns, dtype=np.float64)
    rows = list(range(values.shape[1]))
    return bootstrap([rows], lambda drawn: statistic(values[:, drawn.astype(int)]), np.random.default_rng(0))


def _row(problem: Problem, own: Sequence[Run], chance: Sequence[Run], at: tuple[float, int, int]) -> dict[str, Any]:
    tolerance, calls, seed = at
    rng = np.random.default_rng(seed)
    stable, size = problem.stable(tolerance), problem.size()
    energies = [padded(run, calls) for run in own]
    finds = [float(found(values, tolerance)[-1]) for values in energies]
    random_finds = [float(found(padded(run, calls), tolerance)[-1]) for run in chance]
    daf: Callable[[np.ndarray], float] = partial(
        discovery_acceleration, tolerance=tolerance, prevalence=stable / size if stable else math.nan
    )
    row: dict[str, Any] = {
        "arm": own[0].arm,
        "tolerance": tolerance,
        "seeds": len(own),
        "calls": calls,
        "stable_in_pool": stable,
        "pool": size,
        "found": plain(mean_interval(finds, rng)),
        "enrichment": plain(bootstrap([finds, random_finds], enrichment, rng)) if chance else None,
        "daf": plain(mean_interval([daf(values) for values in energies], rng)),
        "audc": plain(mean_interval([audc(values, tolerance, stable) for values in energies], rng)),
        "acceleration": {},
    }
    if problem.candidates and stable:
        row["largest_daf"] = number(largest_daf(stable, size, calls))
        row["largest_enrichment"] = number(min(stable, calls) / (calls * stable / size))
    for share in SHARES:
        k = max(1, round(share * stable))
        if stable:
            row["acceleration"][str(k)] = _acceleration(energies, problem, (tolerance, k), rng)
    return row


def _acceleration(
    energies: Sequence[np.ndarray], problem: Problem, at: tuple[float, int], rng: np.random.Generator
) -> dict[str, float | None]:
    """AF(k) against picking by chance, whose calls are known in closed form; None where half of the runs fall short."""
    tolerance, k = at
    chance = random_calls_needed(k, problem.stable(tolerance), problem.size())
    needed = [calls_needed(values, tolerance, k) for values in energies]
    return plain(bootstrap([needed], lambda drawn: acceleration(drawn, [chance]), rng)) | {
        "largest": number(chance / k)
    }


def gain_per_cost(runs: Sequence[Run], arm: str, tolerance: float, costs: Costs) -> dict[str, float]:
    """Mean cost of an arm's labels and looks, and stable compounds for the price of a thousand labels."""
    own = _of(runs, arm)
    labels = float(np.mean([len(run.calls) for run in own])) * costs.dft
    looks = float(np.mean([run.looks_cost for run in own]))
    finds = float(np.mean([np.sum(run.scored() <= tolerance) for run in own]))  # a free run may have asked for nothing
    share = finds / (labels + looks) if labels + looks else 0.0
    return {"labels": labels, "looks": looks, "found_per_1000_labels": share * costs.dft * 1000}


def kinds(runs: Sequence[Run], tolerance: float) -> list[dict[str, Any]]:
    """Calls and finds by class of chemistry, all seeds together."""
    rows = []
    for arm in dict.fromkeys(run.arm for run in runs):
        pairs = [pair for run in _of(runs, arm) for pair in zip(run.kinds, run.scored(), strict=True)]
        for kind in sorted({kind for kind, _ in pairs}):
            values = np.array([energy for name, energy in pairs if name == kind])
            stable = int((np.nan_to_num(values, nan=np.inf) <= tolerance).sum())
            rows.append({"arm": arm, "kind": kind, "calls": len(values), "found": stable})
    return rows


def curve(runs: Sequence[Run], arm: str, tolerance: float, calls: int) -> dict[str, list[float]]:
    """Found against calls with its interval, at `POINTS` places."""
    curves = np.array([found(padded(run, calls), tolerance) for run in _of(runs, arm)], dtype=np.float64)
    places = np.unique(np.linspace(1, calls, min(POINTS, calls)).round().astype(int))
    mean, low, high = (
        values[places - 1].round(4).tolist() for values in curve_interval(curves, np.random.default_rng(0))
    )
    return {"calls": places.tolist(), "mean": mean, "low": low, "high": high}


def padded(run: Run, calls: int) -> np.ndarray:
    """Energies of exactly `calls` calls: a run that ended early found nothing more."""
    values = np.full(calls, np.nan)
    scored = run.scored()[:calls]
    values[: len(scored)] = scored
    return values


def plain(interval: Interval) -> dict[str, float | None]:
    """JSON has no infinity: None stands for what does not exist or has no bound."""
    return {"value": number(interval.value), "low": number(interval.low), "high": number(interval.high)}


def number(value: float) -> float | None:
    """Four significant decimals; None for NaN and infinity."""
    return round(float(value), 4) if math.isfinite(value) else None


def _of(runs: Sequence[Run], arm: str) -> list[Run]:
    return [run for run in runs if run.arm == arm]
