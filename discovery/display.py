"""What a person at a terminal sees of a campaign: live while it runs, and a table at the end."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from discovery.campaign import Campaign
from discovery.events import STAGES, Observer
from discovery.outcomes import Outcome, best_first, outcomes
from discovery.records import Failure, Measurement, Proposal, RoundRecord

FAR_BELOW = 0.2  # eV/atom: 684 of 27,399 stable compounds of three elements or more in MP (2019) are stable by more

LATEST = 6  # answers that stay visible
SHOWN = 10  # rows of the final table; all of them are in candidates.csv
PLAIN_WIDTH = 120  # columns where there is no terminal to ask


class QuietDisplay:
    """Shows nothing."""

    def stage_started(self, round_number: int, stage: str, total: int | None) -> None:
        """Nothing."""

    def stage_advanced(self, stage: str, done: int) -> None:
        """Nothing."""

    def stage_finished(self, round_number: int, stage: str, seconds: float) -> None:
        """Nothing."""

    def proposed(self, proposal: Proposal) -> None:
        """Nothing."""

    def answered(self, answer: Measurement | Failure) -> None:
        """Nothing."""

    def round_finished(self, record: RoundRecord) -> None:
        """Nothing."""


class PlainDisplay(QuietDisplay):
    """One line of text per round, for logs and pipes."""

    def __init__(self, console: Console, rounds: int) -> None:
        self._console = console
        self._rounds = rounds

    def round_finished(self, record: RoundRecord) -> None:
        """The round's line."""
        self._console.print(round_line(record, self._rounds), soft_wrap=True)


class LiveDisplay(QuietDisplay):
    """Progress bars of the round's stages, the latest answers, and a line for every finished round above them.

    A context manager: the screen is redrawn while it is entered, and left in order whatever happens inside.
    """

    def __init__(self, console: Console, rounds: int, tolerance: float) -> None:
        self._console = console
        self._rounds = rounds
        self._tolerance = tolerance
        self._round: int | None = None
        self._stages = _stage_progress(console)
        self._tasks: dict[str, TaskID] = {}
        self._totals: dict[str, int | None] = {}
        self._answers: deque[Text] = deque(maxlen=LATEST)
        self._live = Live(self.picture(), console=console, refresh_per_second=8, transient=True)

    def __enter__(self) -> LiveDisplay:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def picture(self) -> Group:
        """What is on the screen now."""
        title = "starting" if self._round is None else f"round {self._round} of {self._rounds}"
        return Group(Text(title, style="bold"), self._stages, *self._answers)

    def stage_started(self, round_number: int, stage: str, total: int | None) -> None:
        """The stage's bar begins to move; the first stage of a round clears the bars of the last one."""
        if round_number != self._round:
            self._begin_round(round_number)
        task = self._tasks[stage]
        self._totals[stage] = total
        self._stages.reset(task, total=total, mark="→", note="", count=_count(0, total))
        self._show()

    def stage_advanced(self, stage: str, done: int) -> None:
        """The stage's bar moves on."""
        task = self._tasks[stage]
        self._stages.update(task, completed=done, count=_count(done, self._totals[stage]))
        self._show()

    def stage_finished(self, round_number: int, stage: str, seconds: float) -> None:
        """The stage's bar is full, with its time."""
        del round_number
        task, total = self._tasks[stage], self._totals[stage]
        count = "" if total is None else _count(total, total)
        self._stages.update(
            task, total=total or 1, completed=total or 1, mark="✓", note=f"{seconds:.1f} s", count=count
        )
        self._stages.stop_task(task)
        self._show()

    def proposed(self, proposal: Proposal) -> None:
        """What came through the screens."""
        text = f"{proposal.generated} samples, {proposal.valid} valid, {proposal.novel} novel; "
        self._answers.append(Text(f"{text}{len(proposal.selected)} go to the oracle", style="dim"))
        self._show()

    def answered(self, answer: Measurement | Failure) -> None:
        """The answer joins the latest ones."""
        self._answers.append(answer_line(answer, self._tolerance))
        self._show()

    def round_finished(self, record: RoundRecord) -> None:
        """The round's line moves above the bars."""
        self._answers.clear()
        self._console.print(round_line(record, self._rounds), soft_wrap=True)
        self._show()

    def _begin_round(self, number: int) -> None:
        self._round = number
        self._stages = _stage_progress(self._console)
        add = self._stages.add_task
        self._tasks = {stage: add(stage, start=False, total=1, mark=" ", note="", count="") for stage in STAGES}

    def _show(self) -> None:
        self._live.update(self.picture())


@contextmanager
def display_for(campaign: Campaign, *, quiet: bool) -> Iterator[Observer]:
    """The display that fits: none for machines, a live one on a terminal, otherwise a line per round."""
    console = Console(file=sys.stdout)
    if quiet:
        yield QuietDisplay()
    elif console.is_terminal:
        with LiveDisplay(console, campaign.config.rounds, campaign.config.tolerance) as display:
            yield display
    else:
        yield PlainDisplay(plain_console(), campaign.config.rounds)


def plain_console() -> Console:
    """Writes to standard output; as wide as the terminal, or `PLAIN_WIDTH` where there is none."""
    console = Console(file=sys.stdout, highlight=False)
    return console if console.is_terminal else Console(file=sys.stdout, width=PLAIN_WIDTH, highlight=False)


