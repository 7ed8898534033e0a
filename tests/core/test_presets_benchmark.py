"""The comparison of presets: equal cost, results on file, a table with seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks import presets
from discovery.errors import ConfigError
from discovery.model_files import write_json
from tests.core.small_search import small_plan
from tests.small import small_models
from tune.space import START, generator_space, start_of


def compounds() -> list[str]:
    return [f"{a}{x}" for a in ("Li", "Na", "K", "Rb", "Cs") for x in ("F", "Cl", "Br", "I")] + ["MgO", "CaO", "SrO"]


def test_three_recipes_at_equal_cost_are_measured_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    models = small_models(tmp_path / "models")
    for part, chosen in (("train", compounds()[:15]), ("valid", compounds()[15:19]), ("test", compounds()[19:])):
        (tmp_path / f"{part}.csv").write_text("formula\n" + "\n".join(chosen))
    config = {**start_of(generator_space("gpt2"), START), "layers": 2, "heads": 2, "head_width": 16}
    options = {"reference": f"snapshot:{models / 'reference.csv'}", "surrogate": str(models / "surrogate")}
    plan = small_plan(petaflop=2e-7, **options)
    write_json(tmp_path / "best" / "card.json", {"search": {"plan": plan.plain(), "config": config}})
    monkeypatch.setitem(presets.PUBLISHED, "gpt2", (3, 24, 2))
    words = ["--best", "best", "--data", ".", "--out", "out", "--seeds", "1", "2", "--n", "40", "--judged", "20"]
    arguments = [str(tmp_path / word) if word in ("best", ".", "out") else word for word in words]
    assert presets.main(arguments) == 0
    table = capsys.readouterr().out
    assert [line.split(" | ")[0].lstrip("| ") for line in table.splitlines()[2:5]] == [
        "searched",
        "published size",
        "preset small",
    ]
    files = sorted((tmp_path / "out").glob("*.json"))
    assert len(files) == 6
    assert {round(presets.read_json(path)["petaflop"], 12) for path in files} == {2e-7}

    def again(*_: Any) -> None:
        raise AssertionError("measured twice")

    monkeypatch.setattr(presets, "measured", again)
    assert presets.main(arguments) == 0
    assert capsys.readouterr().out == table
    write_json(tmp_path / "best" / "card.json", {"model": "gpt2"})
    with pytest.raises(ConfigError, match="was not found by a search"):
        presets.main(arguments)


def test_equal_seconds_scale_the_arithmetic() -> None:
    model = [{"cpu_seconds": 90.0, "petaflop": 0.003}, {"cpu_seconds": 110.0, "petaflop": 0.003}]
    other = [{"cpu_seconds": 40.0, "petaflop": 0.003}]
    assert presets.petaflop_of_equal_seconds(model, other) == pytest.approx(0.0075)
