"""A round: generate, screen, rank, select, validate, learn, record.

`ask` is the first four, `tell` the last two; between them an oracle answers.
"""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path

import numpy as np

from discovery.acquisition import JUDGED, Beliefs, probability_of_stability, score, select_batch
from discovery.campaign import Campaign
from discovery.composition import amounts, chemical_system
from discovery.config import CampaignConfig
from discovery.events import Observer
from discovery.examples import clues_of, judged_odds
from discovery.existence import log_prior
from discovery.formulas import read_formulas
from discovery.generators.base import SamplingOptions
from discovery.learning import Learned, Lesson
from discovery.ledger import measurements
from discovery.looks import looked
from discovery.records import Candidate, Estimate, Failure, Measurement, Proposal, RankedCandidate, RoundRecord, Verdict
from discovery.reference.competition import CompletedHull, has_unmeasured_phases
from discovery.screening import ScreenContext, Screened, annotate, screen
from discovery.workers import Workers

EXHAUSTED = "no candidate is left to ask for: the space of compositions is exhausted"


def run_campaign(campaign: Campaign, workers: Workers, observer: Observer) -> str:
    """Run the rounds that are left; returns why it ended."""
    while campaign.finished_rounds < campaign.config.rounds:
        if not run_round(campaign, workers, observer):
            return EXHAUSTED
    return f"{campaign.config.rounds} rounds finished"


def never() -> bool:
    """What a round is asked to stop by where nobody does."""
    return False


def run_round(campaign: Campaign, workers: Workers, observer: Observer, stopped: Callable[[], bool] = never) -> bool:
    """One round, or the rest of an interrupted one; False where there was nothing left to ask for.

    Once `stopped` says so, no further oracle call is begun; the round stays open, to be taken up again.
    """
    proposal = open_round(campaign, workers, observer)
    if proposal is None:
        return False
    with _timed(observer, proposal.round, "validate", len(proposal.selected)) as seconds:
        _validate(campaign, workers, proposal, observer, stopped)
    if not (stopped() and campaign.unanswered(proposal)):
        tell(campaign, workers, proposal, observer, seconds)
    return True


def open_round(campaign: Campaign, workers: Workers, observer: Observer) -> Proposal | None:
    """The proposal of the round that is open, or of a new one, committed; None where nothing is left to ask for."""
    workers.load(campaign.models)
    proposal = campaign.open_proposal()
    if proposal is None:
        proposal = ask(campaign, workers, observer)
        if not proposal.selected:
            return None
        campaign.begin(proposal)
    observer.proposed(proposal)
    return proposal


def close_round(campaign: Campaign, workers: Workers, observer: Observer) -> RoundRecord | None:
    """Learn from the open round and record it, if its batch is answered; None where there is nothing to close."""
    proposal = campaign.open_proposal()
    if proposal is None or campaign.unanswered(proposal):
        return None
    workers.load(campaign.models)
    return tell(campaign, workers, proposal, observer, {})


def ask(campaign: Campaign, workers: Workers, observer: Observer) -> Proposal:
    """Generate, screen, rank and select; changes nothing in the campaign, and is the same whenever it is repeated."""
    number = campaign.finished_rounds + 1
    generate_seed, select_seed, _ = round_seeds(campaign.config.seed, number)
    seconds: dict[str, float] = {}
    screened = _candidates(campaign, workers, observer, generate_seed, seconds)
    with _timed(observer, number, "rank", None) as spent:
        pool = _measurable(campaign, workers, (*_open_pool(campaign), *screened.accepted))
        ranked = _rank(campaign, workers, pool, np.random.default_rng(select_seed))
    seconds |= spent
    with _timed(observer, number, "select", None) as spent:
        selected = _select(campaign, ranked)
    return _proposal(number, screened, ranked, selected, seconds | spent)


def tell(
    campaign: Campaign, workers: Workers, proposal: Proposal, observer: Observer, seconds: Mapping[str, float]
) -> RoundRecord:
    """Learn from a round's committed answers, taken in order of formula, and record the round."""
    number = proposal.round
    *_, learn_seed = round_seeds(campaign.config.seed, number)
    with _timed(observer, number, "learn", None) as learn_seconds:
        learned = _learn(campaign, workers, number, learn_seed)
    with _timed(observer, number, "record", None) as record_seconds:
        campaign.keep_models(number, learned)
    record = _record(campaign, proposal, learned, {**proposal.seconds, **seconds, **learn_seconds, **record_seconds})
    campaign.finish(record, learned)
    observer.round_finished(record)
    return record


def round_seeds(seed: int, number: int) -> list[np.random.SeedSequence]:
    """Independent streams of a round: generate, select, learn."""
    return np.random.SeedSequence(entropy=seed, spawn_key=(number,)).spawn(3)


