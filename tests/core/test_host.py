"""One logic: a campaign that is asked and told by hand ends like one that runs by itself."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path
from typing import Any

import pytest

from discovery.campaign import Campaign
from discovery.errors import ConfigError
from discovery.events import Observers
from discovery.loop import main
from discovery.oracles.external import EXTERNAL
from discovery.rounds import run_campaign
from discovery.workers import LocalWorkers
from serve.backend import Backend
from serve.errors import BusyError, ConflictError
from serve.holding import Hold
from serve.host import CampaignHost
from serve.requests import config_of
from serve.schemas import CampaignRequest
from tests.serving import ORACLE, SMALL, backend, home
from tests.small import SCHEME, FormulaOracle, formula_energy


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Backend:
    return backend(home(tmp_path_factory.mktemp("home")))


def hosted(service: Backend, **changes: Any) -> CampaignHost:
    view = service.store.create(config_of(CampaignRequest(**{**SMALL, **changes}), service.settings), "hosted")
    return CampaignHost(service.store.open(view.id), service.settings)


def told(formula: str) -> dict[str, Any]:
    return {
        "formula": formula,
        "formation_energy_per_atom": formula_energy(formula),
        "scheme": SCHEME,
        "source": "formula",
    }


def records(host: CampaignHost) -> list[dict[str, Any]]:
    return [{**record, "seconds": None} for record in host._view.rounds()]


def test_by_hand_and_by_itself_the_records_are_equal(service: Backend) -> None:
    by_itself, by_hand = hosted(service, oracle=ORACLE), hosted(service)
    by_itself.run(2)
    by_itself.wait()
    while handouts := by_hand.ask(1)[0]:
        by_hand.tell([told(handout.formula) for handout in handouts])
    assert by_hand._view.status() == by_itself._view.status() == "finished"
    assert len(records(by_itself)) == 2
    assert records(by_hand) == records(by_itself)
    for host in (by_hand, by_itself):
        host.close()


def test_the_service_runs_what_the_loop_runs(service: Backend, tmp_path: Path) -> None:
    host = hosted(service, oracle=ORACLE)
    host.run(2)
    host.wait()
    config = host._campaign.config
    campaign = Campaign.start(tmp_path / "run", config, service.store._library.parts(config))
    run_campaign(campaign, LocalWorkers(FormulaOracle()), Observers())
    assert host._campaign.ledger.calls() == campaign.ledger.calls()
    mine = [record.learning for record in host._campaign.ledger.records().values()]
    assert mine == [record.learning for record in campaign.ledger.records().values()]
    host.close()


def test_more_rounds_than_configured_can_be_run(service: Backend) -> None:
    host = hosted(service, oracle=ORACLE, rounds=1, learn=False)
    for rounds in (1, 1):
        host.run(rounds)
        host.wait()
    assert len(records(host)) == 2
    host.close()


def test_a_run_that_fails_says_why_and_can_be_tried_again(service: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    host = hosted(service, oracle=ORACLE, rounds=1, learn=False)
    monkeypatch.setattr("serve.host.run_round", _broken)
    host.run(1)
    host.wait()
    summary = host._view.summary()
    assert summary["status"] == "failed"
    assert "the licence has run out" in summary["error"]
    monkeypatch.undo()
    host.run(1)
    host.wait()
    assert host._view.summary()["status"] == "finished"
    host.close()


def _broken(*_: object) -> bool:
    raise ConfigError("the licence has run out: renew it")


def test_an_ask_does_not_wait_for_ever(service: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    view = service.store.create(config_of(CampaignRequest(**SMALL), service.settings), "slow")
    host = CampaignHost(service.store.open(view.id), dataclasses.replace(service.settings, ask_wait_s=0.05))
    go_on = threading.Event()
    prepare = host._prepare
    monkeypatch.setattr(host, "_prepare", lambda: (go_on.wait(60), prepare())[1])
    with pytest.raises(BusyError, match="ask again"):
        host.ask(1)
    go_on.set()
    host.wait()
    assert len(host.ask(1)[0]) == 1
    host.close()


def test_an_external_campaign_has_no_run(service: Backend) -> None:
    host = hosted(service)
    with pytest.raises(ConflictError, match="ask and tell"):
        host.run(1)
    host.close()


def test_the_loop_refuses_the_external_oracle(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="service"):
        main(["--oracle", EXTERNAL, "--run-dir", str(tmp_path / "run")])
    assert not (tmp_path / "run").exists()


def test_a_campaign_has_one_host_at_a_time(service: Backend) -> None:
    first = hosted(service)
    campaign_id = first._view.id
    with pytest.raises(BusyError, match=campaign_id):
        Hold(first._campaign.folder, patience_s=0.2)
    first.close()
    CampaignHost(service.store.open(campaign_id), service.settings).close()
