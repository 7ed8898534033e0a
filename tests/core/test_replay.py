import dataclasses
import json
import xml.etree.ElementTree

import numpy as np
import pytest

from benchmarks.replay.__main__ import main
from benchmarks.replay.arms import ABLATIONS, ARMS, BASELINES, STUDIED, Budget
from benchmarks.replay.desk import Desk, Desks, Models, Rules
from benchmarks.replay.metrics import found
from benchmarks.replay.page import image, page
from benchmarks.replay.problem import Withheld, complete_truth, problem_from_files
from benchmarks.replay.simulation import Run, kept, kind_of, proposed, simulate
from benchmarks.replay.tables import curve, gain_per_cost, kinds, table, together
from discovery.errors import ConfigError, DataError
from discovery.fidelity import Costs
from discovery.generators.baselines import written
from discovery.generators.exchange_likelihood import exchange_likelihood
from discovery.records import Measurement
from tests.core.small_replay import Shuffled, SizeModel, small_models, small_problem

BUDGET = Budget(calls=60, batch=20)
SHORT = Budget(calls=40, batch=20)


@pytest.fixture(scope="module")
def problem():
    return small_problem()


@pytest.fixture(scope="module")
def models(problem, tmp_path_factory):
    return small_models(problem, tmp_path_factory.mktemp("good"))


def finds(arm, problem, models, seed=0):
    return int(found(simulate(arm, Desks(problem, models), BUDGET, seed).scored(), 0.0)[-1])


def test_the_loop_beats_chance_by_a_margin_that_a_broken_surrogate_does_not_reach(problem, models):
    expected = BUDGET.calls * problem.stable(0.0) / len(problem.candidates)  # chance, in closed form: 8.8 of 60
    shuffled = Models(Shuffled(models.surrogate, problem), None)
    assert finds("loop", problem, models) >= 2 * expected
    assert finds("loop", problem, shuffled) < 2 * expected


def test_a_withheld_label_changes_nothing_before_it_was_asked_for(problem, models):
    """The canary: labels of all that was never asked for, and of the last batch, are made absurd."""
    run = simulate("loop", Desks(problem, models), SHORT, 0)
    early = set(run.calls[: SHORT.calls - SHORT.batch])
    canary = {formula: (energy if formula in early else -9.0) for formula, energy in problem.answers.items()}
    truth = dict.fromkeys(problem.truth, -9.0)
    assert (
        simulate("loop", Desks(dataclasses.replace(problem, answers=canary, truth=truth), models), SHORT, 0).calls
        == run.calls
    )


def test_the_likelihood_is_the_mean_of_language_model_and_ion_exchange_in_the_known_compounds(problem, models):
    own = Models(models.surrogate, SizeModel())
    both, written = (Desks(problem, own).new(ARMS[arm].rules).log_prior for arm in ("loop", "loop, no exchange"))
    exchanged = exchange_likelihood(tuple(sorted(problem.known))).log_probability(problem.candidates)
    assert written == pytest.approx(SizeModel().log_probability(problem.candidates))
    assert np.isfinite(exchanged).sum() > 100
    assert np.exp(both) == pytest.approx((np.exp(written) + np.exp(exchanged)) / 2)


def test_no_withheld_compound_is_a_parent_of_an_exchange(problem, models):
    """The canary of the likelihood: absurd labels, and all withheld compounds but a few, change no likelihood."""
    own = Models(models.surrogate, SizeModel())
    few = dataclasses.replace(problem, answers=dict.fromkeys(problem.candidates[:9], -9.0), truth={})
    whole, canary = (Desks(one, own).new(ARMS["loop"].rules) for one in (problem, few))
    assert (whole.log_prior == canary.log_prior).all()
    told = {formula: problem.answers[formula] for formula in problem.candidates[:9]}
    for formula, energy in told.items():
        whole.tell(formula, energy)
    whole.learn(told, np.random.default_rng(0), refit=False)
    assert (whole.log_prior == canary.log_prior).all()  # answers become no parents either
    leaked = exchange_likelihood(tuple(sorted({*problem.known, *problem.answers}))).log_probability(problem.candidates)
    clean = exchange_likelihood(tuple(sorted(problem.known))).log_probability(problem.candidates)
    assert (leaked != clean).any()  # withheld parents would show


