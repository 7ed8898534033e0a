"""Whatever a client sends: no answer outside of the OpenAPI document, no 5xx, and no campaign that it did not name.

`SCHEMATHESIS_CASES` sets the number of cases (about that many in all; 400 where it is not set).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import schemathesis
from hypothesis import strategies as st
from schemathesis.config import SchemathesisConfig
from schemathesis.core.result import Ok
from starlette.testclient import TestClient

from serve.web import make_app
from tests.serving import ORACLE, SMALL, WRITE, backend, home

CASES = int(os.environ.get("SCHEMATHESIS_CASES", "400"))
OPERATIONS = 15  # of the document that have something to vary
TOKEN = {"Authorization": f"Bearer {WRITE}"}
# 422: chemistry that no JSON schema tells, such as "no element is left". 503 is the answer to too much load.
CONFIG: dict[str, Any] = {
    "checks": {
        "positive_data_acceptance": {"expected-statuses": ["2xx", "401", "403", "404", "409", "422", "429"]},
        "unsupported_method": {"enabled": True},
    }
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    made = backend(home(tmp_path_factory.mktemp("home")))
    app = make_app(made)
    client = TestClient(app, headers=TOKEN)
    untouched = client.post("/v1/campaigns", json={**SMALL, "oracle": ORACLE}).json()["id"]
    handed = client.post(f"/v1/campaigns/{untouched}/ask", json={"n": 2}).json()["candidates"]
    used = client.post("/v1/campaigns", json=SMALL).json()["id"]
    yield {"app": app, "client": client, "untouched": untouched, "used": used, "handed": handed}
    made.close()


def state(client: TestClient, campaign_id: str) -> list[str]:
    place = f"/v1/campaigns/{campaign_id}"
    return [client.get(place + path).text for path in ("", "/rounds", "/candidates?limit=1000", "/events?follow=false")]


def small(case: schemathesis.Case, used: str) -> None:
    """Keep a case quick, and let it meet something that is there; what it tests is its shape."""
    if isinstance(case.query, dict) and case.path.endswith("/events"):
        case.query["follow"] = "false"
    parameters = case.path_parameters
    named = isinstance(parameters, dict) and case.method != "DELETE" and "campaign_id" in parameters
    if named and len(str(parameters["campaign_id"])) % 4:
        parameters["campaign_id"] = used
    body = case.body
    # What breaks the document stays as it is: made smaller, it might be right.
    if isinstance(body, dict) and case.meta.generation.mode is schemathesis.GenerationMode.POSITIVE:
        if body.get("reference") == "builtin":
            body["reference"] = "snapshot:reference.csv"  # the other one takes seconds to load
        for name, most in {"n": 50, "candidates_per_round": 50, "batch_size": 5, "rounds": 2}.items():
            if isinstance(body.get(name), int) and body[name] > most and body[name] <= 10_000:
                body[name] = most


def test_every_case_is_answered_within_the_document(service: dict[str, Any]) -> None:
    client, before = service["client"], state(service["client"], service["untouched"])
    config = SchemathesisConfig.from_dict(CONFIG)
    schema = schemathesis.openapi.from_asgi("/openapi.json", service["app"], headers=TOKEN, config=config)
    statuses: dict[int, int] = {}
    cases = 0
    for result in schema.get_all_operations():
        assert isinstance(result, Ok)
        operation = result.ok()
        each = -(-CASES // OPERATIONS)
        modes = schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE
        strategy = st.one_of(*(operation.as_strategy(generation_mode=mode) for mode in modes))

        @hypothesis.settings(
            max_examples=each,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(case=strategy)
        def check(case: schemathesis.Case) -> None:
            nonlocal cases
            small(case, service["used"])
            response = case.call_and_validate(headers=TOKEN, timeout=300)
            statuses[response.status_code] = statuses.get(response.status_code, 0) + 1
            cases += 1

        check()
    print(json.dumps({"cases": cases, "statuses": dict(sorted(statuses.items()))}))
    assert cases >= CASES // 2  # operations without parameters have one case alone
    assert not [status for status in statuses if status >= 500]
    assert state(client, service["untouched"]) == before
