"""Small pieces of the page: sections, tables, formulas."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files


@dataclass(frozen=True)
class Bar:
    """A table cell with a number and a bar behind it."""

    text: str
    share: float  # of the cell's width, 0 to 1


Cell = str | Bar  # a string is markup: escape what is not ours

STYLES = ("shared.css", "style.css")  # the first is the service's, too


def document(title: str, body: str) -> str:
    """A whole page that needs no other file and no network."""
    style = "".join(files("discovery.report").joinpath(name).read_text(encoding="utf-8") for name in STYLES)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{style}</style></head>"
        f"<body><main>{body}</main></body></html>\n"
    )


def section(title: str, *parts: str) -> str:
    """A headed section; empty parts are left out."""
    return f"<section><h2>{escape(title)}</h2>{''.join(parts)}</section>"


def paragraph(words: str, css: str = "") -> str:
    """A paragraph of markup."""
    return f'<p class="{css}">{words}</p>' if css else f"<p>{words}</p>"


def table(
    header: Sequence[str], rows: Iterable[Sequence[Cell]], caption: str, words: Collection[int] = (0,), css: str = ""
) -> str:
    """A table; the columns `words` hold text, the others numbers."""
    head = "".join(f'<th scope="col"{_kind(i, words)}>{name}</th>' for i, name in enumerate(header))
    body = "".join(f"<tr>{''.join(_cell(cell, i, words) for i, cell in enumerate(row))}</tr>" for row in rows)
    return (
        f'<div class="scroll"><table class="{css}"><caption>{caption}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def counted(counts: dict[str, int], header: Sequence[str], caption: str) -> str:
    """Reasons with their counts, the most frequent first."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    most = max(counts.values(), default=1) or 1
    rows = [(escape(reason), Bar(f"{count:,}", count / most)) for reason, count in ordered]
    return table(header, rows, caption)


def log_share(count: float, most: float) -> float:
    """A bar's length on a logarithmic scale from 0 to `most`, 0 to 1."""
    return math.log10(count + 1) / math.log10(most + 1) if most > 0 else 0.0


def formula_html(formula: str) -> str:
    """A formula with its amounts as subscripts."""
    return re.sub(r"(\d+)", r"<sub>\1</sub>", escape(formula))


def _cell(cell: Cell, column: int, words: Collection[int]) -> str:
    if isinstance(cell, Bar):
        return f'<td class="number bar" style="--share:{100 * cell.share:.1f}%">{escape(cell.text)}</td>'
    return f"<td{_kind(column, words)}>{cell}</td>"


def _kind(column: int, words: Collection[int]) -> str:
    return "" if column in words else ' class="number"'
