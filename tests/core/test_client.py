"""The client against a small service in memory, and the command on top of it."""

import csv

import httpx
import pytest

from discovery import client as client_module
from discovery.client import Client, Label
from discovery.errors import ConfigError, DataError, ServiceError
from discovery.messages import parse_events, read_labels
from tests.core.small_service import CAMPAIGN, SmallService


@pytest.fixture
def small():
    return SmallService(["NaCl", "MgO", "NaN"])


@pytest.fixture
def service(small):
    with Client("http://127.0.0.1:1", transport=small.transport()) as opened:
        yield opened


def label(formula, energy=0.02, **others):
    return Label(candidate_id=f"id-{formula}", energy_above_hull=energy, scheme="my-dft", **others)


def test_ask_and_tell(small, service):
    campaign = service.create(oracle="external", batch_size=2)["id"]
    asked = service.ask(campaign, 2)
    assert [one.formula for one in asked] == ["NaCl", "MgO"]
    assert [one.formula for one in service.ask(campaign, 5)] == ["NaN"]
    results = service.tell(campaign, [label("MgO"), Label(formula="NaCl", failure="furnace broke")])
    assert [(one.formula, one.status) for one in results] == [("MgO", "accepted"), ("NaCl", "accepted")]
    assert small.labels["NaCl"]["failure"] == "furnace broke"


def test_the_same_answer_has_the_same_key_and_another_one_another(service):
    service.tell(CAMPAIGN, [label("MgO")])
    assert service.tell(CAMPAIGN, [label("MgO")])[0].status == "duplicate"
    assert service.tell(CAMPAIGN, [label("MgO", 0.03)])[0].status == "conflict"
    assert label("MgO").body("c1")["idempotency_key"] != label("MgO").body("c2")["idempotency_key"]


@pytest.mark.parametrize(
    "fields",
    [
        {"energy_above_hull": 0.1, "scheme": "x"},
        {"formula": "MgO"},
        {"formula": "MgO", "energy_above_hull": 0.1},
        {"formula": "MgO", "energy_above_hull": 0.1, "failure": "no", "scheme": "x"},
        {"formula": "MgO", "energy_above_hull": float("nan"), "scheme": "x"},
    ],
)
def test_labels_that_say_too_little_or_too_much_are_refused(fields):
    with pytest.raises(ConfigError):
        Label(**fields)


def test_candidates_are_read_page_by_page():
    pages = {None: (["A", "B"], "2"), "2": (["C"], None)}
    seen = []

    def handle(request):
        seen.append(dict(request.url.params))
        rows, following = pages[request.url.params.get("cursor")]
        return httpx.Response(200, json={"candidates": [{"formula": f} for f in rows], "next_cursor": following})

    with Client("http://127.0.0.1:1", transport=httpx.MockTransport(handle)) as service:
        assert [row["formula"] for row in service.candidates("c1", stable=True)] == ["A", "B", "C"]
    assert seen == [{"stable": "true"}, {"stable": "true", "cursor": "2"}]


def test_an_id_never_leaves_its_place_in_the_path(small, service):
    with pytest.raises(ServiceError) as caught:
        service.campaign("../models")
    assert caught.value.status == 404
    assert small.requests == [("GET", "/v1/campaigns/../models")]  # decoded; sent as one segment, "..%2Fmodels"


def test_events_are_read_across_comments_and_given_their_ids():
    lines = [": heartbeat", "", "id: 7", "event: answer", 'data: {"formula":', 'data: "MgO"}', "", "id: 8", ""]
    (event,) = parse_events(lines)
    assert (event.id, event.event, event.data) == ("7", "answer", {"formula": "MgO"})


def test_a_table_goes_out_and_comes_back_filled_in(small, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(client_module, "Client", lambda url: Client(url, transport=small.transport()))
    table = tmp_path / "asked.csv"
    assert client_module.main(["ask", CAMPAIGN, "--n", "3", "--out", str(table)]) == 0
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [row["formula"] for row in rows] == ["NaCl", "MgO", "NaN"]
    assert read_labels(table) == [], "a table that nobody has filled in can be read"
    rows[0]["energy_above_hull"] = "-0.012"
    rows[2]["failure"] = "no sample"
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    assert client_module.main(["tell", CAMPAIGN, str(table), "--scheme", "my-dft", "--source", "lab"]) == 0
    assert "NaCl  accepted" in capsys.readouterr().out
    assert small.labels["NaCl"]["energy_above_hull"] == -0.012
    assert small.labels["NaCl"]["source"] == "lab"
    assert small.labels["NaN"]["failure"] == "no sample"
    assert "MgO" not in small.labels, "an empty row is no answer"


@pytest.mark.parametrize(("cells", "match"), [("MgO,low,x", "line 2.*low"), ("MgO,0.1,", "line 2.*scheme")])
def test_bad_rows_are_named(tmp_path, cells, match):
    path = tmp_path / "labels.csv"
    path.write_text(f"formula,energy_above_hull,scheme\n{cells}\n")
    with pytest.raises(DataError, match=match):
        read_labels(path)


def test_a_table_without_answers_is_refused(small, tmp_path, monkeypatch):
    monkeypatch.setattr(client_module, "Client", lambda url: Client(url, transport=small.transport()))
    path = tmp_path / "labels.csv"
    path.write_text("formula,energy_above_hull,scheme\nMgO,,\n")
    with pytest.raises(DataError, match="no filled-in row"):
        client_module.main(["tell", CAMPAIGN, str(path)])
