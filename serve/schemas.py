"""What requests and answers look like: the source of the OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from discovery.acquisition import ACQUISITIONS
from discovery.config import CampaignConfig
from discovery.constraints import Constraints
from discovery.generators.base import SamplingOptions
from discovery.labels import MAX_ABS_ENERGY
from discovery.oracles.base import Budget

MAX_SAMPLES = 10_000  # of one request
MAX_FORMULAS = 10_000  # of one request
MAX_LABELS = 1000  # of one request
MAX_SEED = 2**53 - 1  # what every JSON reader keeps exact

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"  # a bare name: it cannot leave its folder
ONE_ACQUISITION: dict[str, Any] = {"enum": sorted(ACQUISITIONS)}
TEXT = r"^[^\x00-\x1f\x7f]*$"  # no control characters
Name = Annotated[str, Field(pattern=NAME, max_length=100)]
Line = Annotated[str, Field(pattern=TEXT, max_length=200)]
Symbol = Annotated[str, Field(pattern=r"^[A-Z][a-z]?$")]
Symbols = Annotated[list[Symbol], Field(max_length=103)]
Energy = Annotated[float, Field(ge=-MAX_ABS_ENERGY, le=MAX_ABS_ENERGY, allow_inf_nan=False)]
Tolerance = Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)]
Temperature = Annotated[float, Field(ge=0.01, le=10, allow_inf_nan=False)]
Reference = Annotated[str, Field(pattern=r"^(builtin|snapshot:[A-Za-z0-9][A-Za-z0-9._-]{0,99})$")]
Formula = Annotated[str, Field(min_length=1, max_length=200)]


class Strict(BaseModel):
    """A request: unknown keys are errors, so that a misspelt one is noticed; numbers are not made of texts."""

    model_config = ConfigDict(extra="forbid", strict=True)


class GenerateRequest(Strict):
    """What to sample."""

    n: int = Field(100, ge=1, le=MAX_SAMPLES)
    model: Name | None = Field(None, description="a name of GET /v1/models; null: the service's default")
    seed: int = Field(0, ge=0, le=MAX_SEED)
    constrained: bool = True
    temperature: Temperature = 1.0
    elements: Symbols | None = Field(None, description="only these may occur")
    exclude_elements: Symbols | None = Field(None, description="none of these may occur")
    chemsys: str | None = Field(None, max_length=100, description="exactly these elements, such as Li-Fe-O")
    max_atoms: int = Field(default=30, ge=2, le=30)
    max_elements: int = Field(default=8, ge=2, le=8)

    def options(self) -> SamplingOptions:
        """The same as the domain knows it."""
        excluded = frozenset(self.exclude_elements or ())
        if self.chemsys is not None:
            constraints = Constraints.from_chemical_system(
                self.chemsys, excluded=excluded, max_atoms=self.max_atoms, max_elements=self.max_elements
            )
        else:
            allowed = None if self.elements is None else frozenset(self.elements)
            constraints = Constraints(
                allowed=allowed, excluded=excluded, max_atoms=self.max_atoms, max_elements=self.max_elements
            )
        return SamplingOptions(self.constrained, constraints, self.temperature)


class Sampled(BaseModel):
    """One raw sample."""

    formula: str | None = Field(description="null where the sequence is no composition")
    log_probability: float
    charge_neutral: bool
    electronegativity_balanced: bool
    known: bool


class GenerateAnswer(BaseModel):
    """Raw samples, in the order in which they were drawn."""

    candidates: list[Sampled]
    model_version: str


class RankRequest(Strict):
    """What to rank."""

    formulas: list[Annotated[str, Field(max_length=200)]] = Field(min_length=1, max_length=MAX_FORMULAS)
    scheme: Line | None = Field(None, description="null: the reference's")
    reference: Reference | None = Field(None, description="null: the service's default")
    tolerance: Tolerance = 0.1


class Ranked(BaseModel):
    """The estimate of one formula, eV/atom, or its error."""

    formula: str
    formation_energy_per_atom: float | None = None
    formation_energy_std: float | None = None
    energy_above_hull: float | None = Field(None, description="signed: negative is stable, and by how much")
    probability_stable: float | None = None
    competing_phases: list[str] | None = None
    error: str | None = None


class ConstraintsRequest(Strict):
    """Limits of the compositions; see `discovery.constraints`."""

    allowed: Symbols | None = None
    required: Symbols = []
    excluded: Symbols = []
    exact_system: bool = False
    max_atoms: int = Field(default=30, ge=2, le=30)
    max_elements: int = Field(default=8, ge=2, le=8)
    intermetallics: bool = False
    mixed_valence: bool = False

    def constraints(self) -> Constraints:
        """The same as the domain knows it."""
        return Constraints(
            allowed=None if self.allowed is None else frozenset(self.allowed),
            required=frozenset(self.required),
            excluded=frozenset(self.excluded),
            **self.model_dump(exclude={"allowed", "required", "excluded"}),
        )


class BudgetRequest(Strict):
    """Limits of one oracle call."""

    max_steps: int = Field(default=60, ge=1, le=10_000)
    max_relaxations: int = Field(default=3, ge=1, le=100)
    max_seconds: Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)] | None = None


class CampaignRequest(Strict):
    """A campaign's configuration, as in the loop; every field may be left out."""

    name: Line = ""
    rounds: int = Field(CampaignConfig.rounds, ge=1, le=1000)
    seed: int = Field(0, ge=0, le=MAX_SEED)
    candidates_per_round: int = Field(CampaignConfig.candidates_per_round, ge=1, le=20_000)
    batch_size: int = Field(CampaignConfig.batch_size, ge=1, le=1000)
    model: Name | None = Field(None, description="null: the service's default")
    surrogate: Name | None = Field(None, description="null: the service's default")
    candidates: Name | None = Field(None, description="a file in the service's uploads, in the generator's place")
    oracle: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._:-]{0,199}$")] = Field(
        "chgnet", description="chgnet, external (ask and tell), table:NAME of an upload, or one the operator allows"
    )
    scheme: Line | None = None
    reference: Reference | None = Field(None, description="null: the service's default")
    acquisition: str = Field(CampaignConfig.acquisition, json_schema_extra=ONE_ACQUISITION)
    prior_weight: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] = CampaignConfig.prior_weight
    tolerance: Tolerance = CampaignConfig.tolerance
    max_per_system: int = Field(CampaignConfig.max_per_system, ge=1, le=1000)
    constrained: bool = True
    temperature: Temperature = 1.0
    learn: bool = True
    complete_hull: bool = True
    workers: int | None = Field(None, ge=1, le=64)
    local: bool = Field(False, description="run in one process, without workers of its own")
    threads: int = Field(1, ge=1, le=64)
    constraints: ConstraintsRequest = ConstraintsRequest()
    budget: BudgetRequest = BudgetRequest()

    def budget_value(self) -> Budget:
        """The budget as the domain knows it."""
        return Budget(**self.budget.model_dump())


