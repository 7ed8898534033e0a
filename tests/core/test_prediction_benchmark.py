from pathlib import Path

import pytest

from benchmarks import prediction as benchmark
from discovery.composition import amounts
from discovery.surrogates.magpie import gradient_boosting
from discovery.surrogates.network import NetworkConfig
from tests.small import small_surrogate


def test_all_rates_of_one_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = small_surrogate(tmp_path / "surrogate", members=3)
    monkeypatch.setattr(benchmark, "gradient_boosting", lambda x, y, seed: gradient_boosting(x, y, seed, rounds=3))
    flags = {"--compositions": "300", "--train": "60", "--repeats": "1", "--threads": "1", "--largest": "600"}
    options = [text for pair in flags.items() for text in pair]
    assert benchmark.main(["--surrogate", str(folder), *options, "--out", str(tmp_path / "out.json")]) == 0
    result = benchmark.measure(benchmark._parser().parse_args(["--surrogate", str(folder), *options]))
    assert result["members"] == 3
    ensemble, trees = result["ensemble_per_s"], result["trees_per_s"]
    assert 0 < ensemble["whole"] < ensemble["parsing"]
    assert set(trees) == {"features", "random_forest", "gradient_boosting"}
    assert result["growth"]["compositions"] == 600
    assert (tmp_path / "out.json").read_text() == capsys.readouterr().out


def test_formulas_are_made_by_seed_and_have_two_to_five_elements() -> None:
    made = benchmark.formulas(200, 0)
    assert made == benchmark.formulas(200, 0) != benchmark.formulas(200, 1)
    assert {len(amounts(formula)) for formula in made} == {2, 3, 4, 5}


def test_operations_by_hand() -> None:
    # one token of width 2: queries, keys, values and output 4 x 4, feed-forward 2 x 2 x 3, bases 94 x 2, value and gate
    # 2 x (4 + 8); the head 2 x 4 x 4 + 64 x 4; a multiplication and an addition each
    config = NetworkConfig(("a",), width=2, layers=1, heads=1, feed_forward=3, pooled=4)
    assert benchmark.flops(config, 1.0) == 2 * (16 + 12 + 188 + 24 + 32 + 256)
