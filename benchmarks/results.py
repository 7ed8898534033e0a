"""How every benchmark ends: one JSON object on standard output, and in a file where one was named."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any


def add_out(parser: argparse.ArgumentParser) -> None:
    """The option ``--out FILE.json``."""
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="write the JSON there, too")


def run(
    parser: argparse.ArgumentParser,
    measure: Callable[[argparse.Namespace], Mapping[str, Any]],
    argv: Sequence[str] | None,
) -> int:
    """Read the options, measure, `finish`: the whole `main` of a benchmark that has nothing else to do."""
    options = parser.parse_args(argv)
    finish(measure(options), options.out)
    return 0


def finish(result: Mapping[str, Any], out: Path | None = None) -> None:
    """Print a result as one JSON object, and write it to `out`."""
    text = json.dumps(result, indent=1)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text + "\n", encoding="utf-8")
    print(text)


def command(module: str, argv: Sequence[str] | None) -> str:
    """The line that a person types for this run."""
    return f"python -m {module} {shlex.join(sys.argv[1:] if argv is None else argv)}".rstrip()
