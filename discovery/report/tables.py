"""What happened in each round, why candidates fell, and the best ones in full."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from discovery.display import predicted_text, validated_text
from discovery.events import STAGES
from discovery.outcomes import Outcome
from discovery.records import RoundRecord
from discovery.report.markup import Bar, Cell, counted, formula_html, log_share, table
from discovery.summary import seconds_by_stage

FUNNEL = ("generated", "valid", "novel", "ranked", "selected", "validated", "stable")
NONE = "\N{EN DASH}"  # where a number does not exist
GUARDED = ("charge_neutral", "electronegativity_balanced", "uniqueness", "novelty")


def funnel_counts(record: RoundRecord) -> dict[str, int]:
    """How many passed each step of a round; `ranked` counts the round's own new candidates."""
    ranked = record.generated - sum(record.rejects.values())
    plain = {name: getattr(record, name) for name in ("generated", "valid", "novel", "validated", "stable")}
    return {**plain, "ranked": ranked, "selected": len(record.selected)}


def funnel_table(records: Sequence[RoundRecord]) -> str:
    """The funnel of every round and of all of them."""
    counts = [funnel_counts(record) for record in records]
    total = {name: sum(row[name] for row in counts) for name in FUNNEL}
    labelled = [(str(record.round), row) for record, row in zip(records, counts, strict=True)] + [("all", total)]
    most = max(total.values(), default=1)
    rows: list[tuple[Cell, ...]] = [
        (label, *(Bar(f"{row[n]:,}", log_share(row[n], most)) for n in FUNNEL)) for label, row in labelled
    ]
    caption = (
        "Generated: raw samples. Valid: samples that pass chemistry and constraints. Novel: distinct valid formulas "
        "that the reference does not know. Ranked: new candidates that the oracle can measure. Candidates of earlier "
        "rounds can be selected too. Bars are logarithmic."
    )
    return table(("round", *FUNNEL), rows, caption, css="even")


def reject_tables(records: Iterable[RoundRecord]) -> str:
    """Rejects and failures by reason, over all rounds."""
    rejects: Counter[str] = Counter()
    failures: Counter[str] = Counter()
    for record in records:
        rejects.update(record.rejects)
        failures.update(record.failures)
    parts = [counted(dict(rejects), ("why not ranked", "samples"), "Samples that were turned down, by reason.")]
    if failures:
        parts.append(counted(dict(failures), ("why no energy", "calls"), "Oracle calls that failed, by reason."))
    return f'<div class="pair">{"".join(parts)}</div>'


def stage_table(records: Sequence[RoundRecord]) -> str:
    """Wall-clock seconds of each stage."""
    stages = [stage for stage in STAGES if any(stage in record.seconds for record in records)]
    labelled: list[tuple[str, Mapping[str, float]]] = [(str(record.round), record.seconds) for record in records]
    labelled.append(("all", seconds_by_stage(records)))
    rows: list[tuple[Cell, ...]] = []
    for label, seconds in labelled:
        whole = sum(seconds.values())
        bars = [Bar(f"{seconds.get(stage, 0.0):.1f}", seconds.get(stage, 0.0) / (whole or 1.0)) for stage in stages]
        rows.append((label, *bars, f"{whole:.1f}"))
    caption = "Wall-clock seconds; bars: share of the round's time."
    return table(("round", *stages, "total"), rows, caption, css="even")


def learning_table(records: Sequence[RoundRecord]) -> str:
    """What the models learned, and whether the decay guard turned the generator's update down."""
    rows = [_learning_row(record) for record in records]
    header = (
        "round", "generator", "surrogate", "MAE", "90% coverage", "calibration",
        "charge neutral", "balanced", "unique", "novel",
    )  # fmt: skip
    caption = (
        "Before → after learning: error (eV/atom) and coverage of the surrogate on the round's own labels "
        "(only <em>before</em> says how good it is). Calibration: tested with the labels before they are learned; "
        "where the evidence against it reaches 20 (5 % false alarms per campaign, however many rounds), standard "
        "deviations are multiplied by the factor shown. Then the decay guard: rates of raw generator samples; "
        "fine-tuning that lowers one too far, or the likelihood of held-out compounds, is rolled back."
    )
    return table(header, rows, caption, words=(0, 1, 2, 5))


def best_table(best: Sequence[Outcome]) -> str:
    """The best candidates with all that speaks for and against them."""
    rows = [_best_row(outcome) for outcome in best]
    header = ("compound", "validated", "predicted", "competing phases", "prototype", "why chosen", "structure")
    caption = (
        "Energies above hull in eV/atom, negative: stable, by how much. Predicted ± one standard deviation, before the "
        "label. A phase that ends in * has no energy of its own in the reference: the surrogate predicted it."
    )
    return table(header, rows, caption, words=(0, 3, 4, 5, 6))


def all_candidates(found: Sequence[Outcome]) -> str:
    """Every validated candidate with the phases that it competes with, folded up."""
    rows: list[tuple[Cell, ...]] = [
        (formula_html(o.formula), escape(validated_text(o)), escape(predicted_text(o)), _phases(o)) for o in found
    ]
    caption = "In the order of the oracle calls. Candidates that were not validated are in candidates.csv."
    header = ("compound", "validated", "predicted", "competing phases")
    return (
        f"<details><summary>All {len(found)} validated candidates</summary>"
        f"{table(header, rows, caption, words=(0, 3))}</details>"
    )


def _phases(outcome: Outcome) -> str:
    """The competing phases, as they were when the candidate was ranked."""
    estimate = outcome.estimate
    if estimate is None:
        return ""
    unmeasured = " <small>(known phases here have no measured energy)</small>" if estimate.unmeasured_phases else ""
    return " + ".join(formula_html(phase) for phase in estimate.competing_phases) + unmeasured


def _best_row(outcome: Outcome) -> tuple[Cell, ...]:
    link = f'<a href="{escape(outcome.structure)}">CIF</a>' if outcome.structure else ""
    return (
        f"<strong>{formula_html(outcome.formula)}</strong>",
        escape(validated_text(outcome)),
        escape(predicted_text(outcome)),
        _phases(outcome),
        escape(outcome.measurement.prototype or ""),
        f"{escape(outcome.why)} (round {outcome.round})",
        link,
    )


def _learning_row(record: RoundRecord) -> tuple[Cell, ...]:
    metrics, learning = record.learning.metrics, record.learning
    generator = escape(learning.generator_version) + (" <strong>rolled back</strong>" if learning.rolled_back else "")
    quality = (_change(metrics, "mae", ".3f"), _change(metrics, "coverage_90", ".0%"), _calibration(metrics))
    guards = [_change(metrics, f"guard_{name}", ".0%") for name in GUARDED]
    return (str(record.round), generator, escape(learning.surrogate_version), *quality, *guards)


def _calibration(metrics: Mapping[str, float]) -> str:
    if "calibration_evidence" not in metrics:
        return NONE
    evidence = f"evidence {metrics['calibration_evidence']:.2g} from {metrics['calibration_labels']:.0f} labels"
    factor = metrics["calibration_factor"]
    return f"holds ({evidence})" if factor == 1.0 else f"<strong>recalibrated by {factor:.2f}</strong> ({evidence})"


def _change(metrics: Mapping[str, float], name: str, form: str) -> str:
    before, after = (_plain(metrics, f"{name}_{when}", form) for when in ("before", "after"))
    return NONE if before == after == NONE else f"{before} → {after}"


def _plain(metrics: Mapping[str, float], name: str, form: str) -> str:
    return format(metrics[name], form) if name in metrics else NONE
