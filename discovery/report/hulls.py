"""Hull diagrams of chemical systems: energy against composition for two elements, a triangle for three.

Finds are diamonds, known phases are dots; hollow marks lie above the hull.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.spatial import ConvexHull

from discovery.composition import amounts
from discovery.hull import PREDICTED_MARK, Hull
from discovery.outcomes import Outcome
from discovery.report.markup import formula_html, table
from discovery.report.svg import (
    SIDES,
    Frame,
    Labels,
    Point,
    diamond,
    dot,
    figure,
    line,
    number,
    padded,
    path,
    subscripted,
    text,
)

ON_HULL = 1e-6  # eV/atom; signed energies above hull up to this count as on the hull
DIAGRAMS = 6
TRIANGLE = (400, 350)  # pixels
SIDE = 310.0  # pixels of the triangle's sides
CORNER = (45.0, 312.0)  # its lower left corner


@dataclass(frozen=True)
class Mark:
    """A phase in a diagram."""

    formula: str
    fractions: tuple[float, ...]  # of the system's elements, in alphabetical order
    energy: float  # formation energy, eV/atom
    above: float  # signed energy above the hull without itself, eV/atom; 0 for elements
    found: bool  # by this campaign
    predicted: bool  # energy from the surrogate

    @property
    def stable(self) -> bool:
        """True on the hull."""
        return self.above <= ON_HULL

    @property
    def label(self) -> str:
        """The formula, marked where its energy is predicted."""
        return subscripted(self.formula) + PREDICTED_MARK * self.predicted

    @property
    def tip(self) -> str:
        """What the mouse shows."""
        if sum(fraction > 0 for fraction in self.fractions) == 1:
            return self.formula
        return f"{self.label}: {self.energy:.3f} eV/atom, {self.above:+.3f} against the hull of the others"


def best_systems(best: Iterable[Outcome], size: int) -> list[tuple[str, ...]]:
    """The chemical systems of `size` elements in which the best candidates lie, without repetition."""
    systems = dict.fromkeys(outcome.elements for outcome in best if len(outcome.elements) == size)
    return list(systems)[:DIAGRAMS]


def marks(system: Sequence[str], hull: Hull, found: Iterable[Outcome]) -> list[Mark]:
    """All phases of a system, elements included, with the finds measured in the hull's scheme."""
    finds = {o.formula for o in found if o.measurement.scheme == hull.scheme}
    identity = np.eye(len(system))
    elements = [Mark(s, tuple(row), 0.0, 0.0, False, False) for s, row in zip(system, identity, strict=True)]
    phases = [
        Mark(
            phase.formula,
            _fractions(phase.formula, system),
            phase.formation_energy_per_atom,
            hull.energy_above_hull(phase.formula, phase.formation_energy_per_atom).energy_above_hull,
            phase.formula in finds,
            phase.predicted,
        )
        for phase in hull.phases_in(system)
    ]
    return elements + phases


def binary_diagram(system: tuple[str, ...], phases: Sequence[Mark]) -> str:
    """Formation energy against the share of the second element, with the hull as a line."""
    frame = Frame((0.0, 1.0), padded([mark.energy for mark in phases], 0.12), (400, 310))
    stable = sorted((m for m in phases if m.stable), key=lambda mark: mark.fractions[1])
    spots = {mark.formula: frame.at(mark.fractions[1], mark.energy) for mark in phases}
    elements = [
        *frame.axes(f"share of {system[1]} atoms in {system[0]}-{system[1]}", "formation energy (eV/atom)"),
        path([spots[mark.formula] for mark in stable], "hull"),
        *_drawn(phases, spots),
    ]
    return figure(elements, frame.size, f"Convex hull of {'-'.join(system)}", _caption(system, phases))


def ternary_diagram(system: tuple[str, ...], phases: Sequence[Mark]) -> str:
    """The composition triangle: phases that touch are joined by lines, which cut it into mixtures of three."""
    spots = {mark.formula: _in_triangle(mark.fractions) for mark in phases}
    stable = [mark for mark in phases if mark.stable]
    edges = [line(spots[stable[i].formula], spots[stable[j].formula], "tie") for i, j in tie_lines(stable)]
    corners = [_in_triangle(tuple(row)) for row in np.eye(3)]
    names = (((-6, 18), "end"), ((6, 18), "start"), ((0, -10), "middle"))
    elements = [
        *edges,
        *(line(a, b, "axis") for a, b in combinations(corners, 2)),
        *(
            text((x + dx, y + dy), symbol, "ink strong", anchor)
            for symbol, (x, y), ((dx, dy), anchor) in zip(system, corners, names, strict=True)
        ),
        *_drawn(phases, spots),
    ]
    return figure(elements, TRIANGLE, f"Phase diagram of {'-'.join(system)}", _caption(system, phases))


