"""`replay.html`: one page with the curves and the tables, which needs no other file and no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any

from benchmarks.replay.tables import YARDSTICK
from discovery.report.markup import paragraph, section, table
from discovery.report.svg import Frame, figure, path, text

SIZE = (820, 360)
DRAWN = 6  # curves in one drawing; the table has the rest
CURVES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # Okabe and Ito, told apart by everybody


PLAIN = (  # of a drawing that stands alone: no style sheet around it
    "text{font:12px sans-serif;fill:#333}.grid{stroke:#e2e2e2}.axis{stroke:#888}.tick,.label{fill:#555}"
)


def page(report: Mapping[str, Any]) -> str:
    """The whole document of a report as `replay.json` holds it."""
    style = files("discovery.report").joinpath("style.css").read_text(encoding="utf-8")
    body = _together(report.get("together") or []) + "".join(_protocol(result) for result in report["results"])
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Replay against withheld labels</title><style>{style}{_colours()}</style></head><body><main>"
        f"<header><p class='kicker'>{escape(report['command'])}</p><h1>Found against oracle calls, labels withheld</h1>"
        f"{paragraph(escape(report['note']))}</header>{body}</main></body></html>\n"
    )


def _protocol(result: Mapping[str, Any]) -> str:
    words = (
        f"{result['known']:,} known compounds; {result['pool']:,} candidates; stable among them: "
        + ", ".join(f"{count:,} within {tolerance} eV/atom" for tolerance, count in result["stable"].items())
        + f"; seeds {', '.join(map(str, result['seeds']))}. Intervals: 95 %, bootstrap over runs."
    )
    looks = "; ".join(
        f"{arm}: labels {cost['labels']:,.0f}, looks {cost['looks']:,.0f}, finds for the price of a thousand labels "
        f"{cost['found_per_1000_labels']:.1f}"
        for arm, cost in result.get("costs", {}).items()
    )
    paid = paragraph(escape(f"Cost of a run. {looks}.")) if looks else ""
    parts = (paragraph(escape(words)), _drawing(result), paid, _table(result["table"]), _kinds(result))
    return section(result["name"], *parts)


def image(result: Mapping[str, Any]) -> str:
    """The curves of one problem as an SVG file of their own."""
    width, height = SIZE
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
        f'<style>{PLAIN}{_colours()}</style><rect width="{width}" height="{height}" fill="white"/>'
        f"{''.join(_marks(result))}</svg>\n"
    )


def _colours() -> str:
    return "".join(
        f".curve{i}{{fill:none;stroke:{colour};stroke-width:2}}text.ink{i}{{fill:{colour}}}"
        for i, colour in enumerate(CURVES)
    )


def _together(rows: Sequence[Mapping[str, Any]]) -> str:
    cells = [
        (
            escape(row["arm"]),
            f"{row['problems']:,}",
            _interval(row["found"]),
            f"{row['largest']:,}",
            f"{row['calls']:,}",
            _interval(row["enrichment"]) + f" of at most {row['largest_enrichment']}",
            _interval(row["acceleration"]) + f" of at most {row['largest_acceleration']}"
            if "acceleration" in row
            else "",
            _interval(row["ahead"]) if row["ahead"] else "",
        )
        for row in rows
    ]
    caption = (
        "All problems together; intervals from resampling the problems. EF: over chance; AF: median over the problems, "
        f"half of the stable ones; the last column is a paired difference to {YARDSTICK}"
    )
    head = ("arm", "problems", "found", "at most", "calls", "EF", "AF", f"more than {YARDSTICK}")
    return section("Together", table(head, cells, caption)) if rows else ""


def _drawing(result: Mapping[str, Any]) -> str:
    caption = f"Mean over seeds, within {result['tolerance']:g} eV/atom of the complete hull."
    title = f"{result['name']}: stable compounds found against oracle calls"
    return figure(_marks(result), SIZE, title, caption)


def _marks(result: Mapping[str, Any]) -> list[str]:
    """The curves at the first tolerance that the run aimed at, the best arms first."""
    curves: Mapping[str, Mapping[str, list[float]]] = result["curves"]
    chosen = sorted(curves, key=lambda arm: -curves[arm]["mean"][-1])[:DRAWN]
    if "random" in curves and "random" not in chosen:
        chosen[-1] = "random"
    most = max(max(curves[arm]["high"]) for arm in chosen)
    calls = max(curves[arm]["calls"][-1] for arm in chosen)
    frame = Frame((0, calls), (0, max(most, 1.0) * 1.05), SIZE, right=190)
    elements = frame.axes("oracle calls", "stable compounds found")
    for number, arm in enumerate(chosen):
        curve = curves[arm]
        points = [(0.0, 0.0), *zip(curve["calls"], curve["mean"], strict=True)]
        elements.append(path([frame.at(x, y) for x, y in points], f"curve{number}"))
        label = f"{arm}: {curve['mean'][-1]:g}"
        elements.append(text((SIZE[0] - 182, 30 + 18 * number), label, f"ink{number}"))
    return elements


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    header = ("arm", "tolerance", "found", "of", "EF", "largest EF", "DAF", "largest DAF", "AUDC", "AF(k) over chance")
    cells = [
        (
            escape(row["arm"]),
            f"{row['tolerance']:g}",
            _interval(row["found"]),
            f"{row['stable_in_pool']:,} in {row['calls']:,} calls",
            _interval(row["enrichment"]),
            _number(row.get("largest_enrichment")),
            _interval(row["daf"]),
            _number(row.get("largest_daf")),
            _interval(row["audc"]),
            "; ".join(f"k={k}: {_interval(af)} (at most {_number(af['largest'])})"
                      for k, af in row["acceleration"].items()),
        )
        for row in rows
    ]  # fmt: skip
    return table(header, cells, "All arms at all tolerances", words=(0, 9))


def _kinds(result: Mapping[str, Any]) -> str:
    rows = [
        (escape(row["arm"]), escape(row["kind"]), f"{row['found']:,}", f"{row['calls']:,}") for row in result["kinds"]
    ]
    return table(("arm", "chemistry", "found", "calls"), rows, "By class of chemistry, all seeds", words=(0, 1))


def _interval(value: Mapping[str, float | None] | None) -> str:
    if value is None or value["value"] is None:
        return "none"
    return f"{value['value']:.3g} ({_number(value['low'])} to {_number(value['high'])})"


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.3g}"
