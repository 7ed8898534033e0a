import csv
import sys

import pandas as pd
import pytest

from discovery import generate
from discovery.errors import ConfigError, ConstraintError, DataError
from discovery.options import add_constraint_options, constraints_from, exit_with
from tests.small import small_generator


class Known:
    """A small set of known formulas in the reference's place."""

    def __contains__(self, formula):
        return formula in {"NaCl", "NaN"}

    def __len__(self):
        return 2


@pytest.fixture(autouse=True)
def small_reference(monkeypatch):
    monkeypatch.setattr(generate, "load_builtin", lambda: type("Reference", (), {"known": Known()}))


def written(tmp_path, *options, n=20):
    path = tmp_path / "samples.csv"
    assert generate.main(["--n", str(n), "--model", "pseudo-random", "--out", str(path), *options]) == 0
    return pd.read_csv(path, keep_default_na=False)


def test_one_row_per_sequence_with_the_stated_columns(tmp_path):
    table = written(tmp_path)
    assert list(table.columns) == list(generate.COLUMNS)
    assert len(table) == 20
    assert (table.sequence.str.endswith(" <end>")).all()
    assert table.charge_neutral.all()
    assert table.electronegativity_balanced.all()


def test_the_seed_decides(tmp_path):
    first, again, other = (written(tmp_path, "--seed", seed).formula.tolist() for seed in ("1", "1", "2"))
    assert first == again != other


def test_constraints_reach_the_samples(tmp_path):
    table = written(tmp_path, "--require", "O", "--exclude-elements", "H,F", "--max-atoms", "8", "--max-elements", "3")
    for sequence in table.sequence:
        atoms = sequence.split()[:-1]
        assert "O" in atoms
        assert not {"H", "F"} & set(atoms)
        assert len(atoms) <= 8
        assert len(set(atoms)) <= 3


def test_rows_say_what_is_wrong_with_a_sequence(tmp_path):
    from discovery.records import Sample

    drawn = [
        Sample("Na Cl <end>", "NaCl", -1.5),
        Sample("Na <pad> Cl <end>", None, -20.0),
        Sample("Na N <end>", "NaN", -3.0),
        Sample("O O <end>", "O2", -4.0),
        Sample("C Se Se <end>", "CSe2", -5.0),
    ]
    generate.write_samples(tmp_path / "a.csv", drawn, Known())
    with (tmp_path / "a.csv").open() as file:
        rows = [list(row.values())[1:] for row in csv.DictReader(file)]
    assert rows == [
        ["NaCl", "NaCl", "-1.500000", "true", "true", "true"],
        ["", "", "-20.000000", "false", "false", "false"],
        ["NaN", "NaN", "-3.000000", "true", "true", "true"],
        ["O2", "", "-4.000000", "false", "false", "false"],
        ["CSe2", "CSe2", "-5.000000", "true", "false", "false"],
    ]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (["--elements", "Na,Xx"], ConstraintError, "unknown elements"),
        (["--elements", ""], ConstraintError, "empty"),
        (["--require", "O", "--exclude-elements", "O"], ConstraintError, "also excluded"),
        (["--chemsys", "Li-Fe-O", "--elements", "Li,O"], ConstraintError, "beyond --elements"),
        (["--chemsys", "Li-Fe-O", "--require", "Na"], ConstraintError, "not part of --chemsys"),
        (["--chemsys", "Li"], ConstraintError, "two elements"),
        (["--chemsys", "Li-Na"], ConstraintError, "no charge-neutral"),
        (["--require", "He"], ConstraintError, "He cannot be charge neutral"),
        (["--model", "nothing"], ConfigError, "no generator 'nothing'"),
    ],
)
def test_wrong_calls_write_nothing(tmp_path, options, error, message):
    path = tmp_path / "samples.csv"
    with pytest.raises(error, match=message):
        generate.main(["--n", "5", "--model", "pseudo-random", "--out", str(path), *options])
    assert not path.exists()


def test_a_missing_output_folder_is_an_error(tmp_path):
    with pytest.raises(DataError, match="is no folder"):
        generate.main(["--n", "5", "--model", "random", "--out", str(tmp_path / "no" / "a.csv")])


def test_errors_end_in_one_line_and_their_status(capsys):
    for raised, status in ((ConstraintError("too narrow: widen it"), 2), (DataError("broken: mend it"), 1)):

        def main(raised=raised):
            raise raised

        with pytest.raises(SystemExit) as ended:
            exit_with(main)
        assert ended.value.code == status
        assert capsys.readouterr().err == f"error: {raised}\n"
    with pytest.raises(SystemExit) as ended:
        exit_with(lambda: None)
    assert ended.value.code == 0


def test_an_unknown_option_exits_with_two(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["generate", "--nonsense"])
    with pytest.raises(SystemExit) as ended:
        exit_with(generate.main)
    assert ended.value.code == 2
    assert "usage" in capsys.readouterr().err


def test_constraint_options_default_to_no_constraint():
    import argparse

    from discovery.constraints import Constraints

    parser = argparse.ArgumentParser()
    add_constraint_options(parser)
    assert constraints_from(parser.parse_args([])) == Constraints()
    chosen = constraints_from(parser.parse_args(["--chemsys", "O-Fe-Li", "--mixed-valence"]))
    assert chosen.allowed == chosen.required == frozenset({"Li", "Fe", "O"})
    assert chosen.exact_system
    assert chosen.mixed_valence


def test_rare_elements_are_favoured_in_language_models_alone(tmp_path):
    with pytest.raises(ConfigError, match="pseudo-random is none"):
        written(tmp_path, "--rare", "0.5")
    small_generator(tmp_path / "model")
    table = written(tmp_path, "--model", str(tmp_path / "model"), "--rare", "0.5", "--constrained")
    assert table.charge_neutral.all()
    with pytest.raises(ConfigError, match="do not go together"):
        written(tmp_path, "--model", str(tmp_path / "model"), "--rare", "0.5", "--template", "Li ? O")
    with pytest.raises(ConfigError, match="between 0 and 1"):
        written(tmp_path, "--model", str(tmp_path / "model"), "--rare", "2")
