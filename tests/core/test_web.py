"""The interface in one process: every route, and who is let in."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from discovery.campaign import Campaign
from discovery.composition import amounts
from serve.backend import Backend
from serve.settings import Limits
from serve.web import make_app
from tests.serving import ORACLE, READ, SMALL, WRITE, backend, home, settings
from tests.small import SCHEME, formula_energy

PROBLEM = "application/problem+json"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    made = backend(home(tmp_path_factory.mktemp("home")))
    yield made
    made.close()


def client_of(service: Backend, token: str | None = WRITE, **options: Any) -> TestClient:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return TestClient(make_app(service), headers=headers, **options)


@pytest.fixture(scope="module")
def client(service: Backend) -> TestClient:
    return client_of(service)


def settled(client: TestClient, place: str) -> dict[str, Any]:
    """The campaign once it does not run any more."""
    deadline = time.monotonic() + 120
    while (found := client.get(place).json())["status"] in ("running", "stopping"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    result: dict[str, Any] = found
    return result


@pytest.fixture(scope="module")
def finished(client: TestClient) -> str:
    """Where a campaign lies that ran its two rounds."""
    made = client.post("/v1/campaigns", json={**SMALL, "oracle": ORACLE, "learn": False})
    place: str = made.headers["location"]
    assert client.post(f"{place}/run", json={"rounds": 2}).status_code == 202
    assert settled(client, place)["status"] == "finished"
    return place


def test_generate_is_the_same_for_the_same_seed(client: TestClient) -> None:
    first, second, other = (
        client.post("/v1/generate", json={"n": 8, "seed": seed, "elements": ["Li", "O", "F"]}).json()
        for seed in (1, 1, 2)
    )
    assert first == second != other
    assert len(first["candidates"]) == 8
    assert set(first["candidates"][0]) == {
        "formula",
        "log_probability",
        "charge_neutral",
        "electronegativity_balanced",
        "known",
    }
    assert first["model_version"].startswith("gpt2-")


def test_rank_answers_row_by_row(client: TestClient) -> None:
    good, bad = client.post("/v1/rank", json={"formulas": ["MgF2", "Qq"]}).json()
    assert good["formula"] == "MgF2"
    assert 0 <= good["probability_stable"] <= 1
    assert set(bad) == {"formula", "error"}
    refused = client.post("/v1/rank", json={"formulas": ["MgF2"], "scheme": "pbe"})
    assert refused.status_code == 422
    assert SCHEME in refused.json()["detail"]


def test_ask_and_tell_over_http(client: TestClient) -> None:
    place = client.post("/v1/campaigns", json={**SMALL, "rounds": 1}).headers["location"]
    handed = client.post(f"{place}/ask", json={"n": 3}).json()["candidates"]
    assert len(handed) == 3
    reports = [
        {
            "candidate_id": one["id"],
            "formation_energy_per_atom": formula_energy(one["formula"]),
            "scheme": SCHEME,
            "source": "lab",
        }
        for one in reversed(handed)
    ]
    results = client.post(f"{place}/tell", json=reports).json()["results"]
    assert [result["status"] for result in results] == ["accepted"] * 3
    assert [result["candidate_id"] for result in results] == [one["id"] for one in reversed(handed)]
    last = client.post(f"{place}/ask", json={"n": 1}).json()  # waits until the round is learned
    assert last == {"candidates": [], "reason": "all 1 rounds are finished"}
    assert client.get(place).json()["status"] == "finished"
    assert client.get(f"{place}/rounds").json()["rounds"][0]["validated"] == 3
    assert client.post(f"{place}/run", json={}).status_code == 409


def test_a_run_is_seen_in_all_its_shapes(client: TestClient, finished: str) -> None:
    detail = client.get(finished).json()
    assert detail["rounds_finished"] == 2
    assert detail["counts"]["asked"] == detail["counts"]["validated"] + detail["counts"]["failed"] == 6
    assert detail["config"]["reference"] == "snapshot:reference.csv"
    assert len(client.get(f"{finished}/rounds").json()["rounds"]) == 2
    table = client.get(f"{finished}/candidates.csv")
    rows = list(csv.DictReader(io.StringIO(table.text)))
    assert table.headers["content-type"].startswith("text/csv")
    pages, cursor = [], None
    while True:
        query = {"limit": 7} | ({} if cursor is None else {"cursor": cursor})
        page = client.get(f"{finished}/candidates", params=query).json()
        pages += page["candidates"]
        if (cursor := page["next_cursor"]) is None:
            break
    assert [row["formula"] for row in pages] == [row["formula"] for row in rows]
    stable = client.get(f"{finished}/candidates?stable=true").json()["candidates"]
    assert len(stable) == detail["counts"]["stable"]
    report = client.get(f"{finished}/report")
    assert "validated compounds lie within" in report.text
    assert "unsafe-inline" in report.headers["content-security-policy"]
    assert client.get(f"{finished}/structures/LiF.cif").status_code == 404


def test_events_have_increasing_ids_and_resume(client: TestClient, finished: str) -> None:
    text = client.get(f"{finished}/events?follow=false").text
    events = [dict(line.split(": ", 1) for line in block.splitlines()) for block in text.strip().split("\n\n")]
    ids = [int(event["id"]) for event in events]
    assert ids == sorted(set(ids))
    kinds = {event["event"] for event in events}
    assert kinds == {"stage", "answer", "round", "status"}
    assert sum(event["event"] == "answer" for event in events) == 6
    assert json.loads(events[-1]["data"])["status"] == "finished"
    rest = client.get(f"{finished}/events?follow=false", headers={"Last-Event-ID": str(ids[-2])}).text
    assert rest.startswith(f"id: {ids[-1]}\n")


def test_streams_beyond_the_limit_are_refused_before_their_first_byte(service: Backend, client: TestClient) -> None:
    place = client.post("/v1/campaigns", json=SMALL).headers["location"]
    with contextlib.ExitStack() as held:
        for _ in range(service.settings.limits.streams):
            held.enter_context(service.streams.admit())
        refused = client.get(f"{place}/events?follow=false")
        assert refused.status_code == 503
        assert int(refused.headers["Retry-After"]) > 0
        assert refused.json()["status"] == 503
    assert client.get(f"{place}/events?follow=false").status_code == 200
    assert service.streams.inside == 0


def test_a_run_can_be_stopped_and_goes_on(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORACLE_SECONDS", "0.5")
    body = {**SMALL, "oracle": ORACLE, "rounds": 1, "batch_size": 8, "learn": False}
    place = client.post("/v1/campaigns", json=body).headers["location"]
    client.post(f"{place}/run", json={"rounds": 1})
    assert client.post(f"{place}/run", json={"rounds": 1}).status_code == 409
    assert client.delete(place).status_code == 409
    while client.get(place).json()["counts"]["validated"] == 0:
        time.sleep(0.05)
    assert client.post(f"{place}/stop").status_code == 202
    stopped = settled(client, place)
    assert stopped["status"] == "idle"
    assert 0 < stopped["counts"]["validated"] < 8
    assert stopped["ended"] == "stopped"
    monkeypatch.setenv("ORACLE_SECONDS", "0")
    client.post(f"{place}/run", json={"rounds": 1})
    assert settled(client, place)["counts"]["validated"] == 8


def test_what_others_have_is_not_run(client: TestClient) -> None:
    place = client.post("/v1/campaigns", json={**SMALL, "oracle": ORACLE}).headers["location"]
    client.post(f"{place}/ask", json={"n": 1})
    refused = client.post(f"{place}/run", json={"rounds": 1})
    assert refused.status_code == 409
    assert "handed out" in refused.json()["detail"]


def test_a_deleted_campaign_is_gone(client: TestClient, service: Backend) -> None:
    place = client.post("/v1/campaigns", json=SMALL).headers["location"]
    client.post(f"{place}/ask", json={"n": 1})
    assert client.delete(place).status_code == 204
    assert client.get(place).status_code == client.delete(place).status_code == 404
    assert not (service.settings.campaigns / place.rpartition("/")[2]).exists()


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/campaigns", {"candidates": "../../etc/passwd"}),
        ("/v1/campaigns", {"candidates": "absent.csv"}),
        ("/v1/campaigns", {"oracle": "table:/etc/passwd"}),
        ("/v1/campaigns", {"oracle": "os:getcwd"}),
        ("/v1/campaigns", {"reference": "snapshot:../reference.csv"}),
        ("/v1/campaigns", {"model": "/tmp"}),
        ("/v1/campaigns", {"acquisition": "luck"}),
        ("/v1/campaigns", {"colour": "blue"}),
        ("/v1/campaigns", {"constraints": {"allowed": ["Qq"]}}),
        ("/v1/generate", {"n": 0}),
        ("/v1/generate", {"n": 3, "elements": ["He"]}),
        ("/v1/rank", {"formulas": []}),
    ],
)
def test_bad_requests_are_problems_that_say_what_to_do(client: TestClient, path: str, body: dict[str, Any]) -> None:
    answer = client.post(path, json=body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == PROBLEM
    problem = answer.json()
    assert problem["status"] == 422
    assert len(problem["detail"]) > 20


def test_a_misspelt_query_parameter_is_not_ignored(client: TestClient, finished: str) -> None:
    answer = client.get(f"{finished}/candidates?stabel=true")
    assert answer.status_code == 422
    assert answer.headers["content-type"] == PROBLEM
    assert "['stabel']" in answer.json()["detail"]
    assert "stable" in answer.json()["detail"].partition("known are")[2]
    assert client.get("/v1/models?x").status_code == 422


def test_links_out_of_the_uploads_are_not_followed(client: TestClient, service: Backend, tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("formula\nNaCl\n")
    link = service.settings.uploads / "link.csv"
    link.symlink_to(secret)
    answer = client.post("/v1/campaigns", json={**SMALL, "candidates": "link.csv"})
    link.unlink()
    assert answer.status_code == 422


def test_roles(service: Backend) -> None:
    nobody, reader, stranger = client_of(service, None), client_of(service, READ), client_of(service, "x" * 20)
    for one in (nobody, stranger):
        refused = one.get("/v1/campaigns")
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"].startswith("Bearer")
    assert nobody.get("/healthz").status_code == 200
    assert nobody.get("/optimade/v1/structures").status_code == nobody.get("/metrics").status_code == 401
    assert reader.get("/v1/campaigns").status_code == 200
    assert reader.post("/v1/generate", json={"n": 1}).status_code == 200
    assert reader.post("/v1/campaigns", json={}).status_code == 403


def test_without_tokens_only_this_machine_is_served(tmp_path: Path) -> None:
    open_here = backend(home(tmp_path), tokens=type(settings(tmp_path).tokens)())

    def status(address: str, host: str, **headers: str) -> int:
        one = TestClient(make_app(open_here), base_url=f"http://{host}", client=(address, 1), headers=headers)
        return one.get("/healthz").status_code

    assert (
        status("127.0.0.1", "127.0.0.1:8000") == status("127.0.0.1", "localhost") == status("::1", "[::1]:8000") == 200
    )
    assert status("192.0.2.7", "127.0.0.1:8000") == 403  # from elsewhere
    assert status("127.0.0.1", "evil.example") == 403  # a name that was pointed here
    assert status("127.0.0.1", "127.0.0.1", **{"X-Forwarded-For": "192.0.2.7"}) == 403  # through a proxy


def test_bodies_and_rates_are_bounded(tmp_path: Path) -> None:
    tight = backend(home(tmp_path), limits=Limits(body_bytes=1000, rate=0.001, burst=3))
    client = client_of(tight)
    large = client.post("/v1/rank", content=b"x" * 2000, headers={"Content-Type": "application/json"})
    assert large.status_code == 413
    chunked = client.post("/v1/rank", content=iter([b"x" * 600] * 3))
    assert chunked.status_code == 413
    for _ in range(3):
        assert client.get("/healthz").status_code == 200
    refused = client.get("/healthz")
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) >= 1


def test_a_full_queue_answers_503(service: Backend, client: TestClient) -> None:
    with service.gate.admit(service.settings.limits.queue_work):
        refused = client.post("/v1/generate", json={"n": 1})
    assert refused.status_code == 503
    assert refused.headers["content-type"] == PROBLEM
    assert "retry-after" in refused.headers
    assert client.post("/v1/generate", json={"n": 1}).status_code == 200


def test_security_headers_and_documentation(client: TestClient) -> None:
    page = client.get("/docs")
    assert page.status_code == 200
    assert "POST /v1/campaigns/{campaign_id}/tell" in page.text
    assert "http" not in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"
    assert client.get("/openapi.json").json()["openapi"].startswith("3.1")
    missing = client.get("/v1/nothing")
    assert (missing.status_code, missing.headers["content-type"]) == (404, PROBLEM)
    assert client.put("/v1/generate").status_code == 405


def test_metrics_count_requests_and_campaigns(client: TestClient, finished: str) -> None:
    text = client.get("/metrics").text
    name = finished.rpartition("/")[2]
    assert f'discovery_campaign_rounds{{campaign="{name}"}} 2.0' in text
    assert f'discovery_campaign_candidates{{campaign="{name}",reached="asked"}} 6.0' in text
    assert 'route="/v1/campaigns/{campaign_id}"' in text


def test_models_name_the_defaults(client: TestClient) -> None:
    found = client.get("/v1/models").json()
    assert [one["name"] for one in found["generators"] if one["default"]] == ["generator"]
    assert [one["name"] for one in found["surrogates"] if one["default"]] == ["surrogate"]
    assert ORACLE in found["oracles"]
    assert found["uploads"] == ["reference.csv"]


def test_validated_structures_are_an_optimade_provider(
    client: TestClient, service: Backend, finished: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = service.store.view(finished.rpartition("/")[2])
    formula = next(row["formula"] for row in view.candidates(None, "validated", 10, None)["candidates"])
    _give_structure(view.campaign, formula)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the package
        answer = client.get(
            "/optimade/v1/structures", params={"filter": f'chemical_formula_reduced="{_optimade(formula)}"'}
        )
        info = client.get("/optimade/v1/info/structures")
        other = client.get("/optimade/v1/structures", params={"filter": 'elements HAS "Xe"'})
    assert answer.status_code == info.status_code == 200
    [entry] = answer.json()["data"]
    assert entry["id"] == f"{view.id}/{formula}"
    assert entry["attributes"]["nsites"] == sum(amounts(formula).values())
    assert isinstance(entry["attributes"]["_discovery_energy_above_hull"], float)
    assert "_discovery_energy_above_hull" in info.json()["data"]["properties"]
    assert other.json()["data"] == []


def _optimade(formula: str) -> str:
    return "".join(f"{symbol}{count if count > 1 else ''}" for symbol, count in sorted(amounts(formula).items()))


def _give_structure(campaign: Campaign, formula: str) -> None:
    """Put a crystal of that composition into the ledger, as a relaxing oracle would have."""
    import sqlalchemy as sa
    from pymatgen.core import Lattice, Structure

    from discovery.ledger import ANSWERS

    sites = [symbol for symbol, count in amounts(formula).items() for _ in range(count)]
    coordinates = [[place / len(sites), place / len(sites), 0.1] for place in range(len(sites))]
    cif = str(Structure(Lattice.cubic(5.0), sites, coordinates).to(fmt="cif"))
    with campaign.ledger.transaction() as connection:
        row = connection.execute(sa.select(ANSWERS.c.answer).where(ANSWERS.c.formula == formula)).scalar_one()
        connection.execute(ANSWERS.update().where(ANSWERS.c.formula == formula).values(answer={**row, "cif": cif}))


def test_a_service_that_starts_again_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORACLE_SECONDS", "0.3")
    folder = home(tmp_path)
    first = backend(folder)
    client = client_of(first)
    place = client.post("/v1/campaigns", json={**SMALL, "oracle": ORACLE, "rounds": 1, "learn": False}).headers[
        "location"
    ]
    client.post(f"{place}/run", json={"rounds": 1})
    while client.get(place).json()["counts"]["validated"] == 0:
        time.sleep(0.02)
    first.close()
    assert client.get(place).json()["status"] == "running"  # as the next service finds it
    second = backend(folder)
    client = client_of(second)
    assert settled(client, place)["status"] == "finished"
    assert client.get(place).json()["counts"]["asked"] == 3
    second.close()


def test_idle_campaigns_make_room(tmp_path: Path) -> None:
    narrow = backend(home(tmp_path), limits=Limits(hosts=1))
    client = client_of(narrow)
    first, second = (client.post("/v1/campaigns", json=SMALL).headers["location"] for _ in range(2))
    for place in (first, second, first):
        assert client.post(f"{place}/ask", json={"n": 1}).status_code == 200
    narrow.close()