def test_the_exchange_in_closed_form_asks_in_the_order_of_its_probability(problem, models):
    run = simulate("ion exchange, closed form", Desks(problem, models), SHORT, 0)
    log_p = exchange_likelihood(tuple(sorted(problem.known))).log_probability(run.calls)
    assert np.isfinite(log_p).all()
    assert (np.diff(log_p) <= 0).all()


def test_a_label_changes_what_is_asked_after_it(problem, models):
    """The canary of the canary: a label that was asked for is used."""
    run = simulate("loop", Desks(problem, models), SHORT, 0)
    first = set(run.calls[: SHORT.batch])
    changed = {formula: (3.0 if formula in first else energy) for formula, energy in problem.answers.items()}
    again = simulate("loop", Desks(dataclasses.replace(problem, answers=changed), models), SHORT, 0)
    assert again.calls[: SHORT.batch] == run.calls[: SHORT.batch]
    assert again.calls != run.calls


@pytest.mark.parametrize("arm", sorted(set(BASELINES) - {"likelihood", "both likelihoods"}))
def test_every_baseline_asks_each_candidate_once(arm, problem, models):
    small = dataclasses.replace(problem, candidates=problem.candidates[::20])
    run = simulate(arm, Desks(small, models), Budget(calls=24, batch=12), seed=1)
    assert len(set(run.calls)) == len(run.calls) == len(run.energies) == 24
    assert set(run.calls) <= set(small.candidates)
    assert run == simulate(arm, Desks(small, models), Budget(calls=24, batch=12), seed=1)


def test_a_long_list_is_narrowed_to_its_front_without_another_choice(problem, models, monkeypatch):
    """The front holds whatever a run can reach: the calls of a front of 300 are those of the whole list."""
    whole = simulate("loop", Desks(problem, models), SHORT, 0)
    monkeypatch.setattr("benchmarks.replay.loop.FRONT", 300)
    narrowed = simulate("loop", Desks(problem, models), SHORT, 0)
    assert len(problem.candidates) > 300
    assert narrowed.calls[:20] == whole.calls[:20]
    assert len(set(narrowed.calls)) == len(narrowed.calls) == SHORT.calls


@pytest.mark.parametrize("arm", sorted(set(STUDIED) - {"loop, looks"}))
def test_every_studied_way_of_asking_beats_chance(arm, problem, models):
    expected = BUDGET.calls * problem.stable(0.0) / len(problem.candidates)
    assert finds(arm, problem, models) >= 2 * expected


def test_looks_cost_and_help_where_they_are_right(problem, models, tmp_path, monkeypatch):
    """A rung that knows the labels: its looks are counted, kept, and find more for the price."""

    class Perfect:
        def can_measure(self, formula):
            return True

        def measure(self, formula, budget):
            energy = problem.answers.get(formula)
            return Measurement(formula, "perfect", problem.scheme, energy) if energy is not None else None

    monkeypatch.setattr("benchmarks.replay.ladder.potential_oracle", Perfect)
    budget = Budget(calls=40, batch=20, costs=Costs(potential=1.0, dft=1000.0), looks=tmp_path)
    run, plain = (simulate(arm, Desks(problem, models), budget, 0) for arm in ("loop, looks", "loop"))
    lines = (tmp_path / "looks.jsonl").read_text().splitlines()
    assert run.looks_cost == len(lines) > 0
    assert found(run.scored(), 0.0)[-1] > found(plain.scored(), 0.0)[-1]
    costs = gain_per_cost([run, plain], "loop, looks", 0.0, budget.costs)
    assert costs["labels"] == 40_000.0
    assert costs["found_per_1000_labels"] == pytest.approx(found(run.scored(), 0.0)[-1] / (40_000 + len(lines)) * 1e6)


