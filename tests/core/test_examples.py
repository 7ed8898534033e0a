"""The examples, as they are, against a small service in memory."""

import json

import pytest
from ase.calculators.emt import EMT

from discovery.client import Client
from discovery.errors import ConfigError
from discovery.oracles.potential import PotentialOracle
from discovery.structures.potentials import potential_from
from examples import dft_queue, late_lab
from tests.core.small_service import CAMPAIGN, SmallService
from tests.small import FormulaOracle, formula_energy

COMPOUNDS = ["NaCl", "MgO", "LiH", "CaF2", "TiO2", "ZnS", "KBr", "Li2O"]


def test_the_late_laboratory_answers_everything_once_and_out_of_order(monkeypatch, capsys):
    small = SmallService(COMPOUNDS)
    monkeypatch.setattr(late_lab, "Client", lambda url: Client("http://127.0.0.1:1", transport=small.transport()))
    monkeypatch.setattr(late_lab, "load_reference", lambda name: None)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    options = ["--oracle", "tests.small:formula_oracle", "--n", "8", "--seed", "1", "--delay", "0.001"]
    assert late_lab.main(options) == 0
    assert sorted(small.labels) == sorted(COMPOUNDS)
    assert list(small.labels) != COMPOUNDS, "the order of the answers is not that of the questions"
    assert set(small.statuses) <= {"accepted", "duplicate"}
    assert small.labels["MgO"]["formation_energy_per_atom"] == pytest.approx(formula_energy("MgO"))
    assert small.labels["LiH"]["failure"] == "no hydrogen"
    assert "8 answers accepted" in capsys.readouterr().out


def test_the_late_laboratory_never_has_more_samples_than_benches():
    small = SmallService(COMPOUNDS)
    with Client("http://127.0.0.1:1", transport=small.transport()) as service:
        args = late_lab.parser().parse_args(["--benches", "2", "--n", "5"])
        waits = []
        told = late_lab.work(service, CAMPAIGN, FormulaOracle(), args, waits.append)
    assert len(small.asked) == 5 == len({one.formula for one in told})
    assert max(small.leased) == 2
    assert all(seconds >= 0 for seconds in waits)


class Counting(PotentialOracle):
    """Notes what it calculates; breaks down at the second one, once."""

    def __init__(self, breaks: bool = True) -> None:
        super().__init__("emt", None, potential_from("emt", EMT()))
        self.calculated: list[str] = []
        self.breaks = breaks

    def measure(self, formula, budget):
        if self.breaks and len(self.calculated) == 1:
            self.breaks = False
            raise KeyboardInterrupt
        self.calculated.append(formula)
        return super().measure(formula, budget)


def test_an_interrupted_queue_goes_on_without_asking_or_calculating_twice(tmp_path):
    small = SmallService(["CuAu", "NiPd", "AgPt"])
    oracle = Counting()
    with Client("http://127.0.0.1:1", transport=small.transport()) as service:
        with pytest.raises(KeyboardInterrupt):
            dft_queue.work(service, CAMPAIGN, oracle, dft_queue.Queue(tmp_path), 3)
        assert len(small.labels) == 1
        dft_queue.work(service, CAMPAIGN, oracle, dft_queue.Queue(tmp_path), 3)
    assert sorted(oracle.calculated) == ["AgPt", "CuAu", "NiPd"] == sorted(small.labels)
    assert small.statuses == ["accepted"] * 3
    assert small.labels["CuAu"]["scheme"] == "emt"
    assert abs(small.labels["CuAu"]["formation_energy_per_atom"]) < 0.5


def test_a_label_that_was_calculated_but_not_told_is_told_without_a_new_calculation(tmp_path):
    small = SmallService(["CuAu"])
    queue = dft_queue.Queue(tmp_path)
    with Client("http://127.0.0.1:1", transport=small.transport()) as service:
        dft_queue.work(service, CAMPAIGN, Counting(breaks=False), queue, 1)
        (job,) = queue.jobs()
        queue.save({**job, "told": None})  # as if it had been killed between telling and writing that down
        again = Counting(breaks=False)
        dft_queue.work(service, CAMPAIGN, again, queue, 1)
    assert again.calculated == []
    assert small.statuses == ["accepted", "duplicate"]


def test_a_queue_belongs_to_one_campaign(tmp_path):
    queue = dft_queue.Queue(tmp_path)
    with Client("http://127.0.0.1:1", transport=SmallService([]).transport()) as service:
        assert dft_queue.campaign_of(service, queue, None) == CAMPAIGN
        assert dft_queue.campaign_of(service, queue, None) == CAMPAIGN
        with pytest.raises(ConfigError, match="name another --queue"):
            dft_queue.campaign_of(service, queue, "c2")
    assert json.dumps(queue.jobs()) == "[]"