def _candidates(
    campaign: Campaign, workers: Workers, observer: Observer, seed: np.random.SeedSequence, seconds: dict[str, float]
) -> Screened:
    config = campaign.config
    number = campaign.finished_rounds + 1
    seen = {row.formula for row in campaign.ledger.candidates() if row.status != "rejected"}
    context = ScreenContext(campaign.reference.known, seen)
    if config.candidates is not None:
        with _timed(observer, number, "screen", None) as spent:
            formulas = read_formulas(Path(config.candidates)) if number == 1 else []
            screened = annotate(formulas, config.candidates, context, config.constraints)
        seconds |= spent
        return screened
    options = SamplingOptions(config.constrained, config.constraints, config.temperature, top_p=config.top_p)
    with _timed(observer, number, "generate", config.candidates_per_round) as spent:
        samples = workers.generate(config.candidates_per_round, seed, options)
    seconds |= spent
    with _timed(observer, number, "screen", len(samples)) as spent:
        source = campaign.generator.version if campaign.generator is not None else ""
        screened = screen(samples, source, number, config.constraints, context)
    seconds |= spent
    return screened


def _open_pool(campaign: Campaign) -> list[RankedCandidate]:
    """Candidates of earlier rounds that were never asked for, the most desirable of them."""
    rows = [row for row in campaign.ledger.candidates() if row.status == "ranked"]
    if campaign.config.candidates is None:
        rows.sort(key=lambda row: (-(row.acquisition or 0.0), row.formula))
        rows = sorted(rows[: campaign.config.candidates_per_round], key=lambda row: row.formula)
    return [
        RankedCandidate(
            Candidate(row.formula, row.source, row.first_round, row.log_probability),
            Verdict(row.charge_neutral, row.electronegativity_balanced, True, "ok"),
        )
        for row in rows
    ]


def _measurable(campaign: Campaign, workers: Workers, candidates: Sequence[RankedCandidate]) -> list[RankedCandidate]:
    """Candidates with those marked as rejected that the oracle has no way to measure: they must not cost a call."""
    able = workers.can_measure([item.candidate.formula for item in candidates])
    reason = f"no structure for the oracle {campaign.config.oracle}"
    return [
        item if ok else dataclasses.replace(item, status="rejected", reason=reason)
        for item, ok in zip(candidates, able, strict=True)
    ]


def _rank(
    campaign: Campaign, workers: Workers, pool: Sequence[RankedCandidate], rng: np.random.Generator
) -> list[RankedCandidate]:
    """Every candidate with its estimate and acquisition value, in the order of `pool`."""
    open_items = [item for item in pool if item.status == "ranked"]
    formulas = [item.candidate.formula for item in open_items]
    found = looked(campaign, workers, formulas, _flagged(campaign, formulas, workers.predict(formulas)))
    prior = log_prior(campaign, workers, formulas)
    placed = np.array([estimate.energy_above_hull is not None for estimate in found], dtype=bool)
    mean = np.array([estimate.energy_above_hull if ok else np.inf for estimate, ok in zip(found, placed, strict=True)])
    std = np.hypot([estimate.std for estimate in found], campaign.config.scatter)
    best = campaign.best_energy()
    tolerance = campaign.config.tolerance
    values = np.full(len(found), -np.inf)
    if placed.any():
        beliefs = Beliefs(mean[placed], std[placed], tolerance if best is None else best, tolerance)
        weight = campaign.config.prior_weight
        if campaign.config.acquisition == JUDGED:
            chosen = [i for i, ok in enumerate(placed) if ok]
            asking = [formulas[i] for i in chosen]
            clues = clues_of(asking, [found[i] for i in chosen], prior[placed])
            odds, weight = judged_odds(campaign, workers, asking, clues)
            beliefs = dataclasses.replace(beliefs, log_odds=odds)
        values[placed] = score(campaign.config.acquisition, beliefs, prior[placed], weight, rng)
    ranked = {
        item.candidate.formula: _ranked(item, estimate, float(value), float(log_p))
        for item, estimate, value, log_p in zip(open_items, found, values, prior, strict=True)
    }
    return [ranked.get(item.candidate.formula, item) for item in pool]


def _flagged(campaign: Campaign, formulas: Sequence[str], found: Sequence[Estimate]) -> list[Estimate]:
    """Estimates that say, on a plain hull too, whether known phases of the chemical system have no measured energy."""
    hull, known = campaign.reference_hull, campaign.reference.known
    if isinstance(hull, CompletedHull):  # its estimates tell already
        return list(found)
    return [
        dataclasses.replace(estimate, unmeasured_phases=has_unmeasured_phases(hull, known, sorted(amounts(formula))))
        for formula, estimate in zip(formulas, found, strict=True)
    ]


def _ranked(item: RankedCandidate, estimate: Estimate, value: float, log_p: float) -> RankedCandidate:
    candidate = item.candidate if np.isnan(log_p) else dataclasses.replace(item.candidate, log_probability=log_p)
    if not np.isfinite(value):
        reason = "the reference has no energy for one of its elements"
        return dataclasses.replace(item, candidate=candidate, status="rejected", reason=reason)
    return dataclasses.replace(item, candidate=candidate, estimate=estimate, acquisition=value)