def test_reported_candidates_compete_with_each_other(problem, models):
    """With predicted energies, until their own are known: nothing lies as far below the hull as without them."""
    small = dataclasses.replace(problem, candidates=problem.candidates[::7], compete=True)
    alone, together = (Desks(small, models).new(ARMS[arm].rules).clues for arm in ("energy above hull", "loop"))
    assert (together.above_hull >= alone.above_hull - 1e-9).all()
    assert (together.above_hull > alone.above_hull + 1e-3).any()


def test_free_proposals_that_the_table_does_not_know_are_listed_and_cost_nothing(problem, models):
    free = dataclasses.replace(problem, candidates=(), free=True)
    run = simulate("random", Desks(free, models), Budget(calls=2, batch=400), seed=0)
    assert set(run.calls) <= set(problem.answers)
    assert run.outside
    assert not set(run.outside) & set(problem.answers)
    assert None not in run.energies


def test_who_ranks_by_both_likelihoods_asks_for_proposals_of_both(problem, models, monkeypatch):
    monkeypatch.setattr("benchmarks.replay.simulation.PROPOSALS", 400)
    asked = []

    class Writer:
        def sample(self, n, rng, options):
            asked.append(n)
            return [written({"Xe": 1, "F": 2})] * n

    free = dataclasses.replace(problem, candidates=(), free=True)
    lists = {
        arm: set(proposed(free, ARMS[arm], Models(models.surrogate, Writer()), np.random.default_rng(0)).candidates)
        for arm in ("loop", "loop, no exchange", "ion exchange", "surrogate, both sources", "surrogate, no learning")
    }
    assert asked == [200, 400, 200, 400]
    assert lists["loop, no exchange"] == lists["surrogate, no learning"] == {"XeF2"}
    assert "XeF2" not in lists["ion exchange"]
    for arm in ("loop", "surrogate, both sources"):
        assert "XeF2" in lists[arm]
        assert len(lists[arm]) > 1


def test_arms_have_all_baselines_and_one_ingredient_less_each():
    assert {"random", "pseudo-random", "ion exchange", "forest with UCB", "surrogate, no learning"} <= set(BASELINES)
    assert set(ARMS) == {"loop", *BASELINES, *ABLATIONS, *STUDIED}


def test_the_door_notes_who_went_through():
    door = Withheld({"NaCl": -2.0})
    assert (door.ask("NaCl"), door.ask("KCl"), door.asked) == (-2.0, None, ["NaCl", "KCl"])


def test_the_truth_counts_all_compounds_as_competitors():
    truth = complete_truth({"NaCl": -2.0}, {"Na2Cl": -0.5, "NaCl2": -2.0}, "s")
    assert truth["Na2Cl"] == pytest.approx(-0.5 + 2.0 * 2 / 3)  # decomposes to NaCl and Na
    assert truth["NaCl2"] == pytest.approx(-2.0 + 2.0 * 2 / 3)


def test_a_reference_that_gives_labels_away_is_refused(tmp_path):
    for name in ("labels", "reference"):
        (tmp_path / f"{name}.csv").write_text("formula,formation_energy_per_atom,scheme\nNaCl,-2,s\nKCl,-2,s\n")
    (tmp_path / "list.csv").write_text("formula\nNaCl\n")
    with pytest.raises(DataError, match="gives 2 withheld labels away, such as KCl"):
        problem_from_files(tmp_path / "list.csv", tmp_path / "labels.csv", tmp_path / "reference.csv", None)


def test_a_finished_run_is_not_repeated(tmp_path):
    run = Run("random", "p", 0, ("NaCl", "KF"), (-0.1, None), (), ("halide", "fluoride"))
    path = tmp_path / "runs" / "random-0.json"
    assert kept(path, lambda: run) == run
    assert kept(path, lambda: pytest.fail("made again")) == run
    np.testing.assert_array_equal(run.scored(), [-0.1, np.nan])


