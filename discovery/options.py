"""Command-line options that several entry points share, and how they end."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from discovery.constraints import Constraints
from discovery.errors import ConfigError, ConstraintError, DiscoveryError


def exit_with(main: Callable[[], int | None]) -> None:
    """Run an entry point and end the process; an error of ours becomes one line on standard error."""
    try:
        status = main() or 0
    except DiscoveryError as error:
        print(f"error: {error}", file=sys.stderr)
        status = error.exit_status
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        status = 130
    sys.exit(status)


def add_constraint_options(parser: argparse.ArgumentParser) -> None:
    """Options that limit the compositions; `constraints_from` reads them."""
    group = parser.add_argument_group("constraints")
    group.add_argument("--elements", metavar="A,B", help="only these elements may occur")
    group.add_argument("--require", metavar="A,B", help="all of these elements must occur")
    group.add_argument("--exclude-elements", metavar="A,B", help="none of these elements may occur")
    group.add_argument("--chemsys", metavar="A-B-C", help="exactly these elements")
    group.add_argument("--max-atoms", type=int, default=Constraints.max_atoms, metavar="N", help="atoms per formula")
    group.add_argument(
        "--max-elements", type=int, default=Constraints.max_elements, metavar="N", help="distinct elements"
    )
    group.add_argument("--intermetallics", action="store_true", help="also admit compositions of metals only")
    group.add_argument("--mixed-valence", action="store_true", help="an element may have several oxidation states")


def constraints_from(args: argparse.Namespace) -> Constraints:
    """The constraints that were asked for.

    Raises:
        ConstraintError: unknown elements, empty lists, or options that contradict each other.
    """
    limits = {
        "excluded": symbols(args.exclude_elements, "--exclude-elements") or frozenset(),
        "max_atoms": args.max_atoms,
        "max_elements": args.max_elements,
        "intermetallics": args.intermetallics,
        "mixed_valence": args.mixed_valence,
    }
    allowed = symbols(args.elements, "--elements")
    required = symbols(args.require, "--require") or frozenset()
    if args.chemsys is None:
        return Constraints(allowed=allowed, required=required, **limits)
    system = Constraints.from_chemical_system(args.chemsys, **limits)
    chosen = system.allowed or frozenset()
    if allowed is not None and not chosen <= allowed:
        raise ConstraintError(f"--chemsys {args.chemsys} goes beyond --elements {args.elements}: drop one of the two")
    if not required <= chosen:
        raise ConstraintError(f"--require {args.require} is not part of --chemsys {args.chemsys}: drop one of the two")
    return system


def symbols(text: str | None, option: str) -> frozenset[str] | None:
    """Element symbols of a list such as ``Li,Fe,O``; None where the option was not given."""
    if text is None:
        return None
    found = frozenset(part.strip() for part in text.split(",") if part.strip())
    if not found:
        raise ConstraintError(f"{option} is empty: name elements such as Li,Fe,O or leave it out")
    return found


def torch_device(name: str) -> str:
    """The torch device of the option --device; ``auto`` takes the GPU where there is one."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--device cuda, but torch sees no GPU: use --device cpu or auto")
    return name