def round_line(record: RoundRecord, rounds: int) -> str:
    """A finished round in one line."""
    mae = record.learning.metrics.get("mae_before")
    error = "" if mae is None else f", error of the estimates {mae:.3f} eV/atom"
    failed = f" ({record.failed} failed)" if record.failed else ""
    return (
        f"round {record.round}/{rounds}: {record.generated} generated, {record.valid} valid, {record.novel} novel, "
        f"{record.validated} validated{failed}, {record.stable} stable{error}, {sum(record.seconds.values()):.0f} s"
    )


def _stage_progress(console: Console) -> Progress:
    columns = (
        TextColumn("{task.fields[mark]}", style="green"),
        TextColumn("{task.description:<9}"),
        BarColumn(bar_width=30),
        TextColumn("{task.fields[count]:>11}"),
        TextColumn("{task.fields[note]}", style="dim"),
    )
    return Progress(*columns, console=console)


def _count(done: int, total: int | None) -> str:
    if total is None:
        return str(done) if done else ""
    return f"{done}/{total}"


def answer_line(answer: Measurement | Failure, tolerance: float) -> Text:
    """An oracle's answer in one line."""
    if isinstance(answer, Failure):
        return Text.assemble((f"{answer.formula:>18}  ", "bold"), (f"failed: {answer.reason}", "yellow"))
    energy = answer.energy_above_hull
    stable = energy is not None and energy <= tolerance
    text = "no energy above hull" if energy is None else f"{energy:+.3f} eV/atom above hull"
    return Text.assemble((f"{answer.formula:>18}  ", "bold"), (text, "green" if stable else ""))


def print_summary(campaign: Campaign, summary: Mapping[str, object], console: Console | None = None) -> None:
    """The best new compounds and the sentence that says what they are worth."""
    console = console if console is not None else plain_console()
    found = best_first(outcomes(campaign))[:SHOWN]
    if found:
        console.print(best_table(found))
    for line in closing_lines(campaign, summary):
        console.print(escape(line), highlight=False)


def best_table(found: list[Outcome]) -> Table:
    """Formula, energies above hull with their uncertainty, structure and reason of each."""
    table = Table(box=box.SIMPLE_HEAD, title="Best new compounds (energy above hull, eV/atom)", title_style="bold")
    table.add_column("formula", style="bold", no_wrap=True)
    table.add_column("predicted", justify="right", no_wrap=True)
    table.add_column("validated", justify="right", no_wrap=True)
    table.add_column("structure", no_wrap=True)
    table.add_column("why chosen")
    for outcome in found:
        cells = (predicted_text(outcome), validated_text(outcome), outcome.structure or "-", outcome.why)
        table.add_row(outcome.formula, *(escape(cell) for cell in cells))
    return table


def predicted_text(outcome: Outcome) -> str:
    """The energy above hull that was expected, with its standard deviation, eV/atom."""
    energy = outcome.predicted_energy_above_hull
    return "-" if outcome.estimate is None or energy is None else f"{energy:+.3f} ± {outcome.estimate.std:.3f}"


def validated_text(outcome: Outcome) -> str:
    """The measured energy above hull, with the oracle's own standard deviation where it states one, eV/atom."""
    std = outcome.measurement.std
    return f"{outcome.energy_above_hull:+.3f}" + (f" ± {std:.3f}" if std > 0 else "")


def closing_lines(campaign: Campaign, summary: Mapping[str, object]) -> list[str]:
    """How many were found, what that count is worth, and where everything lies."""
    rate = summary["reference_false_stable_rate"]
    return [
        f"{summary['stable']} of {summary['validated']} validated compounds lie within {summary['tolerance']} eV/atom "
        f"of the {campaign.reference.name} hull (scheme {summary['scheme']}).",
        false_stable_sentence(rate if isinstance(rate, float) else None, campaign.config.tolerance),
        *filter(None, [far_below_sentence([found.energy_above_hull for found in outcomes(campaign)])]),
        f"{summary['rounds']} rounds, {len(campaign.ledger.calls())} oracle calls ({summary['failed']} failed), "
        f"{summary['seconds']:.0f} s. {str(summary['ended']).capitalize()}.",
        f"Report: {campaign.folder / 'report.html'}  Table: {campaign.folder / 'candidates.csv'}",
    ]


def far_below_sentence(energies_above_hull: Sequence[float]) -> str:
    """What it means that compounds lie far below the hull, energies in eV/atom; "" where none does."""
    count = sum(energy < -FAR_BELOW for energy in energies_above_hull)
    if not count:
        return ""
    return (
        f"{count} of them lie more than {FAR_BELOW} eV/atom below the hull: a competing phase is probably missing "
        "there; check their chemical systems first."
    )


def false_stable_sentence(rate: float | None, tolerance: float) -> str:
    """What a count of "stable" compounds is worth against an incomplete reference."""
    if rate is None:
        return "How many unstable compounds look stable against this reference was never measured."
    return (
        f"The reference is incomplete: {rate:.0%} of compounds known to lie more than {tolerance:g} eV/atom above the "
        "true hull look stable against it."
    )
