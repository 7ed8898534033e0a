import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from discovery.errors import ConfigError
from discovery.surrogates.__main__ import main
from discovery.surrogates.dataset import split_of
from discovery.surrogates.distill import lessons
from discovery.surrogates.ensemble import EnsembleSurrogate
from discovery.surrogates.evaluation import calibrate
from discovery.surrogates.features import encode
from discovery.surrogates.recalibration import unseen_std
from discovery.surrogates.training import TrainingConfig, train_member
from discovery.surrogates.zoo import load_surrogate
from tests.core.test_surrogate_main import options, tables  # noqa: F401
from tests.core.tiny_surrogate import SIZES, dataset, tiny_ensemble

pytestmark = pytest.mark.usefixtures("one_thread")
MORE = [f"Li{n}{x}" for n in range(4, 12) for x in ("O", "F", "Cl")]  # reduced; known, without a label


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> EnsembleSurrogate:
    return tiny_ensemble(tmp_path_factory.mktemp("teacher"))


def test_lessons_are_the_teachers_answers_and_hold_nothing_of_the_test_part(teacher: EnsembleSurrogate) -> None:
    data = dataset()
    lesson = lessons(teacher, data, [*MORE, "Li"])
    learned = [lesson.formulas[row] for row in lesson.rows("train")]
    assert {f for f in MORE if split_of(f) == "train"} <= set(learned)
    assert all(split_of(formula) == "train" for formula in learned)
    few = unseen_std(teacher.element_counts, encode(learned))
    for column, scheme in enumerate(data.schemes):
        said = teacher.predict(learned, scheme)
        np.testing.assert_allclose(lesson.energies[lesson.rows("train"), column], said.mean, atol=1e-5)
        assert lesson.scales is not None
        whole = np.hypot(lesson.scales[lesson.rows("train"), column] * 2**0.5, few)
        np.testing.assert_allclose(whole, said.std, rtol=1e-4)
    kept = lesson.rows("validation")
    assert [lesson.formulas[row] for row in kept] == [data.formulas[row] for row in data.rows("validation")]
    np.testing.assert_array_equal(lesson.energies[kept], data.energies[data.rows("validation")])
    with pytest.raises(ConfigError, match="the teacher knows"):
        lessons(teacher, replace(data, schemes=("lab", *data.schemes[1:])), [])


def test_the_student_says_what_the_teacher_says(teacher: EnsembleSurrogate, tmp_path: Path) -> None:
    lesson = lessons(teacher, dataset(), MORE)
    config = TrainingConfig(
        epochs=30, restart_epochs=0, batch_size=32, peak_rate=1e-2, average_decay=0.95, dropout=0.0, spread_weight=0.3
    )
    network = train_member(lesson, config, tmp_path / "student.safetensors", lambda report: None, SIZES)
    student = calibrate(EnsembleSurrogate((network,), {}, teacher.element_counts), dataset())
    new = [dataset().formulas[row] for row in dataset().rows("test")]
    said, taught = student.predict(new, "mp2019"), teacher.predict(new, "mp2019")
    spread = taught.mean.std()
    assert np.abs(said.mean - taught.mean).mean() < 0.25 * spread
    assert np.corrcoef(said.std, taught.std)[0, 1] > 0.3, "where the teacher is unsure, the student is"
    np.testing.assert_allclose(said.epistemic_std, unseen_std(teacher.element_counts, encode(new)))


def test_one_command_makes_a_student(tables: Path, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    main(["train", *options(tables, "out", 2)])
    listed = tables / "known.txt"
    listed.write_text("\n".join(MORE))
    paths = {"--data": tables, "--potential": tables / "potential.csv", "--formulas": listed, "--out": tables / "fast"}
    words = [str(word) for pair in paths.items() for word in pair]
    rest = ["--teacher", str(tables / "out"), "--checkpoints", str(tables / "checks"), "--epochs", "1"]
    assert main(["distill", *words, *rest]) == 0
    assert "validation MAE" in capsys.readouterr().out
    student = load_surrogate(tables / "fast")
    assert student.version.startswith("fast-")
    card = json.loads((tables / "fast" / "card.json").read_text())
    assert card["teacher"] == load_surrogate(tables / "out").version
    assert card["results_on_test"]["mp2019"]["n"] > 10
    with pytest.raises(ConfigError, match="no ensemble"):
        main(["distill", *words, "--teacher", "lift"])
