"""The audit tells holes from packages that were not looked up."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

SPEC = spec_from_file_location("audit", Path(__file__).parents[2] / "deploy" / "audit.py")
assert SPEC is not None
assert SPEC.loader is not None
audit = module_from_spec(SPEC)
SPEC.loader.exec_module(audit)

SOUND = {"name": "sound", "version": "1.0", "vulns": []}
HOLE = {"id": "CVE-2026-1", "fix_versions": ["2.1", "3.0"]}
BROKEN = {"name": "broken", "version": "2.0", "vulns": [HOLE]}
UNKNOWN = {"name": "unknown", "skip_reason": "not found"}


def test_packages_without_holes_pass() -> None:
    assert audit.report([SOUND, UNKNOWN]) == (
        ["not in the database: unknown", "audit: 0 known holes in 1 packages"],
        0,
    )


def test_holes_are_listed_with_what_mends_them() -> None:
    lines, status = audit.report([SOUND, BROKEN])
    assert lines == ["broken 2.0: CVE-2026-1, mended in 2.1, 3.0", "audit: 1 known holes in 2 packages"]
    assert status == 1


def test_a_database_that_answers_nothing_is_no_clean_bill() -> None:
    for nothing in ([], [UNKNOWN]):  # pip-audit itself calls the second one clean
        assert audit.report(nothing) == ([audit.OUT_OF_REACH], 2)