def tie_lines(stable: Sequence[Mark]) -> list[tuple[int, int]]:
    """Pairs of stable ternary phases that are neighbours on the hull: edges of its lower facets."""
    points = np.array([(m.fractions[1], m.fractions[2], m.energy) for m in stable])
    apex = np.array([[1 / 3, 1 / 3, 1.0]])  # above everything, so that the body never is flat
    body = ConvexHull(np.vstack([points, apex]))
    lower = body.simplices[body.equations[:, 2] < -1e-9]
    edges = {tuple(sorted((int(i), int(j)))) for facet in lower for i, j in combinations(facet, 2)}
    return sorted((i, j) for i, j in edges)


def decomposition_table(best: Sequence[Outcome], hull: Hull) -> str:
    """What the best compounds of four elements and more compete with; "" where there are none."""
    large = [outcome for outcome in best if len(outcome.elements) > 3]
    if not large:
        return ""
    rows = [
        (formula_html(o.formula), _mixture(hull.decomposition(o.formula)), f"{o.energy_above_hull:+.3f}") for o in large
    ]
    caption = (
        "Systems of four elements and more: the mixture of other phases of lowest energy, with the share of the atoms "
        "that each takes. Reference and finds compete; * marks an energy predicted by the surrogate."
    )
    header = ("compound", "competes with", "validated, against the reference (eV/atom)")
    return table(header, rows, caption, words=(0, 1))


def _mixture(shares: dict[str, float]) -> str:
    ordered = sorted(shares.items(), key=lambda item: -item[1])
    return " + ".join(f"{share:.2f}&nbsp;{formula_html(formula)}" for formula, share in ordered)


def _drawn(phases: Sequence[Mark], spots: dict[str, Point]) -> list[str]:
    """Marks and labels: finds always, other phases where they lie on the hull and there is room."""
    ordered = sorted(phases, key=lambda mark: (mark.found, mark.stable))
    labels = Labels(spots.values())
    named = [mark for mark in reversed(ordered) if mark.found or mark.stable]
    words = [
        labels.place(spots[m.formula], m.label, "ink strong" if m.found else "muted", _sides(m), needed=m.found)
        for m in named
        if sum(fraction > 0 for fraction in m.fractions) > 1
    ]
    return [*(_symbol(mark, spots[mark.formula]) for mark in ordered), *words]


def _sides(mark: Mark) -> str:
    """Where a label goes by preference: outside of a triangle whose edge the phase lies on."""
    if len(mark.fractions) == 3 and mark.fractions.count(0.0) == 1:
        return ("right left", "left right", "below above")[mark.fractions.index(0.0)]
    return SIDES


def _symbol(mark: Mark, at: Point) -> str:
    kind = "find" if mark.found else "phase"
    css = kind + " guess" * mark.predicted + " hollow" * (not mark.stable)
    return diamond(at, 7, css, mark.tip) if mark.found else dot(at, 4, css, mark.tip)


def _caption(system: Sequence[str], phases: Sequence[Mark]) -> str:
    finds = sorted((m for m in phases if m.found), key=lambda mark: mark.above)
    stated = ", ".join(f"{formula_html(m.formula)} {number(round(m.above, 3))}" for m in finds)
    return f"<strong>{'-'.join(system)}</strong>, against all other phases (eV/atom): {stated}"


def _fractions(formula: str, system: Sequence[str]) -> tuple[float, ...]:
    counts = amounts(formula)
    return tuple(counts.get(symbol, 0) / sum(counts.values()) for symbol in system)


def _in_triangle(fractions: tuple[float, ...]) -> Point:
    """First element at the lower left, second at the lower right, third on top."""
    _, second, third = fractions
    return CORNER[0] + SIDE * (second + third / 2), CORNER[1] - SIDE * third * math.sqrt(3) / 2