def test_tables_count_by_hand_and_the_page_holds_them(problem):
    stable = [formula for formula in problem.candidates if problem.truth[formula] <= 0.0][:4]
    others = [formula for formula in problem.candidates if problem.truth[formula] > 0.1][:4]
    ours, theirs = (*stable[:3], others[0]), (stable[3], *others[1:4])
    runs = [
        Run(arm, "p", 0, calls, tuple(problem.truth[f] for f in calls), (), tuple(map(kind_of, calls)))
        for arm, calls in (("loop", ours), ("random", theirs))
    ]
    rows = table(problem, runs, ["loop", "random"], calls=4, seed=0)
    row = next(row for row in rows if row["arm"] == "loop" and row["tolerance"] == 0.0)
    share = problem.stable(0.0) / problem.size()
    assert row["found"]["value"] == 3
    assert row["enrichment"]["value"] == 3.0
    assert row["daf"]["value"] == pytest.approx(0.75 / share, abs=1e-4)
    assert row["largest_daf"] == pytest.approx(1 / share, abs=1e-4)
    assert row["audc"]["value"] == pytest.approx((1 + 2 + 3 + 3) / (1 + 2 + 3 + 4))
    assert sum(row["found"] for row in kinds(runs, 0.0)) == 4
    curves = {arm: curve(runs, arm, 0.0, 4) for arm in ("loop", "random")}
    assert curves["loop"]["mean"] == [1, 2, 3, 3]
    result = {"name": "p", "known": 1, "pool": 2, "stable": {"0": 1}, "tolerance": 0.0, "seeds": [0], "table": rows,
              "curves": curves, "kinds": kinds(runs, 0.0)}  # fmt: skip
    json.dumps(result, allow_nan=False)
    written = page({"command": "python -m benchmarks.replay", "note": "a note", "results": [result]})
    assert "loop: 3" in written
    assert xml.etree.ElementTree.fromstring(image(result)).tag.endswith("svg")
    assert "loop: 3" in image(result)
    assert "<script" not in written


def test_what_competes_by_prediction_moves_with_the_candidates(problem, models):
    """A refit that lowers everything alike must not make anything look more stable."""
    desk = Desks(dataclasses.replace(problem, compete=True), models).new(ARMS["loop"].rules)
    formula = desk.candidates[0]
    desk.tell(formula, 0.5)
    desk.learn({formula: 0.5}, np.random.default_rng(0))
    fresh = Desk(desk.problem, desk.models, ARMS["loop"].rules)
    others = np.array([row for row in range(len(desk.candidates)) if row != 0])
    fresh.tell(formula, 0.5)
    fresh.learn({formula: 0.5}, np.random.default_rng(0), refit=False)
    assert desk.prediction.mean == pytest.approx(fresh.prediction.mean)
    assert desk.competing[others] == pytest.approx(fresh.competing[others])


def row_of(arm, finds, factor):
    accelerations = {"1": {"value": 9.0, "largest": 9.0}, "2": {"value": factor, "largest": 8.0}}
    return {"arm": arm, "tolerance": 0.0, "found": {"value": finds}, "calls": 5, "stable_in_pool": 4, "pool": 20,
            "acceleration": accelerations}  # fmt: skip


def test_a_run_that_asked_for_nothing_costs_and_finds_nothing():
    empty = Run("random", "free", 0, (), ())
    assert gain_per_cost([empty], "random", 0.0, Costs()) == {"labels": 0.0, "looks": 0.0, "found_per_1000_labels": 0.0}


def test_problems_together_are_sums_with_intervals_over_problems():
    results = [
        {"table": [row_of("loop", finds, factor), row_of("ion exchange", finds - 1.0, None)]}
        for finds, factor in ((1.0, 2.0), (2.0, None), (3.0, 6.0))
    ]
    loop, exchange = together(results, ["loop", "ion exchange"], 0.0)
    assert (loop["problems"], loop["calls"], loop["stable"], loop["largest"]) == (3, 15, 12, 12)
    assert loop["found"]["value"] == 6.0
    assert 3.0 <= loop["found"]["low"] < 6.0 < loop["found"]["high"] <= 9.0
    assert loop["by_chance"] == 3.0  # 5 calls, one in five is stable
    assert (loop["enrichment"]["value"], loop["largest_enrichment"]) == (2.0, 4.0)
    assert (loop["acceleration"]["value"], loop["largest_acceleration"]) == (2.0, 8.0)  # median of 2, 0 (never), 6
    assert loop["ahead"] == {"value": 3.0, "low": 3.0, "high": 3.0}  # one more in every problem: paired, no spread
    assert exchange["ahead"]["value"] == 0.0
    assert together(results, ["loop"], 0.0)[0]["ahead"] is None