class Counts(BaseModel):
    """How many candidates came how far."""

    generated: int
    valid: int
    novel: int
    asked: int
    validated: int
    failed: int
    stable: int


class Summary(BaseModel):
    """A campaign in short."""

    id: str
    name: str
    status: Literal["idle", "running", "stopping", "finished", "failed"]
    error: str | None
    created_at: str
    rounds: int
    rounds_finished: int
    oracle: str
    scheme: str
    reference: str
    reference_false_stable_rate: float | None
    tolerance: float
    counts: Counts


class Best(BaseModel):
    """A validated candidate; energies in eV/atom."""

    formula: str
    energy_above_hull: float | None
    predicted_energy_above_hull: float | None
    std: float | None
    structure: str | None


class Detail(Summary):
    """A campaign with its configuration and its best finds."""

    config: dict[str, Any]
    best: list[Best]
    ended: str


class Campaigns(BaseModel):
    """All campaigns, the newest first."""

    campaigns: list[Summary]


class RunRequest(Strict):
    """How many more rounds to run."""

    rounds: int = Field(1, ge=1, le=1000)


class AskRequest(Strict):
    """How many candidates to hand out."""

    n: int = Field(1, ge=1, le=1000)


class Asked(BaseModel):
    """A candidate that was handed out; energies in eV/atom."""

    id: str
    formula: str
    predicted_energy_above_hull: float | None
    std: float | None
    acquisition: float | None
    reason: str
    structure: str | None = None
    lease_expires_at: str


class AskAnswer(BaseModel):
    """What was handed out, and why it is less than was asked for."""

    candidates: list[Asked]
    reason: str | None = None


class Report(Strict):
    """What was found for one candidate: a label, or a failure."""

    candidate_id: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    formula: Formula | None = None
    energy_above_hull: Energy | None = Field(None, description="signed, eV/atom; accepted in any scheme")
    formation_energy_per_atom: Energy | None = Field(None, description="eV/atom, elements at 0")
    scheme: Annotated[str, Field(min_length=1, max_length=200, pattern=TEXT)] | None = None
    std: Annotated[float, Field(ge=0, le=MAX_ABS_ENERGY, allow_inf_nan=False)] | None = None
    source: Annotated[str, Field(min_length=1, max_length=200, pattern=TEXT)] | None = None
    idempotency_key: Annotated[str, Field(min_length=1, max_length=200, pattern=TEXT)] | None = None
    failure: Annotated[str, Field(min_length=1, max_length=200, pattern=TEXT)] | None = None

    @model_validator(mode="after")
    def _is_one_thing(self) -> Report:
        if self.candidate_id is None and self.formula is None:
            raise ValueError("give candidate_id or formula")
        labelled = self.energy_above_hull is not None or self.formation_energy_per_atom is not None
        if labelled == (self.failure is not None):
            raise ValueError("give energy_above_hull or formation_energy_per_atom, or else failure")
        if labelled and (self.scheme is None or self.source is None):
            raise ValueError("an energy needs its scheme and its source, such as gpaw-pbe and the laboratory's name")
        return self


class Result(BaseModel):
    """What became of one report."""

    candidate_id: str | None
    formula: str | None
    status: Literal["accepted", "duplicate", "conflict", "kept_apart", "rejected"]
    detail: str


class TellAnswer(BaseModel):
    """One result per report, in their order."""

    results: list[Result]


class Rounds(BaseModel):
    """Finished rounds, as the loop records them."""

    rounds: list[dict[str, Any]]


class CandidatesPage(BaseModel):
    """A part of the table of candidates, with the columns of candidates.csv."""

    candidates: list[dict[str, Any]]
    next_cursor: str | None


class ProblemDetails(BaseModel):
    """RFC 9457; `detail` says what to do next."""

    type: str
    title: str
    status: int
    detail: str
    instance: str | None = None
    errors: list[dict[str, Any]] | None = None
