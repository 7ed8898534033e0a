"""Looks the installed packages up in the public database of known holes: ``make audit``.

Exit status (`make` turns every other one than 0 into its own 2; the last line says which it was):
    0  packages were looked up, and none has a known hole
    1  there are known holes: their packages, and the versions that mend them, are listed
    2  nothing could be looked up: the database, or the installer, is out of reach
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

OUT_OF_REACH = "audit: the database of known holes is out of reach: run `make audit` again where the network is"


def look_up(options: Sequence[str]) -> list[dict[str, Any]]:
    """What pip-audit says of each package; empty where it could not be had, or had no answer."""
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / "found.json"
        install = [sys.executable, "-m", "pip", "install", "--quiet", "pip-audit"]
        audit = [sys.executable, "-m", "pip_audit", "--local", "--skip-editable", "--format", "json"]
        for command in (install, [*audit, "--output", str(found), *options]):
            subprocess.run(command, capture_output=True, check=False)  # its status does not tell holes from no answer
        return list(json.loads(found.read_text())["dependencies"]) if found.is_file() else []


def report(packages: Sequence[dict[str, Any]]) -> tuple[list[str], int]:
    """Lines to print, and the exit status. What pip-audit skips was not looked up: it is no package without holes."""
    looked_up = [package for package in packages if "vulns" in package]
    skipped = [package["name"] for package in packages if "vulns" not in package]
    holes = [(package, hole) for package in looked_up for hole in package["vulns"]]
    if not looked_up:
        return [OUT_OF_REACH], 2
    lines = [f"{package['name']} {package['version']}: {_described(hole)}" for package, hole in holes]
    if skipped:
        lines.append(f"not in the database: {', '.join(sorted(skipped))}")
    return [*lines, f"audit: {len(holes)} known holes in {len(looked_up)} packages"], int(bool(holes))


def _described(hole: dict[str, Any]) -> str:
    return f"{hole['id']}, mended in {', '.join(hole['fix_versions']) or 'no version'}"


def main() -> int:
    """Look up, print, and return the exit status."""
    lines, status = report(look_up(sys.argv[1:]))
    print("\n".join(lines))
    return status


if __name__ == "__main__":
    sys.exit(main())
