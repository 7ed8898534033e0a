"""The page as a whole: what is said first, and in which order the rest follows."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from importlib.metadata import version
from importlib.resources import files
from itertools import accumulate
from pathlib import Path

from discovery.campaign import Campaign
from discovery.display import false_stable_sentence, far_below_sentence
from discovery.export import write_whole
from discovery.outcomes import Outcome, best_first, outcomes
from discovery.records import RoundRecord
from discovery.report.charts import calibration_chart, discovery_chart, error_chart, parity_chart
from discovery.report.elements import element_map
from discovery.report.hulls import best_systems, binary_diagram, decomposition_table, marks, ternary_diagram
from discovery.report.markup import paragraph, section
from discovery.report.tables import all_candidates, best_table, funnel_table, learning_table, reject_tables, stage_table

BEST = 20  # candidates in the table, and those whose systems are drawn
HULL_LEGEND = (
    "The reference's phases are dots, the finds of this campaign diamonds; hollow marks lie above the hull. "
    "Grey dots and * mark known phases whose energy the surrogate predicted. Hover a mark for its energy."
)
STYLES = ("shared.css", "style.css")
PACKAGES = ("torch", "transformers", "pymatgen", "smact", "chgnet", "ase", "numpy")


@dataclass(frozen=True)
class Story:
    """What the sections are made from, read from the ledger once."""

    campaign: Campaign
    summary: Mapping[str, object]
    records: tuple[RoundRecord, ...]
    found: tuple[Outcome, ...]  # in the order of the calls
    best: tuple[Outcome, ...]

    @property
    def tolerance(self) -> float:
        """Energy above hull that still counts as stable, eV/atom."""
        return self.campaign.config.tolerance


def write_report(campaign: Campaign, summary: Mapping[str, object], folder: Path | None = None) -> Path:
    """Write `report.html`, which needs no other file and no network.

    Args:
        campaign: with or without finished rounds.
        summary: of `discovery.summary.summarize`.
        folder: where to write; the run folder if not given, to which the links to structures are relative.
    """
    path = (folder if folder is not None else campaign.folder) / "report.html"
    write_whole(path, report_text(campaign, summary))
    return path


def report_text(campaign: Campaign, summary: Mapping[str, object]) -> str:
    """The page that `write_report` writes."""
    return page(_story(campaign, summary))


def page(story: Story) -> str:
    """The whole document."""
    style = "".join(files("discovery.report").joinpath(name).read_text(encoding="utf-8") for name in STYLES)
    sections = _outcome_sections(story) if story.found else [paragraph("No compound has been validated yet.")]
    body = "".join([_head(story), *sections, *_round_sections(story), _provenance(story)])
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Discovery campaign {escape(story.campaign.folder.name)}</title><style>{style}</style></head>"
        f"<body><main>{body}</main></body></html>\n"
    )


def _story(campaign: Campaign, summary: Mapping[str, object]) -> Story:
    found = outcomes(campaign)
    records = tuple(campaign.ledger.records().values())
    return Story(campaign, summary, records, tuple(found), tuple(best_first(found)[:BEST]))


def _head(story: Story) -> str:
    campaign, summary = story.campaign, story.summary
    reference, inputs = campaign.reference, campaign.ledger.header().inputs
    rate = reference.false_stable_rate(story.tolerance)
    facts = {
        "scheme": reference.scheme,
        "reference": f"{reference.name} {reference.version}, {len(reference.phases):,} phases with energies, "
        f"{len(reference.known):,} known compositions",
        "oracle": campaign.config.oracle,
        "rounds": f"{summary['rounds']} ({summary['ended']})",
        "oracle calls": f"{len(campaign.ledger.calls())}, {summary['failed']} of them failed",
        "models at the start": ", ".join(str(inputs[name]) for name in ("generator", "surrogate") if inputs.get(name)),
        "seed": str(campaign.config.seed),
        "time": f"{summary['seconds']:.0f} s",
    }
    far_below = far_below_sentence([found.energy_above_hull for found in outcomes(campaign)])
    sentences = (
        false_stable_sentence(rate, story.tolerance),
        far_below,
        "Take the finds as leads, to be confirmed by DFT.",
    )
    warning = " ".join(filter(None, sentences))
    terms = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts.items())
    return (
        f"<header><p class='kicker'>Discovery campaign {escape(campaign.ledger.campaign)}</p>"
        f"<h1>{headline(story)}</h1>"
        f"{paragraph(escape(warning), 'warning')}<dl>{terms}</dl>"
        f"{paragraph(escape(reference.attribution), 'source') if reference.attribution else ''}</header>"
    )


def headline(story: Story) -> str:
    """How many of how many are within the tolerance of which hull."""
    counts = f"{story.summary['stable']} of {story.summary['validated']}"
    name = escape(story.campaign.reference.name)
    return f"{counts} validated compounds lie within {story.tolerance:g} eV/atom of the {name} hull"


def _outcome_sections(story: Story) -> list[str]:
    ends = list(accumulate(len(record.selected) for record in story.records))
    n_calls = len(story.campaign.ledger.calls())
    pairs = [pair for outcome in story.found if (pair := outcome.error_and_std) is not None]
    quality = [parity_chart(story.found, story.tolerance)]
    if pairs:
        surrogate, scheme = story.campaign.models.surrogate, story.campaign.reference.scheme
        quality += [calibration_chart(pairs, partial(surrogate.interval, scheme)), error_chart(pairs)]
    return [
        section("Best compounds", best_table(story.best), all_candidates(story.found)),
        section("Discovery curve", discovery_chart(story.found, n_calls, ends, story.tolerance)),
        section("Estimates against measurements", f'<div class="panels">{"".join(quality)}</div>'),
        section("Hulls of the best systems", *_hulls(story)),
        section("Elements", element_map(story.found, story.tolerance)),
    ]


def _hulls(story: Story) -> list[str]:
    complete = story.campaign.hull_with_finds()
    measured = [o for o in story.best if o.measurement.scheme == complete.scheme]
    hull = complete.facing([outcome.formula for outcome in measured])
    binary = [binary_diagram(s, marks(s, hull, story.found)) for s in best_systems(measured, 2)]
    ternary = [ternary_diagram(s, marks(s, hull, story.found)) for s in best_systems(measured, 3)]
    diagrams = f'<div class="panels">{"".join([*binary, *ternary])}</div>' if binary or ternary else ""
    return [paragraph(HULL_LEGEND), diagrams, decomposition_table(measured, hull)]


def _round_sections(story: Story) -> list[str]:
    if not story.records:
        return []
    return [
        section("From samples to finds", funnel_table(story.records), reject_tables(story.records)),
        section("Learning", learning_table(story.records)),
        section("Time", stage_table(story.records)),
    ]


def _provenance(story: Story) -> str:
    inputs = story.campaign.ledger.header().inputs
    software = {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}
    config = story.campaign.config.to_toml()

    return section(
        "Provenance",
        _listed("Inputs", inputs),
        _notes(story.campaign.reference.notes),
        _listed("Oracle, the same in every measurement", _shared_provenance(story.found)),
        _listed("Software that wrote this report", software),
        f"<details><summary>Configuration (config.toml)</summary><pre>{escape(config)}</pre></details>",
    )


def _shared_provenance(found: Sequence[Outcome]) -> dict[str, str]:
    """What all measurements state alike: versions, not the particulars of one of them."""
    stated = [{(k, str(v)) for k, v in o.measurement.provenance.items()} for o in found]
    return dict(sorted(set.intersection(*stated))) if stated else {}


def _notes(notes: Sequence[str]) -> str:
    """What has to be known of the reference: corrections, entries that were left out."""
    items = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return f"<h3>Reference</h3><ul>{items}</ul>" if notes else ""


def _listed(title: str, values: Mapping[str, object]) -> str:
    if not values:
        return ""
    items = "".join(f"<div><dt>{escape(str(k))}</dt><dd>{escape(str(v))}</dd></div>" for k, v in values.items())
    return f"<h3>{escape(title)}</h3><dl>{items}</dl>"
