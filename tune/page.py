"""`search.html`: what a search found, in one file that needs no network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from discovery.report.markup import Cell, document, paragraph, section, table
from tune import charts
from tune.best import Confirmed
from tune.plan import SECOND, Plan
from tune.records import FAILED, Record, counts, front, ranked
from tune.storage import PAGE, Storage
from tune.study import Foresight, foresight, importances

NONE = "\N{EN DASH}"  # where a number does not exist
COLUMNS: Mapping[str, Mapping[str, tuple[str, str]]] = {  # target -> result -> (heading, format)
    "generator": {
        "yield": ("yield", ".1f"),
        "promising_per_1000": ("promising", ".1f"),
        "recovered_per_1000": ("recovered", ".2f"),
        "nll": ("nats/atom", ".4f"),
        "charge_neutral": ("CN", ".3f"),
        "electronegativity_balanced": ("EB", ".3f"),
        "uniqueness": ("unique", ".3f"),
        "novelty": ("novel", ".3f"),
        "parameters": ("parameters", ",.0f"),
        "train_seconds": ("training (s)", ",.0f"),
    },
    "surrogate": {
        "nll": ("nll", ".4f"),
        "mae": ("MAE (eV/atom)", ".4f"),
        "miscalibration_area": ("miscalibration", ".4f"),
        "parameters": ("parameters", ",.0f"),
    },
}
YIELD_NOTE = (
    "Yield: geometric mean of two counts per 1,000 raw samples, repeated samples counted once: compositions that are "
    "valid, new (neither trained on nor known to the reference) and predicted within the tolerance of the hull, and "
    "held-out real compounds. Its interval: 95 % bootstrap over samples. Energies are predicted: leads, not finds."
)


def write_page(records: Sequence[Record], plan: Plan, storage: Storage, confirmed: Confirmed | None = None) -> None:
    """Write `search.html` into the storage."""
    storage.write(PAGE, page(records, plan, confirmed))


def page(records: Sequence[Record], plan: Plan, confirmed: Confirmed | None = None) -> str:
    """The whole document."""
    second = SECOND[plan.target]
    forecast = foresight(records, plan, np.random.default_rng(plan.seed))
    quality = [charts.foresight_chart(records, plan, found.percent) for found in forecast]
    body = [
        _head(records, plan, confirmed),
        section("Trials", trial_table(records, plan)),
        section("Learning curves", charts.learning_curves(records, plan)),
        section("Settings", charts.parallel_coordinates(records, plan)),
        section("Importance", charts.importance_bars(*importances(records, plan, plan.seed))),
        section("Does early likelihood predict the goal?", foresight_table(forecast, plan), _panels(quality)),
        section(
            f"{plan.goal.meaning} and {second.meaning}".capitalize(),
            charts.pareto_chart(records, plan, second),
            _front(records, plan),
        ),
        section("Failures", failure_table(records)) if any(r.causes for r in records) else "",
        _settings(plan),
    ]
    return document(f"Search {plan.model} {plan.target}", "".join(body))


def headline(records: Sequence[Record], plan: Plan) -> str:
    """The best trial, and of how many."""
    order = ranked(records, plan.goal)
    if not order:
        return "No trial has finished yet"
    value = order[0].value(plan.goal)
    return f"Trial {order[0].number} is best of {len(order)} finished: {plan.goal.meaning} {value:.4g}"


def confirmed_sentence(confirmed: Confirmed | None) -> str:
    """What fresh samples say of the best and of the median trial; "" where there were none."""
    if confirmed is None:
        return ""
    (best, best_words), (median, median_words) = (
        (found, f"{found['yield']:.1f} ({found['yield_low']:.1f} to {found['yield_high']:.1f})")
        for found in (confirmed.best, confirmed.median)
    )
    verdict = (
        "the intervals lie apart" if confirmed.apart else "the intervals overlap: the best is not shown to be better"
    )
    n = f"{best['samples']:,.0f} fresh samples each ({best['judged']:,.0f} judged by energies)"
    del median
    return f"With {n}: best {best_words}, median trial {median_words}; {verdict}."


def trial_table(records: Sequence[Record], plan: Plan) -> str:
    """All trials, the finished ones first and the best of them on top."""
    order = ranked(records, plan.goal)
    rest = [record for record in records if record not in order]
    columns = COLUMNS[plan.target]
    names = list(records[0].config) if records else []
    header = (
        "trial",
        "how it ended",
        *(heading for heading, _ in columns.values()),
        *(n.replace("_", " ") for n in names),
    )
    rows = [_row(record, columns, names) for record in (*order, *rest)]
    caption = (
        YIELD_NOTE if plan.target == "generator" else "Judged on half of the validation part, calibrated on the other."
    )
    return table(header, rows, caption, words=(0, 1))


def _row(record: Record, columns: Mapping[str, tuple[str, str]], names: Sequence[str]) -> list[Cell]:
    percent = f" at {record.curve[-1][0]:.0f} %" if record.curve and record.status not in ("finished", FAILED) else ""
    results: list[Cell] = [
        format(record.results[name], form) if name in record.results else NONE for name, (_, form) in columns.items()
    ]
    if "yield_low" in record.results and "yield" in columns:
        low, high = record.results["yield_low"], record.results["yield_high"]
        results[0] = f"{results[0]} <small>({low:.1f} to {high:.1f})</small>"
    settings = [_setting(record.config.get(name)) for name in names]
    return [str(record.number), f"{escape(record.status)}{percent}", *results, *settings]


def _setting(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else escape(str(value))


def foresight_table(found: Sequence[Foresight], plan: Plan) -> str:
    """Rank correlations, with what they were computed from."""
    if not found:
        return paragraph("Too few trials have finished to say.")
    rows = [
        (f"{f.percent:.0f} %", f"{f.correlation:+.2f} <small>({f.low:+.2f} to {f.high:+.2f})</small>", str(f.trials))
        for f in found
    ]
    caption = (
        f"Spearman's rank correlation of the loss at a point of the training with {escape(plan.goal.name)} at its "
        "end, over finished trials; 1: the loss orders them as the goal does. Intervals: 95 % bootstrap over trials. "
        "Trials that were stopped early are missing, which makes the correlation smaller than it is over all."
    )
    return table(("share of the training", "rank correlation", "finished trials"), rows, caption)


def _front(records: Sequence[Record], plan: Plan) -> str:
    second = SECOND[plan.target]
    kept = front(records, plan.goal, second)
    rows = [
        (str(r.number), f"{r.results[plan.goal.name]:.4g}", f"{r.results[second.name]:.4g}", _words(r)) for r in kept
    ]
    header = ("trial", plan.goal.meaning, second.meaning, "settings")
    return table(header, rows, "The Pareto front.", words=(0, 3)) if kept else ""


def _words(record: Record) -> str:
    return escape(", ".join(f"{name} {_setting(value)}" for name, value in record.config.items()))


def failure_table(records: Sequence[Record]) -> str:
    """Every failure with its cause; a trial whose worker died may have finished after all."""
    rows = [(str(r.number), escape(r.status), escape("; ".join(r.causes))) for r in records if r.causes]
    return table(("trial", "how it ended", "causes"), rows, "In the order of the trials.", words=(0, 1, 2))


def _head(records: Sequence[Record], plan: Plan, confirmed: Confirmed | None) -> str:
    facts = {
        "target": f"{plan.target}{f' {plan.model}' if plan.target == 'generator' else ''}",
        "goal": f"{plan.goal.name} ({plan.goal.mode})",
        "trials": ", ".join(f"{n} {status}" for status, n in counts(records).items()) or "none yet",
        "budget of a trial": f"{plan.epochs} epochs" if plan.epochs else f"{plan.petaflop:g} petaflop",
        "engine": f"{plan.scheduler}, {plan.sampler if plan.scheduler != 'pbt' else 'population'}, seed {plan.seed}",
        "data": plan.data or f"reference {plan.reference}",
    }
    terms = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts.items())
    confirmation = confirmed_sentence(confirmed)
    return (
        f"<header><p class='kicker'>Hyperparameter search</p><h1>{escape(headline(records, plan))}</h1>"
        f"{paragraph(escape(confirmation), 'warning') if confirmation else ''}<dl>{terms}</dl></header>"
    )


def _panels(parts: Sequence[str]) -> str:
    return f'<div class="panels">{"".join(parts)}</div>' if any(parts) else ""


def _settings(plan: Plan) -> str:
    shown = escape(json.dumps(plan.plain(), indent=1))
    return section("Provenance", f"<details><summary>Plan (search.json)</summary><pre>{shown}</pre></details>")
