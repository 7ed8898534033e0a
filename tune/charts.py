"""Drawings of a search: curves, parallel coordinates, importance, early loss against the goal, Pareto front."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from discovery.report.svg import Frame, box, dot, figure, line, number, padded, path, text
from tune.plan import Objective, Plan
from tune.records import FINISHED, Record, front, ranked
from tune.study import Importance

WIDE = (980, 340)  # pixels
PANEL = (460, 340)
LOGARITHMIC = frozenset({"peak_learning_rate", "peak_rate", "weight_decay", "tokens_per_batch"})
ROW = 26  # pixels of a bar


def learning_curves(records: Sequence[Record], plan: Plan) -> str:
    """The loss of every trial against its progress; the best trial is drawn strongly."""
    drawn = [record for record in records if record.curve]
    if not drawn:
        return ""
    losses = sorted(loss for record in drawn for _, loss in record.curve)
    top = losses[int(0.95 * (len(losses) - 1))]  # one trial that diverges must not flatten the others
    frame = Frame((0.0, 100.0), padded([losses[0], top]), WIDE, right=60)
    order = ranked(records, plan.goal)
    elements = [*frame.axes("percent of the training", plan.early.meaning)]
    for record in drawn:
        best = bool(order) and record.trial == order[0].trial
        points = [frame.at(percent, min(loss, frame.y_range[1])) for percent, loss in record.curve]
        css = "found" if best else "thin" if record.status == FINISHED else "promised"
        elements += [path(points, css), dot(points[-1], 3.0, "stable" if best else "unstable", tip_of(record, plan))]
    if order and order[0].curve:
        x, y = frame.at(*order[0].curve[-1])
        elements.append(text((x + 6, y + 4), f"trial {order[0].number}", "ink"))
    caption = "Strong: the best trial. Thin: finished ones. Dashed: stopped early, failed or still running."
    return figure(elements, WIDE, "Learning curves of all trials", caption)


def parallel_coordinates(records: Sequence[Record], plan: Plan) -> str:
    """One axis per setting and one for the goal, one line per finished trial; the best quarter is drawn strongly."""
    order = ranked(records, plan.goal)
    names = [name for name in order[0].config if len({r.config[name] for r in order}) > 1] if order else []
    if len(order) < 2 or not names:
        return ""
    columns = [[_coordinate(name, r.config[name], order) for r in order] for name in names]
    columns.append([r.value(plan.goal) or 0.0 for r in order])
    labels = [*(name.replace("_", " ") for name in names), plan.goal.name]
    ends = [(min(column), max(column)) for column in columns]
    step = (WIDE[0] - 100) / (len(columns) - 1)
    elements: list[str] = []
    for index, (label, (low, high)) in enumerate(zip(labels, ends, strict=True)):
        x = 50 + index * step
        elements += [line((x, 50), (x, 290), "axis"), text((x, 20 + 14 * (index % 2)), label, "label", "middle")]
        shown = _end_labels(names, index, (low, high), order)
        elements += [text((x, 308), shown[0], "tick", "middle"), text((x, 46), shown[1], "tick small", "middle")]
    for rank in range(len(order) - 1, -1, -1):
        points = [
            (50 + index * step, 290 - 240 * _share(column[rank], *end))
            for index, (column, end) in enumerate(zip(columns, ends, strict=True))
        ]
        elements.append(path(points, "found" if rank < max(1, len(order) // 4) else "promised"))
    caption = f"The {len(order)} finished trials. Strong: the best quarter by {plan.goal.name}. Rates are on log axes."
    return figure(elements, WIDE, "Parallel coordinates of the finished trials", caption)


def _coordinate(name: str, value: object, order: Sequence[Record]) -> float:
    if isinstance(value, str):
        return float(sorted({str(r.config[name]) for r in order}).index(value))
    plain = float(str(value))
    return math.log10(plain) if name in LOGARITHMIC else plain


def _end_labels(
    names: Sequence[str], index: int, ends: tuple[float, float], order: Sequence[Record]
) -> tuple[str, str]:
    name = names[index] if index < len(names) else ""
    if name and isinstance(order[0].config[name], str):
        words = sorted({str(r.config[name]) for r in order})
        return words[0], words[-1]
    low, high = (10**end if name in LOGARITHMIC else end for end in ends)
    return _end(low), _end(high)


def _end(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _share(value: float, low: float, high: float) -> float:
    return 0.5 if high == low else (value - low) / (high - low)


def importance_bars(found: Sequence[Importance], r2: float) -> str:
    """How much of the forecast of the goal each setting carries."""
    if not found:
        return ""
    size = (PANEL[0], 40 + ROW * len(found))
    longest = max(row.share for row in found) or 1.0
    elements: list[str] = []
    for index, row in enumerate(found):
        y = 12 + ROW * index
        width = 200 * row.share / longest
        elements += [
            text((150, y + 13), row.name.replace("_", " "), "ink", "end"),
            box((158, y), (width, 16), "heat", 0.75),
            text((164 + width, y + 13), f"{row.share:.0%} ± {row.std:.0%}", "muted"),
        ]
    caption = (
        f"Permutation importance under a random forest of the finished trials; out-of-bag R² {r2:.2f}"
        f"{' (0 or less: too few trials to tell)' if r2 <= 0 else ''}."
    )
    return figure(elements, size, "Importance of the settings", caption)


def foresight_chart(records: Sequence[Record], plan: Plan, percent: float) -> str:
    """The loss at one point of the training against the goal of the finished trials."""
    pairs = [
        (early, value, r)
        for r in ranked(records, plan.goal)
        if (early := r.early(percent)) is not None and (value := r.value(plan.goal)) is not None
    ]
    if len(pairs) < 2:
        return ""
    frame = Frame(padded(p[0] for p in pairs), padded(p[1] for p in pairs), PANEL)
    elements = [
        *frame.axes(f"{plan.early.meaning}, at {percent:.0f} % of the training", plan.goal.meaning),
        *(dot(frame.at(early, value), 4.5, "stable", tip_of(record, plan)) for early, value, record in pairs),
    ]
    return figure(elements, PANEL, f"Loss at {percent:.0f} percent of the training against {plan.goal.meaning}")


def pareto_chart(records: Sequence[Record], plan: Plan, second: Objective) -> str:
    """Two goals against each other; the front is joined by a line."""
    found = [r for r in ranked(records, plan.goal) if second.name in r.results]
    if len(found) < 2:
        return ""
    places: Mapping[str, tuple[float, float]] = {
        r.trial: (r.results[second.name], r.results[plan.goal.name]) for r in found
    }
    frame = Frame(padded(x for x, _ in places.values()), padded(y for _, y in places.values()), PANEL)
    best = [record.trial for record in front(found, plan.goal, second)]
    elements = [
        *frame.axes(second.meaning, plan.goal.meaning),
        path(sorted(frame.at(*places[trial]) for trial in best), "thin"),
        *(
            dot(frame.at(*places[r.trial]), 4.5, "stable" if r.trial in best else "unstable", tip_of(r, plan))
            for r in found
        ),
    ]
    caption = f"Filled: no other trial is better in one without being worse in the other ({len(best)} of {len(found)})."
    return figure(elements, PANEL, f"{plan.goal.meaning} against {second.meaning}", caption)


def tip_of(record: Record, plan: Plan) -> str:
    """What is shown under the mouse."""
    value = record.value(plan.goal)
    found = record.status if value is None else f"{plan.goal.name} {number(round(value, 4))}"
    return f"trial {record.number}: {found}"
