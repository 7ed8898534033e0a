"""Drawing in SVG by hand: no plotting library, text that can be selected, colours that follow the page's theme.

Functions return markup; lengths are in pixels of the drawing, the origin is at its top left. Colours are CSS classes of
`style.css`, so that a drawing is right in light and in dark.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

Point = tuple[float, float]

_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


def figure(elements: Iterable[str], size: tuple[int, int], title: str, caption: str = "") -> str:
    """A drawing of `size` (width, height) with a title that screen readers read, and a caption (markup) below it."""
    width, height = size
    drawing = (
        f'<svg viewBox="0 0 {width} {height}" style="max-width:{width}px" role="img" aria-label="{escape(title)}">'
        f"{''.join(elements)}</svg>"
    )
    return f"<figure>{drawing}{f'<figcaption>{caption}</figcaption>' if caption else ''}</figure>"


def line(start: Point, end: Point, css: str) -> str:
    """A straight line."""
    return f'<line x1="{start[0]:.1f}" y1="{start[1]:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}" class="{css}"/>'


def path(points: Sequence[Point], css: str) -> str:
    """A polyline through `points`."""
    return f'<polyline points="{_joined(points)}" class="{css}"/>' if points else ""


def dot(center: Point, radius: float, css: str, tip: str = "") -> str:
    """A disc; `tip` is shown under the mouse."""
    return f'<circle cx="{center[0]:.1f}" cy="{center[1]:.1f}" r="{radius}" class="{css}">{_tip(tip)}</circle>'


def diamond(center: Point, radius: float, css: str, tip: str = "") -> str:
    """A square on its corner."""
    x, y = center
    corners = ((x, y - radius), (x + radius, y), (x, y + radius), (x - radius, y))
    return f'<polygon points="{_joined(corners)}" class="{css}">{_tip(tip)}</polygon>'


def box(corner: Point, size: Point, css: str, opacity: float | None = None) -> str:
    """A rectangle from its top left corner."""
    faded = "" if opacity is None else f' style="fill-opacity:{opacity:.2f}"'
    return (
        f'<rect x="{corner[0]:.1f}" y="{corner[1]:.1f}" width="{size[0]:.1f}" height="{size[1]:.1f}" '
        f'class="{css}"{faded}/>'
    )


def text(at: Point, words: str, css: str = "", anchor: str = "start") -> str:
    """Words whose baseline starts, is centred (`middle`) or ends (`end`) at a point."""
    return f'<text x="{at[0]:.1f}" y="{at[1]:.1f}" class="{css}" text-anchor="{anchor}">{escape(words)}</text>'


def subscripted(formula: str) -> str:
    """A formula with subscript digits, for text in drawings."""
    return formula.translate(_SUBSCRIPTS)


@dataclass(frozen=True)
class Frame:
    """A plot's area: data ranges on a drawing of `size` (width, height) with margins for axes and labels."""

    x_range: tuple[float, float]
    y_range: tuple[float, float]
    size: tuple[int, int] = (460, 320)
    left: int = 58
    right: int = 16
    top: int = 14
    bottom: int = 46

    def at(self, x: float, y: float) -> Point:
        """Where a data point lies on the drawing."""
        (x0, x1), (y0, y1) = self.x_range, self.y_range
        width, height = self.size[0] - self.left - self.right, self.size[1] - self.top - self.bottom
        return self.left + (x - x0) / (x1 - x0) * width, self.top + (y1 - y) / (y1 - y0) * height

    def axes(self, x_label: str, y_label: str) -> list[str]:
        """Grid lines, numbers and axis labels."""
        middle_y = (self.top + self.size[1] - self.bottom) / 2
        middle_x = (self.left + self.size[0] - self.right) / 2
        turned = f'<text transform="translate(14 {middle_y:.1f}) rotate(-90)" class="label" text-anchor="middle">'
        return [
            *self._horizontal_grid(),
            *self._vertical_ticks(),
            text((middle_x, self.size[1] - 8), x_label, "label", "middle"),
            f"{turned}{escape(y_label)}</text>",
        ]

    def _horizontal_grid(self) -> list[str]:
        marks: list[str] = []
        for value in ticks(*self.y_range):
            start, end = self.at(self.x_range[0], value), self.at(self.x_range[1], value)
            marks += [line(start, end, "grid"), text((start[0] - 7, start[1] + 4), number(value), "tick", "end")]
        return marks

    def _vertical_ticks(self) -> list[str]:
        marks: list[str] = []
        for value in ticks(*self.x_range):
            x, y = self.at(value, self.y_range[0])
            marks += [line((x, y), (x, y + 4), "axis"), text((x, y + 18), number(value), "tick", "middle")]
        return [
            *marks,
            line(self.at(self.x_range[0], self.y_range[0]), self.at(self.x_range[1], self.y_range[0]), "axis"),
        ]


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) from `low` to `high`."""
    raw = (high - low) / about
    power = 10 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def number(value: float) -> str:
    """A tick's number without needless zeros, with a true minus sign."""
    return f"{round(value, 10):g}".replace("-", "\N{MINUS SIGN}")


def padded(values: Iterable[float], share: float = 0.06) -> tuple[float, float]:
    """The range of the values with some room on both sides; never empty."""
    found = list(values)
    low, high = min(found), max(found)
    room = (high - low) * share or 0.05
    return low - room, high + room


SIDES = "right left above below"


class Labels:
    """Places labels so that they cover neither each other nor what was drawn before; crowded ones are left out."""

    def __init__(self, obstacles: Iterable[Point] = (), radius: float = 4.0) -> None:
        self._taken = [(x - radius, y - radius, x + radius, y + radius) for x, y in obstacles]

    def place(self, at: Point, words: str, css: str, sides: str = SIDES, *, needed: bool = False) -> str:
        """The label at the first free one of the `sides` of a point; "" where none is, unless it is `needed`."""
        width = 6.6 * len(words)
        x, y = at
        spots = {
            "right": ((x + 10, y + 4), "start"),
            "left": ((x - 10, y + 4), "end"),
            "above": ((x, y - 11), "middle"),
            "below": ((x, y + 20), "middle"),
        }
        for spot, anchor in (spots[side] for side in sides.split()):
            shift = {"start": 0.0, "middle": width / 2, "end": width}[anchor]
            bounds = (spot[0] - shift, spot[1] - 10, spot[0] - shift + width, spot[1] + 2)
            if not any(_overlap(bounds, other) for other in self._taken):
                self._taken.append(bounds)
                return text(spot, words, f"{css} halo", anchor)
        return text(spots["above"][0], words, f"{css} halo", "middle") if needed else ""


def _overlap(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _joined(points: Iterable[Point]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _tip(words: str) -> str:
    return f"<title>{escape(words)}</title>" if words else ""
