"""One trial and the command line, without Ray: what is reported, and what becomes of errors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tune.trainable as trainable
from discovery.errors import ConfigError, DataError, DiscoveryError
from discovery.generators.zoo import load_generator
from discovery.reference.loading import load_reference
from discovery.surrogates.dataset import Dataset
from discovery.surrogates.zoo import load_surrogate
from tests.core.small_search import small_plan, small_supplies
from tests.small import KNOWN, small_models
from tune.energies import of_reference
from tune.plan import Plan
from tune.search import main, parser, plan_of
from tune.shares import Share
from tune.space import START, SURROGATE_START, generator_space, start_of
from tune.supplies import load_supplies, training_sets
from tune.trainable import CAUSE, PROGRESS, run_trial

CONFIG = {**start_of(generator_space("gpt2"), START), "layers": 1, "heads": 2, "head_width": 8}
ONE = Share(1.0, 0.0)


class Reports:
    """Stands in for Ray Tune inside a trial: keeps what is reported and the last checkpoint."""

    def __init__(self, folder: Path, stop_after: int = 10**6) -> None:
        self.folder, self.stop_after = folder, stop_after
        self.reported: list[dict[str, Any]] = []
        self.checkpoint: Path | None = None

    def report(self, results: dict[str, Any], checkpoint: Any = None) -> None:
        self.reported.append(results)
        if checkpoint is not None:
            self.checkpoint = self.folder / f"checkpoint_{len(self.reported)}"
            checkpoint.to_directory(str(self.checkpoint))
        if len(self.reported) == self.stop_after:
            raise SystemExit  # as Ray ends a trial

    def get_checkpoint(self) -> Any:
        return None if self.checkpoint is None else trainable.tune.Checkpoint.from_directory(str(self.checkpoint))


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Reports:
    stand_in = Reports(tmp_path)
    monkeypatch.setattr(trainable.tune, "report", lambda *a, **k: stand_in.report(*a, **k))
    monkeypatch.setattr(trainable.tune, "get_checkpoint", lambda: stand_in.get_checkpoint())
    return stand_in


def test_a_trial_reports_its_progress_and_leaves_its_model(reports: Reports) -> None:
    run_trial(CONFIG, small_plan(), ONE, small_supplies(tolerance=10.0))
    assert [r[PROGRESS] for r in reports.reported] == [12.5 * n for n in range(1, 9)] + [100.0]
    *under_way, final = reports.reported
    assert all("yield" not in r and r["nll"] > 0 for r in under_way)
    assert {"yield", "yield_low", "recovery", "nll", "train_seconds", "parameters", "petaflop"} <= set(final)
    assert final["nll"] == min(r["nll"] for r in under_way)
    assert reports.checkpoint is not None
    model = load_generator(str(reports.checkpoint / "model"))
    # the loss that early stopping goes by is the likelihood of the validation part, per atom
    supplies = small_supplies()
    atoms = 6  # of Na2O and K2O
    assert supplies.valid == ("Na2O", "K2O")
    assert -model.log_probability(supplies.valid).sum() / atoms == pytest.approx(final["nll"], rel=1e-5)


def test_an_interrupted_trial_ends_as_an_uninterrupted_one(reports: Reports, tmp_path: Path) -> None:
    run_trial(CONFIG, small_plan(), ONE, small_supplies())
    whole = reports.reported[-1]
    reports.__init__(tmp_path / "again", stop_after=3)  # type: ignore[misc]
    (tmp_path / "again").mkdir()
    with pytest.raises(SystemExit):
        run_trial(CONFIG, small_plan(), ONE, small_supplies())
    reports.stop_after = 10**6
    run_trial(CONFIG, small_plan(), ONE, small_supplies())
    final = reports.reported[-1]
    assert [r[PROGRESS] for r in reports.reported] == [12.5 * n for n in range(1, 9)] + [100.0]
    same = set(whole) - {"train_seconds"}
    assert {name: final[name] for name in same} == {name: whole[name] for name in same}
    assert final["train_seconds"] > 0


def test_population_based_training_may_change_rates_but_no_architecture(reports: Reports, tmp_path: Path) -> None:
    reports.stop_after = 2
    with pytest.raises(SystemExit):
        run_trial(CONFIG, small_plan(), ONE, small_supplies())
    reports.stop_after = 10**6
    run_trial({**CONFIG, "peak_learning_rate": 5e-3, "temperature": 1.2}, small_plan(), ONE, small_supplies())
    assert CAUSE not in reports.reported[-1]
    assert reports.checkpoint is not None
    card = json.loads((reports.checkpoint / "model" / "card.json").read_text())
    assert (card["training"]["peak_learning_rate"], card["sampling"]["temperature"]) == (5e-3, 1.2)
    assert len(card["results"]) > 5
    run_trial({**CONFIG, "head_width": 16}, small_plan(), ONE, small_supplies())
    assert "belongs to a training with other settings" in reports.reported[-1][CAUSE]


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:128] . DefaultCPUAllocator: not enough memory"),
            "out of memory: ",
        ),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "out of memory: CUDA"),
        (MemoryError(), "out of memory: MemoryError"),
        (ValueError("two\nlines"), "ValueError: two"),
        (DataError("no rows: give more"), "no rows: give more"),
    ],
)
def test_what_a_trial_dies_of_is_its_result(
    error: Exception, cause: str, reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(trainable, "recipe_of", fail)
    run_trial(CONFIG, small_plan(), ONE, small_supplies())
    assert reports.reported[-1][CAUSE].startswith(cause)
    assert "\n" not in reports.reported[-1][CAUSE]


def test_a_loss_that_is_no_number_ends_the_trial(reports: Reports, monkeypatch: pytest.MonkeyPatch) -> None:
    import discovery.generators.causal as causal

    real = causal.causal_loss

    def nan(*arguments: Any) -> tuple[torch.Tensor, int]:
        summed, count = real(*arguments)
        return summed * float("nan"), count

    monkeypatch.setattr(causal, "causal_loss", nan)
    run_trial(CONFIG, small_plan(), ONE, small_supplies())
    assert len(reports.reported) == 1
    assert "the loss is no number in period 1: a lower peak_learning_rate may help" in reports.reported[0][CAUSE]


def energies(n: int = 600) -> Dataset:
    """Formation energies of a few hundred compounds, smooth in the composition."""
    from discovery.reference.base import Phase, Reference
    from discovery.reference.known import ListedFormulas
    from tests.small import formula_energy

    cations, anions = ("Li", "Na", "K", "Mg", "Ca", "Sr", "Ba", "Al", "Ti", "Zr"), ("F", "Cl", "Br", "O", "S", "Se")
    made = [
        f"{a}{i}{x}{j}" for a in cations for x in anions for i in range(1, 5) for j in range(1, 5) if i != j or i == 1
    ]
    kept = tuple(Phase(formula, formula_energy(formula)) for formula in made[:n])
    return of_reference(Reference("small", "1", "made", kept, ListedFormulas(()), {}, {}))


def test_a_surrogate_trial_is_judged_on_error_and_calibration(reports: Reports) -> None:
    config = {**SURROGATE_START, "layers": 2, "heads": 2, "head_width": 8, "pooled": 32, "batch_size": 64}
    plan = small_plan(target="surrogate", objective="nll", epochs=3)
    run_trial(config, plan, ONE, energies())
    *under_way, final = reports.reported
    assert CAUSE not in final, final
    assert [r[PROGRESS] for r in under_way] == pytest.approx([100 / 3, 200 / 3, 100.0])
    assert {"mae", "nll", "miscalibration_area"} <= set(final)
    assert 0 <= final["miscalibration_area"] <= 0.5
    assert reports.checkpoint is not None
    surrogate = load_surrogate(str(reports.checkpoint / "model"))
    assert np.isfinite(surrogate.predict(["NaCl"], "made").std).all()


def test_data_come_from_a_folder_a_list_or_the_reference(tmp_path: Path) -> None:
    models = small_models(tmp_path / "models")
    reference = load_reference(f"snapshot:{models / 'reference.csv'}")
    for variant, extra in (("pure", ["Cs2O"]), ("mix", ["Cs2O", "RbCl"])):
        (tmp_path / "sets" / variant).mkdir(parents=True)
        for part, formulas in (("train", ["NaCl", *extra]), ("valid", ["KBr"]), ("test", ["LiF"])):
            (tmp_path / "sets" / variant / f"{part}.csv").write_text("formula\n" + "\n".join(formulas))
    options = {"reference": f"snapshot:{models / 'reference.csv'}", "surrogate": str(models / "surrogate")}
    several = load_supplies(small_plan(data=str(tmp_path / "sets"), **options))
    assert set(several.train) == {"mix", "pure"}
    assert (several.held_out, several.valid) == (frozenset({"LiF"}), ("KBr",))
    assert several.tokens() == {"mix": 3 + 4 + 3, "pure": 3 + 4}
    one = load_supplies(small_plan(data=str(tmp_path / "sets" / "pure"), **options))
    assert set(one.train) == {"pure"}
    assert one.key != several.key
    (tmp_path / "sets" / "mix" / "train.csv").write_text("formula\nLiF\n")
    with pytest.raises(DataError, match="1 of them trained on: make all training sets"):
        load_supplies(small_plan(data=str(tmp_path / "sets"), **options))
    assert set(training_sets(small_plan(), reference)["reference"]["train"]) < set(KNOWN)
    (tmp_path / "few.txt").write_text("NaCl\nKBr\n")
    with pytest.raises(DataError, match="part: name 200 formulas or more"):
        training_sets(small_plan(data=str(tmp_path / "few.txt")), reference)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no data set: make one with"):
        training_sets(small_plan(data=str(tmp_path / "empty")), reference)


def test_options_become_a_plan() -> None:
    plan = plan_of(parser().parse_args(["--model", "gpt2", "--trials", "50"]))
    assert plan == Plan(model="gpt2", trials=50)
    surrogate = plan_of(parser().parse_args(["--target", "surrogate", "--pareto", "--cpus-per-trial", "0.5"]))
    assert (surrogate.objective, surrogate.scheduler, surrogate.cpus) == ("nll", "none", 0.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--trials", "0"], "--trials 0 is too small"),
        (["--objective", "mae"], "choose from yield, nll, recovery"),
        (["--storage", "nowhere://x"], "cannot be reached"),
        (["--data", "/nowhere/at/all", "--reference", "snapshot:/nowhere.csv"], "nowhere"),
    ],
)
def test_bad_calls_end_before_ray_starts(options: list[str], message: str, tmp_path: Path) -> None:
    given = options if "--storage" in options else [*options, "--storage", str(tmp_path / "search")]
    with pytest.raises(DiscoveryError, match=message) as caught:
        main(given)
    assert "\n" not in str(caught.value)


def test_a_search_to_go_on_with_is_named() -> None:
    with pytest.raises(ConfigError, match="add --storage DIR"):
        main(["--resume"])


def test_a_search_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "search.json").write_text(json.dumps(Plan().plain()))
    with pytest.raises(ConfigError, match="go on with --resume"):
        main(["--storage", str(tmp_path)])
    with pytest.raises(ConfigError, match="seed was 0, is 7"):
        main(["--storage", str(tmp_path), "--resume", "--seed", "7"])