def _select(campaign: Campaign, ranked: Sequence[RankedCandidate]) -> dict[str, str]:
    """Selected formula -> why it was chosen, in the order to ask."""
    config = campaign.config
    items = [item for item in ranked if item.status == "ranked"]
    values = np.array([item.acquisition for item in items], dtype=np.float64)
    systems = [chemical_system(item.candidate.formula) for item in items]
    chosen = select_batch(values, systems, config.batch_size, config.max_per_system)
    rank = {index: place for place, index in enumerate(np.argsort(-values, kind="stable"), 1)}
    return {
        items[i].candidate.formula: f"rank {rank[i]} of {len(items)} by {config.acquisition}{_why(items[i], config)}"
        for i in chosen
    }


def _why(item: RankedCandidate, config: CampaignConfig) -> str:
    estimate, tolerance = item.estimate, config.tolerance
    if estimate is None or estimate.energy_above_hull is None:
        return ""
    std = np.hypot([estimate.std], config.scatter)
    beliefs = Beliefs(np.array([estimate.energy_above_hull]), std, 0.0, tolerance)
    probability = float(np.exp(probability_of_stability(beliefs, np.random.default_rng(0))[0]))
    likelihood = item.candidate.log_probability
    prior = "" if likelihood is None else f", log-likelihood {likelihood:.1f}"
    return f": P(within {tolerance:g} eV/atom) {probability:.2f}{prior}"


def _proposal(
    number: int,
    screened: Screened,
    ranked: Sequence[RankedCandidate],
    selected: Mapping[str, str],
    seconds: Mapping[str, float],
) -> Proposal:
    new = {item.candidate.formula for item in screened.accepted}
    late = Counter(item.reason for item in ranked if item.status == "rejected" and item.candidate.formula in new)
    candidates = [
        dataclasses.replace(item, status="selected", reason=selected[item.candidate.formula])
        if item.candidate.formula in selected
        else item
        for item in ranked
    ]
    return Proposal(
        round=number,
        generated=screened.generated,
        valid=screened.valid,
        novel=screened.novel,
        rejects=dict(sorted((Counter(screened.rejects) + late).items())),
        candidates=(*candidates, *screened.rejected),
        selected=tuple(selected),
        seconds=dict(seconds),
    )


def _validate(
    campaign: Campaign, workers: Workers, proposal: Proposal, observer: Observer, stopped: Callable[[], bool]
) -> None:
    todo = campaign.unanswered(proposal)
    done = len(proposal.selected) - len(todo)
    for answer in workers.validate(takewhile(lambda _: not stopped(), todo), campaign.config.budget):
        kept = campaign.accept(proposal.round, answer)
        done += 1
        observer.answered(kept)
        observer.stage_advanced("validate", done)


def _learn(campaign: Campaign, workers: Workers, number: int, seed: np.random.SeedSequence) -> Learned:
    replay_seed, lesson_seed = seed.spawn(2)
    new = campaign.labels_of(range(number, number + 1))
    good = _stable(campaign, campaign.answers_of(number)) if campaign.config.learn else []
    if not campaign.config.learn:
        new = dataclasses.replace(new, formulas=(), formation_energy_per_atom=np.empty(0), schemes=())
    known, held_out = campaign.known_compositions()
    replay = campaign.replay(number, np.random.default_rng(replay_seed))
    lesson = Lesson(new, replay, tuple(row.formula for row in good), known, held_out, lesson_seed)
    return workers.learn(lesson)


def _stable(campaign: Campaign, answers: Sequence[Measurement | Failure]) -> list[Measurement]:
    tolerance = campaign.config.tolerance
    rows = measurements(answers)
    return [row for row in rows if row.energy_above_hull is not None and row.energy_above_hull <= tolerance]


def _record(campaign: Campaign, proposal: Proposal, learned: Learned, seconds: Mapping[str, float]) -> RoundRecord:
    answers = campaign.answers_of(proposal.round)
    answered = {answer.formula for answer in answers}
    # Late answers, and those of candidates that were handed out beyond the batch, belong to the round they came in.
    beyond = [formula for formula in campaign.ledger.calls() if formula in answered - set(proposal.selected)]
    failures = Counter(answer.reason for answer in answers if isinstance(answer, Failure))
    return RoundRecord(
        round=proposal.round,
        generated=proposal.generated,
        valid=proposal.valid,
        novel=proposal.novel,
        selected=(*proposal.selected, *beyond),
        validated=len(measurements(answers)),
        failed=sum(failures.values()),
        stable=len(_stable(campaign, answers)),
        rejects=proposal.rejects,
        failures=dict(sorted(failures.items())),
        learning=learned.report,
        seconds=dict(seconds),
    )


@contextmanager
def _timed(observer: Observer, number: int, stage: str, total: int | None) -> Iterator[dict[str, float]]:
    """Announce a stage and measure its wall-clock seconds into the dictionary that it yields."""
    observer.stage_started(number, stage, total)
    start = time.monotonic()
    spent: dict[str, float] = {}
    yield spent
    spent[stage] = time.monotonic() - start
    observer.stage_finished(number, stage, spent[stage])
