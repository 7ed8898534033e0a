"""The study of analogues: pairs, and a small run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import analogues
from discovery.surrogates.__main__ import main as surrogates
from tests.core.test_surrogate_main import options, tables  # noqa: F401

pytestmark = pytest.mark.usefixtures("one_thread")


def test_pairs_differ_in_one_element_of_a_group() -> None:
    formulas = ["NaCl", "KCl", "KBr", "MgO", "LaN", "CeN"]
    found = analogues.alike(formulas, np.array([1.0, 1.0, -1.0, 0.5, 2.0, 2.0]))
    assert found["n"] == 3  # NaCl-KCl, KCl-KBr, LaN-CeN
    assert found["correlation"] == pytest.approx(np.corrcoef([1, 1, 2, 1, -1, 2], [1, -1, 2, 1, 1, 2])[0, 1], abs=1e-3)


def test_a_small_run(tables: Path, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    surrogates(["train", *options(tables, "out", 2)])
    capsys.readouterr()
    given = ["--data", str(tables), "--potential", str(tables / "potential.csv"), "--surrogate", str(tables / "out")]
    assert analogues.main(given) == 0
    result = json.loads(capsys.readouterr().out)
    assert set(result["mae"]) == {"mp2019", "mp2020", "chgnet-0.3.0", "oqmd"}
    assert result["mae"]["mp2019"].keys() == {"n", "networks alone", "corrected"}
