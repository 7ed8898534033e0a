"""Make a training set: ``python -m discovery.datasets --formulas FILE --variant mix|pure|strict --out DIR``.

The variants of Fu et al., Mach. Learn.: Sci. Technol. 4, 015001 (2023), by our rules: *mix* is every compound of at
most 8 elements and 30 atoms; *pure* those that are charge neutral and electronegativity balanced by SMACT's default;
*strict* the same without the oxidation states that less than 10 % of an element's ICSD entries have. DIR gets
`train.csv`, `valid.csv`, `test.csv` (column `formula`), `withheld.csv` with ``--withhold``, and `dataset.json`, which
says how many rows each rule removed.
"""

from __future__ import annotations

import argparse
import csv
import shlex
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pymatgen.core import Composition
from pymatgen.core.composition import reduce_formula

from discovery import model_files
from discovery.composition import SYMBOLS, amounts, canonical_key
from discovery.errors import CompositionError, ConfigError, DataError
from discovery.formulas import DATASET, FormulaRow, read_rows, split_of_key
from discovery.options import exit_with, symbols
from discovery.validity import Rules, StateSet, verdict

STATES: dict[str, StateSet | None] = {"mix": None, "pure": "icsd24", "strict": "icsd24-medium"}
PARTS = ("train", "valid", "test")

Family = frozenset[str]  # compounds that contain all of these elements
Amounts = dict[str, int]


@dataclass(frozen=True)
class Selection:
    """Which rows of a list become the data set. The rules apply in the order of the fields."""

    minimum: float | None = None  # smallest value of the property column
    maximum: float | None = None  # largest one
    max_elements: int = 8
    max_atoms: int = 30  # per reduced formula unit
    variant: str = "pure"
    withhold: tuple[Family, ...] = ()

    @property
    def limits_property(self) -> bool:
        """True where a property column decides, too."""
        return self.minimum is not None or self.maximum is not None


@dataclass
class Selected:
    """What is left of a list, and what is not."""

    kept: list[Amounts] = field(default_factory=list)
    withheld: list[tuple[Amounts, str]] = field(default_factory=list)  # with the name of the family
    removed: Counter[str] = field(default_factory=Counter)  # rule -> rows


def select(rows: Iterable[FormulaRow], selection: Selection, file: Path) -> Selected:
    """The compositions that pass all rules, each once, in the order of the list; `file` is named in errors.

    Raises:
        DataError: a row is no composition, or its property is no number (the line is named).
    """
    result, seen = Selected(), set[str]()
    rules = _rules(selection.variant)
    for row in rows:
        counts = _counts(row, file)
        rule: str | None = _outside(row, selection, file) or _misfit(counts, selection)
        key = canonical_key(counts)
        if rule is None:
            rule = "repeated composition" if key in seen else _unbalanced(counts, rules)
            seen.add(key)
        if rule is not None:
            result.removed[rule] += 1
        elif family := _family_of(counts, selection.withhold):
            result.withheld.append((counts, family))
        else:
            result.kept.append(counts)
    return result


def split(kept: Iterable[Amounts], seed: int, valid_share: float, test_share: float) -> dict[str, list[str]]:
    """Reduced formulas of each part, by `discovery.formulas.split_of`."""
    parts: dict[str, list[str]] = {part: [] for part in PARTS}
    for counts in kept:
        part = split_of_key(canonical_key(counts), seed, valid_share, test_share)
        parts[part].append(_reduced_formula(counts))
    return parts


def family_name(family: Family) -> str:
    """``K-Zn``: the elements in alphabetical order."""
    return "-".join(sorted(family))