def test_classes_of_chemistry():
    assert [kind_of(f) for f in ("LiF", "Na2SO4", "KCl", "TiN", "ZnS", "GaAs", "NiAl")] == [
        "fluoride", "oxide", "halide", "nitride", "chalcogenide", "pnictide", "other",
    ]  # fmt: skip


def test_without_a_language_model_there_is_no_free_loop(problem, models):
    free = dataclasses.replace(problem, candidates=(), free=True)
    with pytest.raises(ConfigError, match="language model"):
        simulate("loop", Desks(free, Models(models.surrogate, None)), BUDGET, 0)


def test_the_command_runs_on_anybodys_files_and_goes_on_where_it_was(problem, tmp_path, capsys):
    known, answers = dict(list(problem.known.items())[:200]), dict(list(problem.answers.items())[:30])
    for name, rows in (("reference", known), ("labels", answers)):
        lines = [f"{formula},{energy:.5f},{problem.scheme}" for formula, energy in rows.items()]
        (tmp_path / f"{name}.csv").write_text("\n".join(["formula,formation_energy_per_atom,scheme", *lines]) + "\n")
    (tmp_path / "list.csv").write_text("\n".join(["formula", *answers, "Cs3Bi"]) + "\n")
    files = [part for name in ("reference", "labels") for part in (f"--{name}", str(tmp_path / f"{name}.csv"))]
    command = ["--protocol", "pool", "--candidates", str(tmp_path / "list.csv"), *files, "--work", str(tmp_path),
               "--out", str(tmp_path / "out"), "--members", "1", "--surrogate-epochs", "1", "--language-epochs", "0",
               "--arms", "loop", "random", "--seeds", "0", "1", "--calls", "10", "--batch", "5"]  # fmt: skip
    assert main(command) == 0
    written = (tmp_path / "out" / "replay.json").read_text()
    (result,) = json.loads(written)["results"]
    assert (result["known"], result["pool"], result["labelled"]) == (200, 31, 30)
    assert {row["arm"] for row in result["table"]} == {"loop", "random"}
    assert (tmp_path / "out" / "replay.html").read_text().startswith("<!DOCTYPE html>")
    assert "epoch" in capsys.readouterr().out
    assert main(command) == 0
    assert (tmp_path / "out" / "replay.json").read_text() == written
    assert "epoch" not in capsys.readouterr().out  # models and runs are kept


def test_the_loop_has_the_completed_hull_and_its_ablation_has_not():
    assert ARMS["loop"].rules.binaries
    assert ARMS["loop, no neighbours"].rules.binaries
    assert not ARMS["loop, known hull"].rules.binaries
    assert not ARMS["surrogate, no learning"].rules.binaries


def test_a_refit_anew_starts_from_the_first_surrogate(problem, models):
    desk = Desks(problem, models).new(Rules())
    for formulas in (problem.candidates[:5], problem.candidates[5:10]):
        answers = {formula: problem.answers[formula] for formula in formulas}
        for formula, energy in answers.items():
            desk.tell(formula, energy)
        desk.learn(answers, np.random.default_rng(0), anew=True)
        assert desk.models.surrogate.card["refitted_from"] == models.surrogate.version
    desk.learn(answers, np.random.default_rng(0))
    assert desk.models.surrogate.card["refitted_from"] != models.surrogate.version


@pytest.mark.parametrize("arm", ["likelihood", "both likelihoods"])
def test_a_likelihood_without_a_language_model_is_an_error(arm, problem, models):
    with pytest.raises(ConfigError, match="language model"):
        simulate(arm, Desks(problem, Models(models.surrogate, None)), SHORT, 0)
