"""A service in memory for tests of its clients: leases, tells and idempotency keys as the interface says; no HTTP."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import httpx

CAMPAIGN = "c1"


@dataclass
class SmallService:
    """One campaign whose candidates are a fixed list; every request is noted."""

    formulas: list[str]
    requests: list[tuple[str, str]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    labels: dict[str, dict[str, object]] = field(default_factory=dict)  # formula -> first answer
    keys: set[str] = field(default_factory=set)
    leased: list[int] = field(default_factory=list)  # unanswered ones, after each ask
    statuses: list[str] = field(default_factory=list)  # of all tells, in order

    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self.handle)

    def handle(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        self.requests.append((request.method, path))
        body = json.loads(request.content or b"null")
        if path.endswith("/ask"):
            return self._ask(body["n"])
        if path.endswith("/tell"):
            return httpx.Response(200, json={"results": [self._tell(label) for label in body]})
        if path == "/v1/campaigns" and request.method == "POST":
            return httpx.Response(201, json={"id": CAMPAIGN, **body})
        return httpx.Response(404, json={"title": "Not found", "detail": f"no {path}: list the campaigns"})

    def _ask(self, n: int) -> httpx.Response:
        free = [formula for formula in self.formulas if formula not in self.asked][:n]
        self.asked += free
        self.leased.append(len(self.asked) - len(self.labels))
        rows = [
            {
                "id": f"id-{formula}",
                "formula": formula,
                "predicted_energy_above_hull": 0.01,
                "std": 0.02,
                "acquisition": -1.0,
                "reason": "rank 1",
                "lease_expires_at": "2026-01-01T00:00:00+00:00",
                "of_a_later_version": True,
            }
            for formula in free
        ]
        return httpx.Response(200, json={"candidates": rows})

    def _tell(self, label: dict[str, object]) -> dict[str, object]:
        formula = str(label.get("formula") or str(label["candidate_id"]).removeprefix("id-"))
        key = str(label["idempotency_key"])
        status = "duplicate" if key in self.keys else "conflict" if formula in self.labels else "accepted"
        self.keys.add(key)
        self.labels.setdefault(formula, label)
        self.statuses.append(status)
        return {"candidate_id": label.get("candidate_id"), "formula": formula, "status": status, "detail": None}