def write(out: Path, parts: Mapping[str, Sequence[str]], withheld: Sequence[tuple[Amounts, str]]) -> None:
    """One CSV file per part, and the withheld compounds where there are any.

    Raises:
        DataError: the folder cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        for part, formulas in parts.items():
            _write_csv(out / f"{part}.csv", ("formula",), [(formula,) for formula in formulas])
        if withheld:
            rows = [(_reduced_formula(counts), family) for counts, family in withheld]
            _write_csv(out / "withheld.csv", ("formula", "family"), rows)
    except OSError as error:
        raise DataError(f"{out} cannot be written ({error.strerror}): choose another --out") from error


def parser() -> argparse.ArgumentParser:
    """The options of this entry point."""
    options = argparse.ArgumentParser(prog="python -m discovery.datasets", description=__doc__)
    options.add_argument("--formulas", required=True, type=Path, metavar="FILE", help="formulas: txt, csv or parquet")
    options.add_argument("--variant", required=True, choices=sorted(STATES))
    options.add_argument("--out", required=True, type=Path, metavar="DIR")
    options.add_argument("--where", metavar="COLUMN", help="keep only the rows where this column is true")
    options.add_argument("--property", metavar="COLUMN", help="keep only the rows where this column is in a range")
    options.add_argument("--min", type=float, metavar="X", help="smallest value of --property")
    options.add_argument("--max", type=float, metavar="X", help="largest value of --property")
    options.add_argument("--max-elements", type=int, default=Selection.max_elements, metavar="N")
    options.add_argument("--max-atoms", type=int, default=Selection.max_atoms, metavar="N", help="per reduced formula")
    options.add_argument(
        "--withhold",
        action="append",
        default=[],
        metavar="A,B",
        help="put all compounds that contain these elements into withheld.csv instead; may be given several times",
    )
    options.add_argument("--test-share", type=float, default=0.1, metavar="P", help="held-out share (default 0.1)")
    options.add_argument("--valid-share", type=float, default=0.05, metavar="P", help="for early stopping (0.05)")
    options.add_argument("--seed", type=int, default=0, help="of the split")
    return options


def main(argv: list[str] | None = None) -> int:
    """Select, split, write and say what was removed."""
    args = parser().parse_args(argv)
    selection = _selection(args)
    if (args.out / DATASET).exists():
        raise ConfigError(f"{args.out} already holds a data set: choose another --out, or remove that folder")
    began = time.perf_counter()
    rows = read_rows(args.formulas, args.where, args.property)
    selected = select(rows, selection, args.formulas)
    parts = split(selected.kept, args.seed, args.valid_share, args.test_share)
    if empty := [part for part in PARTS if not parts[part]]:
        found = f"{len(selected.kept)} compounds are left of {len(rows)} rows"
        raise DataError(f"{args.formulas}: {found}, too few for a {empty[0]} part: loosen the rules or the shares")
    write(args.out, parts, selected.withheld)
    seconds = time.perf_counter() - began
    command = f"python -m discovery.datasets {shlex.join(sys.argv[1:] if argv is None else argv)}"
    card = {"command": command, **_card(args, len(rows), selected, parts), "seconds": round(seconds, 1)}
    model_files.write_json(args.out / DATASET, card)
    print("\n".join(_report(card, args.out)))
    return 0


def _selection(args: argparse.Namespace) -> Selection:
    if args.property is None and not args.min is args.max is None:
        raise ConfigError("--min and --max are the range of a column: name it with --property")
    if args.property is not None and args.min is args.max is None:
        raise ConfigError(f"--property {args.property} needs a range: give --min, --max or both")
    if args.min is not None and args.max is not None and args.min > args.max:
        raise ConfigError(f"--min {args.min} is above --max {args.max}: no row can be kept")
    if min(args.valid_share, args.test_share) <= 0 or args.valid_share + args.test_share >= 1:
        raise ConfigError("--valid-share and --test-share are each above 0, and below 1 together")
    families = tuple(_family(text) for text in args.withhold)
    return Selection(args.min, args.max, args.max_elements, args.max_atoms, args.variant, families)


def _family(text: str) -> Family:
    found = symbols(text, "--withhold") or frozenset()
    if unknown := sorted(found - frozenset(SYMBOLS)):
        raise ConfigError(f"--withhold names unknown elements {unknown}: use symbols such as K,Zn")
    return found


def _rules(variant: str) -> Rules | None:
    states = STATES[variant]
    return None if states is None else Rules(states=states)


def _counts(row: FormulaRow, file: Path) -> Amounts:
    try:
        return amounts(row.formula)
    except CompositionError as error:
        raise DataError(f"{file}, line {row.line}: {error}") from error


def _outside(row: FormulaRow, selection: Selection, file: Path) -> str | None:
    if not selection.limits_property:
        return None
    text = "" if row.value is None else str(row.value).strip()
    if text.lower() in {"", "nan"}:
        return "no value of the property"
    try:
        value = float(text)
    except ValueError as error:
        where = f"{file}, line {row.line}"
        raise DataError(f"{where}: {text!r} is no number: mend the row, or name another --property") from error
    above = selection.minimum is None or value >= selection.minimum
    below = selection.maximum is None or value <= selection.maximum
    return None if above and below else "property out of range"


def _misfit(counts: Amounts, selection: Selection) -> str | None:
    if len(counts) < 2:
        return "single element"
    if len(counts) > selection.max_elements:
        return f"more than {selection.max_elements} elements"
    return f"more than {selection.max_atoms} atoms" if sum(counts.values()) > selection.max_atoms else None


def _unbalanced(counts: Amounts, rules: Rules | None) -> str | None:
    if rules is None:
        return None
    judged = verdict(counts, rules)
    if judged.electronegativity_balanced:
        return None
    return "not electronegativity balanced" if judged.charge_neutral else "not charge neutral"


def _family_of(counts: Amounts, families: Sequence[Family]) -> str | None:
    return next((family_name(family) for family in families if family <= counts.keys()), None)


def _reduced_formula(counts: Amounts) -> str:
    # as `Composition.reduced_formula`, in a fifth of the time of `composition.reduced_formula`: no text is parsed
    formula, _ = reduce_formula(counts)
    return str(Composition.special_formulas.get(formula, formula))


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(header)
        table.writerows(rows)


def _card(
    args: argparse.Namespace, rows: int, selected: Selected, parts: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    families = Counter(family for _, family in selected.withheld)
    return {
        "source": args.formulas.name,
        "where": args.where,
        "property": None if args.property is None else {"name": args.property, "min": args.min, "max": args.max},
        "variant": args.variant,
        "oxidation_states": STATES[args.variant],
        "rows": rows,
        "removed": dict(selected.removed),
        "withheld": {family_name(_family(text)): families[family_name(_family(text))] for text in args.withhold},
        **{part: len(formulas) for part, formulas in parts.items()},
        "split": {
            "rule": "discovery.formulas.split_of: by hash of the composition",
            "seed": args.seed,
            "valid_share": args.valid_share,
            "test_share": args.test_share,
        },
        "versions": {name: version(name) for name in ("smact", "pymatgen")},
    }


def _report(card: Mapping[str, Any], out: Path) -> list[str]:
    lines = [f"{card['rows']:>9,}  rows of {card['source']}"]
    lines += [f"{-count:>9,}  {rule}" for rule, count in card["removed"].items()]
    lines += [f"{-count:>9,}  withheld: family {family}" for family, count in card["withheld"].items()]
    lines += [f"{card[part]:>9,}  {part}" for part in PARTS]
    return [*lines, f"written to {out} in {card['seconds']} s"]


if __name__ == "__main__":
    exit_with(main)
