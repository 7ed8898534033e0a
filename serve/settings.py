"""What the operator decides, read from the environment once at the start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from discovery.errors import ConfigError
from serve.tokens import Tokens

PREFIX = "DISCOVERY_"


@dataclass(frozen=True)
class Limits:
    """What the service takes on before it says no; a request beyond a limit costs next to nothing."""

    body_bytes: int = 4 * 2**20  # of one request: 413
    rate: float = 1000.0  # requests per second of one client, in the long run: 429
    burst: int = 2000  # requests of one client at once
    queue: int = 128  # requests for models that wait or are worked on: 503
    queue_work: int = 100_000  # samples and formulas in these requests together: 503
    streams: int = 64  # open event streams: 503
    hosts: int = 8  # campaigns that are open for work, asked or running; idle ones make room: 503
    running: int = 4  # campaigns that run at the same time: 429
    campaigns: int = 1000  # campaigns that are kept: 429


@dataclass(frozen=True)
class Settings:
    """The configuration of a service.

    Raises:
        ConfigError: a value outside of what is possible; the message names the variable.
    """

    home: Path  # everything that is kept
    ledger_url: str | None = None  # a database for all campaigns; None: SQLite in each campaign's folder
    tokens: Tokens = field(default_factory=Tokens)
    model: str = "gpt2"  # where a request names none
    surrogate: str = "ensemble"
    reference: str = "builtin"
    allowed_oracles: frozenset[str] = frozenset()  # `module:factory` names that requests may use
    lease_s: float = 3600.0  # seconds until a candidate that was handed out may be handed out again
    ask_wait_s: float = 20.0  # seconds that an ask waits for a new round before it answers 503
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if self.lease_s <= 0 or self.ask_wait_s < 0:
            raise ConfigError("DISCOVERY_LEASE_SECONDS and DISCOVERY_ASK_WAIT_SECONDS must be positive: 3600 and 20")

    @property
    def uploads(self) -> Path:
        """Files that requests may name."""
        return self.home / "uploads"

    @property
    def models(self) -> Path:
        """Model folders that requests may name, beside the shipped ones."""
        return self.home / "models"

    @property
    def campaigns(self) -> Path:
        """One folder per campaign."""
        return self.home / "campaigns"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """The settings in the variables `DISCOVERY_*`; see docs/service.md."""
        given = {name.removeprefix(PREFIX): value for name, value in environment.items() if name.startswith(PREFIX)}
        texts = {name.lower(): given[name] for name in ("MODEL", "SURROGATE", "REFERENCE") if given.get(name)}
        return cls(
            home=Path(given.get("HOME") or Path.home() / ".discovery").resolve(),
            ledger_url=given.get("LEDGER_URL") or None,
            tokens=Tokens.parse(given.get("API_TOKENS", "")),
            allowed_oracles=frozenset(name.strip() for name in given.get("ALLOWED_ORACLES", "").split(",") if name),
            lease_s=_number(given, "LEASE_SECONDS", cls.lease_s),
            ask_wait_s=_number(given, "ASK_WAIT_SECONDS", cls.ask_wait_s),
            limits=_limits(given),
            **texts,
        )


def _limits(given: Mapping[str, str]) -> Limits:
    whole = {
        "body_bytes": "BODY_BYTES",
        "burst": "BURST",
        "queue": "QUEUE",
        "queue_work": "QUEUE_WORK",
        "streams": "STREAMS",
        "hosts": "HOSTS",
        "running": "RUNNING",
        "campaigns": "CAMPAIGNS",
    }
    numbers = {field: int(_number(given, name, getattr(Limits, field))) for field, name in whole.items()}
    return Limits(**numbers, rate=_number(given, "RATE", Limits.rate))


def _number(given: Mapping[str, str], name: str, default: float) -> float:
    text = given.get(name, "")
    if not text:
        return default
    try:
        value = float(text)
    except ValueError as error:
        raise ConfigError(f"{PREFIX}{name} is {text!r}: give a number") from error
    if not 0 < value < float("inf"):
        raise ConfigError(f"{PREFIX}{name} is {text}: give a positive number")
    return value
