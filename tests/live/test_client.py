"""The client and the examples against the real service, over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from ase.calculators.emt import EMT

from discovery import client as client_module
from discovery.client import Client, Label
from discovery.errors import ServiceError
from discovery.oracles.potential import PotentialOracle
from discovery.structures.potentials import potential_from
from examples import dft_queue, late_lab
from tests.running import ORACLE, Running
from tests.serving import SMALL
from tests.small import SCHEME, formula_energy


@pytest.fixture
def client(service: Running) -> Iterator[Client]:
    with Client(service.url, service.token) as opened:
        yield opened


def external(client: Client, **changes: object) -> str:
    return str(client.create(**{**SMALL, **changes})["id"])


def test_what_is_asked_for_comes_back_as_told(client: Client) -> None:
    campaign = external(client)
    first, second = client.ask(campaign, 2)
    assert first.formula != second.formula
    energy = formula_energy(first.formula)
    label = Label(candidate_id=first.id, formation_energy_per_atom=energy, scheme=SCHEME, source="test")
    assert [one.status for one in client.tell(campaign, [label])] == ["accepted"]
    assert [one.status for one in client.tell(campaign, [label])] == ["duplicate"]
    other = Label(candidate_id=first.id, formation_energy_per_atom=energy + 0.5, scheme=SCHEME, source="test")
    apart = Label(candidate_id=second.id, formation_energy_per_atom=-1.0, scheme="my-dft", source="test")
    unknown = Label(formula="UO2", energy_above_hull=0.0, scheme="my-dft", source="test")
    assert [one.status for one in client.tell(campaign, [other, apart, unknown])] == [
        "conflict",
        "kept_apart",
        "rejected",
    ]
    (row,) = [
        row for row in client.candidates(campaign, status="validated", limit=1) if row["formula"] == first.formula
    ]
    assert row["formation_energy_per_atom"] == pytest.approx(energy, abs=1e-6)
    client.delete(campaign)
    with pytest.raises(ServiceError) as caught:
        client.campaign(campaign)
    assert (caught.value.status, caught.value.problem["status"]) == (404, 404)


def test_candidates_come_page_by_page_without_loss(client: Client, service: Running) -> None:
    campaign = external(client)
    client.ask(campaign, 1)
    whole = [row["formula"] for row in client.candidates(campaign, limit=1000)]
    assert len(whole) > 7
    assert [row["formula"] for row in client.candidates(campaign, limit=7)] == whole


def test_a_run_is_followed_by_its_events_and_taken_up_again(client: Client, service: Running) -> None:
    campaign = external(client, oracle=ORACLE)
    client.run(campaign, 1)
    seen = []
    for event in client.events(campaign):
        seen.append(event)
        if event.event == "round":
            break
    assert {"stage", "answer", "round"} <= {event.event for event in seen}
    assert [int(event.id) for event in seen] == sorted({int(event.id) for event in seen})
    middle = seen[len(seen) // 2]
    again = next(iter(client.events(campaign, after=middle.id)))
    assert again == seen[len(seen) // 2 + 1]
    service.wait_until(campaign, "idle")  # one of two rounds
    found = next(client.candidates(campaign, status="validated"))
    assert client.structure(campaign, found["formula"]).startswith("# formula")
    assert [record["round"] for record in client.rounds(campaign)] == [1]


def test_generate_and_rank(client: Client) -> None:
    first, again = client.generate(5, seed=3), client.generate(5, seed=3)
    assert len(first) == 5
    assert first == again
    good, bad = client.rank(["NaCl", "Xx2"])
    assert good["energy_above_hull"] is not None
    assert "Xx" in bad["error"]


def test_a_wrong_token_says_so(service: Running) -> None:
    with Client(service.url, "another") as stranger, pytest.raises(ServiceError, match="token") as caught:
        stranger.campaigns()
    assert caught.value.status == 401


def test_the_command_asks_and_tells(service: Running, client: Client, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("DISCOVERY_URL", service.url)
    monkeypatch.setenv("DISCOVERY_API_TOKEN", service.token)
    campaign = external(client, name="by command")
    table = tmp_path / "asked.csv"
    assert client_module.main(["ask", campaign, "--n", "2", "--out", str(table)]) == 0
    lines = table.read_text().splitlines()
    place = lines[0].split(",").index("energy_above_hull")
    cells = lines[1].split(",")
    cells[place] = "0.03"
    table.write_text("\n".join([lines[0], ",".join(cells), lines[2]]) + "\n")
    assert client_module.main(["tell", campaign, str(table), "--scheme", "my-dft", "--source", "lab"]) == 0
    assert client_module.main(["status"]) == 0
    assert "by command" in capsys.readouterr().out
    assert client_module.main(["status", campaign]) == 0
    assert json.loads(capsys.readouterr().out)["counts"]["validated"] == 1


def test_the_late_laboratory(service: Running, client: Client, monkeypatch) -> None:
    monkeypatch.setenv("DISCOVERY_API_TOKEN", service.token)
    monkeypatch.setattr(late_lab, "load_reference", lambda name: None)
    campaign = external(client)
    options = ["--url", service.url, "--campaign", campaign, "--oracle", "tests.small:formula_oracle"]
    assert late_lab.main([*options, "--n", "7", "--benches", "3", "--delay", "0.01"]) == 0
    summary = client.campaign(campaign)
    assert summary["counts"]["validated"] + summary["counts"]["failed"] == 7
    assert summary["rounds_finished"] >= 1, "two full batches of three are answered"


class Interrupted(PotentialOracle):
    """Breaks down at its second calculation."""

    def __init__(self) -> None:
        super().__init__("emt", None, potential_from("emt", EMT()))
        self.calculated: list[str] = []

    def measure(self, formula, budget):  # type: ignore[no-untyped-def]
        if len(self.calculated) == 1:
            raise KeyboardInterrupt
        self.calculated.append(formula)
        return super().measure(formula, budget)


def test_the_queue_goes_on_after_an_interruption(client: Client, tmp_path: Path) -> None:
    metals = {
        "allowed": ["Cu", "Ag", "Au", "Ni", "Pd", "Pt"],
        "intermetallics": True,
        "max_atoms": 4,
        "max_elements": 2,
    }
    campaign = external(client, constraints=metals, batch_size=3)
    queue, first, second = dft_queue.Queue(tmp_path), Interrupted(), Interrupted()
    with pytest.raises(KeyboardInterrupt):
        dft_queue.work(client, campaign, first, queue, 2)
    dft_queue.work(client, campaign, second, queue, 2)
    assert len({*first.calculated, *second.calculated}) == 2 == len(first.calculated) + len(second.calculated)
    assert {job["told"] for job in queue.jobs()} <= {"kept_apart", "accepted"}, "EMT is no scheme of the reference"
    assert len(queue.jobs()) == 2
