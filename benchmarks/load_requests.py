"""Requests that can be told apart, and what must come back: shared by the load generator and the judge of its log."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

METALS = re.findall("[A-Z][a-z]?", "LiNaKRbCsMgCaSrBaAlGaInScYLaTiZrHfVNbTaCrMoWMnFeCoNiCuAgZnCdSnPbBi")
ANIONS = re.findall("[A-Z][a-z]?", "OSSeTeFClBrINP")
COUNTS = 6  # atoms of each element, from 1
TOLERANCE = 1e-4  # eV/atom: what the grouping of formulas into batches may change in 32-bit arithmetic
PATHS = {"rank": "/v1/rank", "generate": "/v1/generate"}


@dataclass(frozen=True)
class Plan:
    """What the load generator does; written as JSON for its process."""

    url: str
    kind: str  # rank or generate
    clients: int
    seconds: float
    items: int  # formulas or samples of one request
    first: int = 0  # number of the first request
    rate: float | None = None  # requests a second of all clients together; None: each sends as soon as it is answered
    token: str | None = None
    log: str = ""  # file that gets one line for each request

    def to_json(self) -> str:
        """For `from_json`."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> Plan:
        """What `to_json` wrote."""
        return Plan(**json.loads(text))


@dataclass(frozen=True)
class Reply:
    """One line of the log."""

    number: int  # of the request: what was asked follows from it
    status: int  # of HTTP; 0 where no answer came
    began: float  # seconds since the start of the load
    seconds: float
    retry_after: bool  # the answer named a time to come back
    result: list[Any] = field(default_factory=list)  # of a success, shortened by `shortened`


def payload(kind: str, number: int, items: int) -> dict[str, Any]:
    """The body of request `number`; no two are alike."""
    if kind == "generate":
        return {"n": items, "seed": number, "constrained": True}
    return {"formulas": [formula(number * items + i) for i in range(items)]}


def formula(number: int) -> str:
    """The formula with that number, out of 2.6 million: three elements in fixed places, amounts from 1 to `COUNTS`."""
    rest, anion = divmod(number, len(ANIONS))
    rest, first = divmod(rest, len(METALS))
    rest, step = divmod(rest, len(METALS) - 1)
    second = (first + 1 + step) % len(METALS)  # never the first one
    amounts = [rest // COUNTS**place % COUNTS + 1 for place in range(3)]
    symbols = (METALS[first], METALS[second], ANIONS[anion])
    return "".join(f"{symbol}{amount}" for symbol, amount in zip(symbols, amounts, strict=True))


def shortened(kind: str, body: Any) -> list[Any]:
    """What is kept of an answer: [formula, energy] pairs of a ranking; number and digest of generated formulas."""
    if kind == "rank":
        rows = body["results"] if isinstance(body, dict) else body
        return [[row.get("formula"), row.get("formation_energy_per_atom")] for row in rows]
    formulas = [row["formula"] for row in body["candidates"]]
    return [len(formulas), hashlib.sha256(json.dumps(formulas).encode()).hexdigest()]


def read_log(path: Path) -> list[Reply]:
    """All replies, in the order in which they came."""
    with path.open(encoding="utf-8") as file:
        return [Reply(**json.loads(line)) for line in file]


def mistakes(plan: Plan, replies: Sequence[Reply], expected: Mapping[int, list[Any]]) -> list[str]:
    """What went wrong with the answers: lost, answered twice, or another one's; empty if nothing did.

    Args:
        plan: that the replies belong to.
        replies: of all requests.
        expected: shortened answers by the number of the request, as computed in process, of some of them.
    """
    numbers = [reply.number for reply in replies]
    found = [f"request {number} has two answers" for number, times in sorted(Counter(numbers).items()) if times > 1]
    if lost := sorted(set(range(plan.first, plan.first + len(set(numbers)))) - set(numbers)):
        found.append(f"requests {lost} have no answer")
    successes = [reply for reply in replies if reply.status == 200]
    found += [f"request {r.number} got the answer of another one" for r in successes if not _right(plan, r, expected)]
    if plan.kind == "generate":
        digests = [reply.result[1] for reply in successes]
        found += ["two seeds gave the same samples"] * (len(digests) - len(set(digests)))
    return found


def _right(plan: Plan, reply: Reply, expected: Mapping[int, list[Any]]) -> bool:
    known = expected.get(reply.number)
    if plan.kind == "generate":
        return reply.result[0] == plan.items and known in (None, reply.result)
    asked = payload("rank", reply.number, plan.items)["formulas"]
    if [row[0] for row in reply.result] != asked:
        return False
    pairs = zip(reply.result, known or [], strict=False)
    return all(abs(row[1] - other[1]) <= TOLERANCE for row, other in pairs)
