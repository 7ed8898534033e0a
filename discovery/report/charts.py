"""How the campaign went and how good its estimates were: curve, parity, calibration."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from discovery.acquisition import Beliefs, probability_of_stability
from discovery.metrics import wilson
from discovery.outcomes import Outcome
from discovery.report.svg import Frame, dot, figure, line, padded, path, text

LEVELS = (0.5, 0.8, 0.9, 0.95)  # of the central intervals whose coverage is checked
WIDE = (720, 320)  # pixels
PANEL = (400, 340)


def found_curve(found: Sequence[Outcome], n_calls: int, tolerance: float) -> list[int]:
    """How many stable compounds were found after 0, 1, ... `n_calls` oracle calls, shape (n_calls + 1,)."""
    counts = np.zeros(n_calls + 1, dtype=int)
    for outcome in found:
        counts[outcome.call] += outcome.energy_above_hull <= tolerance
    return [int(count) for count in np.cumsum(counts)]


def expected_curve(found: Sequence[Outcome], n_calls: int, tolerance: float) -> list[float]:
    """How many the estimates promised: the sum of the probabilities of stability, failed calls left out."""
    counts = np.zeros(n_calls + 1)
    for outcome in found:
        counts[outcome.call] += promised(outcome, tolerance)
    return [float(count) for count in np.cumsum(counts)]


def promised(outcome: Outcome, tolerance: float) -> float:
    """Probability of stability as estimated before the label; 0 where there was no estimate."""
    energy = outcome.predicted_energy_above_hull
    if outcome.estimate is None or energy is None:
        return 0.0
    beliefs = Beliefs(np.array([energy]), np.array([outcome.estimate.std]), 0.0, tolerance)
    return float(np.exp(probability_of_stability(beliefs, np.random.default_rng(0))[0]))


def discovery_chart(found: Sequence[Outcome], n_calls: int, round_ends: Sequence[int], tolerance: float) -> str:
    """Stable compounds found against oracle calls, beside what the estimates promised; `round_ends` in calls."""
    curve, expected = found_curve(found, n_calls, tolerance), expected_curve(found, n_calls, tolerance)
    top = max(curve[-1], expected[-1], 1.0) * 1.08
    frame = Frame((0, max(n_calls, 1)), (0, top), WIDE, right=120)
    corners = [(0, 0)] + [point for i in range(1, n_calls + 1) for point in ((i, curve[i - 1]), (i, curve[i]))]
    ends = _apart(frame.at(n_calls, curve[-1])[1], frame.at(n_calls, expected[-1])[1], 16.0)
    x_end = frame.at(n_calls, 0)[0] + 6
    elements = [
        *(line(frame.at(end, 0), frame.at(end, top), "round") for end in round_ends[:-1]),
        *frame.axes("oracle calls", "stable compounds found"),
        path([frame.at(i, value) for i, value in enumerate(expected)], "promised"),
        path([frame.at(*corner) for corner in corners], "found"),
        text((x_end, ends[0] + 4), f"found: {curve[-1]}", "ink"),
        text((x_end, ends[1] + 4), f"promised: {expected[-1]:.1f}", "muted"),
    ]
    caption = (
        f"Compounds within {tolerance:g} eV/atom of the reference's hull after each oracle call (failed calls count). "
        "Dashed: sum of the probabilities that the surrogate gave before each label. Dotted uprights: ends of rounds."
    )
    return figure(elements, WIDE, f"Discovery curve: {curve[-1]} stable compounds in {n_calls} oracle calls", caption)


def parity_chart(found: Sequence[Outcome], tolerance: float) -> str:
    """Energy above hull as predicted before the label against the validated one; "" without both."""
    pairs = [(o, energy) for o in found if (energy := o.predicted_energy_above_hull) is not None]
    if not pairs:
        return ""
    limits = padded([x for _, x in pairs] + [o.energy_above_hull for o, _ in pairs] + [0.0, tolerance])
    frame = Frame(limits, limits, PANEL)
    low, high = limits
    elements = [
        *frame.axes("predicted energy above hull (eV/atom)", "validated energy above hull (eV/atom)"),
        line(frame.at(low, low), frame.at(high, high), "reference"),
        line(frame.at(low, tolerance), frame.at(high, tolerance), "tolerance"),
        text((frame.at(high, tolerance)[0] - 2, frame.at(high, tolerance)[1] - 5), "tolerance", "muted", "end"),
        *(_error_bar(frame, x, o, limits) for o, x in pairs),
        *(_parity_dot(frame, x, o, tolerance) for o, x in pairs),
    ]
    errors = np.array([x - o.energy_above_hull for o, x in pairs])
    caption = (
        f"{len(pairs)} compounds; filled: within the tolerance. Mean absolute error {np.abs(errors).mean():.3f}, "
        f"mean error {errors.mean():+.3f} eV/atom (negative: predicted too stable, as choosing the best ones makes "
        "likely). Bars: one predicted standard deviation. The prediction faces the reference's hull with the finds of "
        "earlier rounds, the validated value that of the reference alone."
    )
    return figure(elements, frame.size, "Predicted against validated energy above hull", caption)


def coverage(pairs: Sequence[tuple[float, float]], width: float) -> tuple[float, float, float]:
    """Share of errors within `width` standard deviations, with the bounds of its 95 % Wilson interval.

    Args:
        pairs: (error, predicted standard deviation), at least one.
        width: half-width of a central interval, in predicted standard deviations.
    """
    inside = sum(abs(error) <= width * std for error, std in pairs)
    return inside / len(pairs), *wilson(inside, len(pairs))


def calibration_chart(pairs: Sequence[tuple[float, float]], interval: Callable[[float], float]) -> str:
    """Observed against nominal coverage of the estimates made before the labels.

    Args:
        pairs: (error, predicted standard deviation), at least one.
        interval: nominal coverage -> half-width in standard deviations, of the surrogate's own distribution.
    """
    frame = Frame((0.4, 1.0), (0.0, 1.0), PANEL)
    measured = [(level, *coverage(pairs, interval(level))) for level in LEVELS]
    elements = [
        *frame.axes("nominal coverage of the interval", "observed coverage"),
        line(frame.at(0.4, 0.4), frame.at(1.0, 1.0), "reference"),
        path([frame.at(level, share) for level, share, *_ in measured], "thin"),
        *(line(frame.at(level, low), frame.at(level, high), "error") for level, _, low, high in measured),
        *(dot(frame.at(level, share), 4.5, "stable", f"{level:.0%}: {share:.0%}") for level, share, *_ in measured),
    ]
    stated = ", ".join(f"{level:.0%}: {share:.0%}" for level, share, *_ in measured)
    caption = (
        f"{len(pairs)} estimates made before their labels. Nominal: observed coverage: {stated}. "
        "On the dashed line the stated uncertainty is right; below it, too small. Bars: 95% Wilson intervals."
    )
    return figure(elements, frame.size, "Calibration of the predicted intervals", caption)


def error_chart(pairs: Sequence[tuple[float, float]]) -> str:
    """Absolute error against the predicted standard deviation."""
    errors, stds = [abs(error) for error, _ in pairs], [std for _, std in pairs]
    right, top = max(stds) * 1.08 or 0.1, max(*errors, 2 * max(stds)) * 1.05 or 0.1
    frame = Frame((0.0, right), (0.0, top), PANEL, right=44)
    edge = frame.x_range[1]
    elements = [*frame.axes("predicted standard deviation (eV/atom)", "absolute error (eV/atom)")]
    for factor in (1, 2):
        end = min(edge, frame.y_range[1] / factor)
        x, y = frame.at(end, factor * end)
        elements += [line(frame.at(0, 0), (x, y), "reference"), text((x + 4, y + 4), f"{factor} std", "muted")]
    elements += [dot(frame.at(std, error), 4, "stable faint") for error, std in zip(errors, stds, strict=True)]
    within = sum(error <= std for error, std in zip(errors, stds, strict=True)) / len(pairs)
    caption = (
        f"{within:.0%} of the errors lie within one predicted standard deviation (68% if it is right and errors are "
        "normal). Formation energies where estimate and label share a scheme, otherwise energies above hull."
    )
    return figure(elements, frame.size, "Error against predicted standard deviation", caption)


def _apart(first: float, second: float, gap: float) -> tuple[float, float]:
    """Two heights moved away from each other until they are `gap` apart."""
    missing = max(gap - abs(first - second), 0.0) / 2
    sign = 1.0 if first > second else -1.0
    return first + sign * missing, second - sign * missing


def _error_bar(frame: Frame, x: float, outcome: Outcome, limits: tuple[float, float]) -> str:
    std = outcome.estimate.std if outcome.estimate else 0.0
    y = outcome.energy_above_hull
    return line(frame.at(max(x - std, limits[0]), y), frame.at(min(x + std, limits[1]), y), "error faint")


def _parity_dot(frame: Frame, x: float, outcome: Outcome, tolerance: float) -> str:
    stable = outcome.energy_above_hull <= tolerance
    energies = f"predicted {x:+.3f}, validated {outcome.energy_above_hull:+.3f} eV/atom"
    tip = f"{outcome.formula}: {energies}, round {outcome.round}"
    return dot(frame.at(x, outcome.energy_above_hull), 4.5, "stable" if stable else "unstable", tip)
