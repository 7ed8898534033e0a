"""A campaign in Ray's metrics: every name begins with ``discovery_`` (Prometheus adds ``ray_`` in front)."""

from __future__ import annotations

from ray.util.metrics import Counter, Gauge, Histogram

from discovery.records import Failure, Measurement, Proposal, RoundRecord

ORACLE_SECONDS = [0.01, 0.1, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0]  # bounds of the histogram's bars


class MetricsObserver:
    """Records what happens as metrics of Ray, all with the tag `campaign`. Needs a connection to Ray.

    Args:
        campaign: name of the campaign.
        tolerance: eV/atom above the hull that still counts as stable.
    """

    def __init__(self, campaign: str, tolerance: float) -> None:
        self._campaign = campaign
        self._tolerance = tolerance
        self._validated = 0
        self._stable = 0
        own, stage = ("campaign",), ("campaign", "stage")
        self.round = Gauge("discovery_round", "Round that is running", own)
        self.stage_done = Gauge("discovery_stage_done", "Items of the running stage that are finished", stage)
        self.stage_total = Gauge("discovery_stage_total", "Items of the running stage", stage)
        # A counter: the sum of Ray's histograms is made from the middles of their bars.
        self.stage_seconds = Counter("discovery_stage_seconds", "Seconds spent in each stage", stage)
        self.candidates = Counter(
            "discovery_candidates",
            "Candidates by how far they came: generated, valid, novel, selected, validated, stable",
            ("campaign", "reached"),
        )
        self.rejects = Counter("discovery_rejects", "Candidates that a screen turned down", ("campaign", "reason"))
        self.failures = Counter("discovery_oracle_failures", "Oracle calls that gave no energy", ("campaign", "reason"))
        self.oracle_seconds = Histogram(
            "discovery_oracle_seconds", "Seconds of each oracle call", ORACLE_SECONDS, ("campaign", "oracle")
        )
        self.stable_share = Gauge(
            "discovery_stable_share", "Stable among all validated candidates of this process", own
        )
        self.best = Gauge(
            "discovery_best_energy_above_hull", "Lowest validated energy above hull of this process, eV/atom", own
        )
        self._best = float("inf")

    def stage_started(self, round_number: int, stage: str, total: int | None) -> None:
        """Show the round, and the stage at 0."""
        self.round.set(round_number, self._tags())
        self.stage_done.set(0, self._tags(stage=stage))
        if total is not None:
            self.stage_total.set(total, self._tags(stage=stage))

    def stage_advanced(self, stage: str, done: int) -> None:
        """Show how far the stage is."""
        self.stage_done.set(done, self._tags(stage=stage))

    def stage_finished(self, round_number: int, stage: str, seconds: float) -> None:
        """Record the stage's seconds."""
        del round_number  # a tag of its own would make a time series per round
        self._count(self.stage_seconds, seconds, stage=stage)

    def proposed(self, proposal: Proposal) -> None:
        """Count what was generated, and what became of it."""
        counts = {
            "generated": proposal.generated,
            "valid": proposal.valid,
            "novel": proposal.novel,
            "selected": len(proposal.selected),
        }
        for reached, count in counts.items():
            self._count(self.candidates, count, reached=reached)
        for reason, count in proposal.rejects.items():
            self._count(self.rejects, count, reason=reason)

    def answered(self, answer: Measurement | Failure) -> None:
        """Count an oracle call."""
        self.oracle_seconds.observe(answer.seconds, self._tags(oracle=answer.oracle or "unknown"))
        if isinstance(answer, Failure):
            self._count(self.failures, 1, reason=answer.reason)
            return
        self._validated += 1
        self._count(self.candidates, 1, reached="validated")
        if answer.energy_above_hull is not None:
            self._placed(answer.energy_above_hull)
        self.stable_share.set(self._stable / self._validated, self._tags())

    def round_finished(self, record: RoundRecord) -> None:
        """Nothing: its counts are known by now."""

    def _placed(self, energy_above_hull: float) -> None:
        self._best = min(self._best, energy_above_hull)
        self.best.set(self._best, self._tags())
        if energy_above_hull <= self._tolerance:
            self._stable += 1
            self._count(self.candidates, 1, reached="stable")

    def _count(self, counter: Counter, count: float, **tags: str) -> None:
        if count > 0:  # Ray refuses to count nothing
            counter.inc(count, self._tags(**tags))

    def _tags(self, **tags: str) -> dict[str, str]:
        return {"campaign": self._campaign, **tags}
