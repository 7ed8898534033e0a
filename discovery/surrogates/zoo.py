"""Names of surrogates -> loaded surrogates."""

from __future__ import annotations

from pathlib import Path

from discovery.errors import ConfigError
from discovery.surrogates.base import Surrogate
from discovery.surrogates.ensemble import EnsembleSurrogate

DEFAULT = "ensemble"
SHIPPED: dict[str, Path] = {DEFAULT: Path(__file__).parents[1] / "pretrained" / "surrogate"}


def load_surrogate(name_or_folder: str | Path = DEFAULT) -> Surrogate:
    """The shipped surrogate of that name, or the one saved in a folder.

    Raises:
        ConfigError: neither a name nor a folder.
        WeightsError: the folder's weights are missing, truncated or foreign.
    """
    folder = SHIPPED.get(str(name_or_folder), Path(name_or_folder))
    if str(name_or_folder) not in SHIPPED and not folder.is_dir():
        raise ConfigError(f"no surrogate {str(name_or_folder)!r}: name one of {sorted(SHIPPED)} or the folder of one")
    return EnsembleSurrogate.load(folder)
