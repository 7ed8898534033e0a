"""Names of surrogates -> loaded surrogates."""

from __future__ import annotations

from pathlib import Path

from discovery.errors import ConfigError, WeightsError
from discovery.model_files import CONFIG, read_json
from discovery.surrogates.base import Surrogate
from discovery.surrogates.ensemble import KIND as ENSEMBLE
from discovery.surrogates.ensemble import EnsembleSurrogate

DEFAULT = "ensemble"
LIFT = "language-interfaced"  # the kind that `discovery.surrogates.lift.surrogate` writes
_PRETRAINED = Path(__file__).parents[1] / "pretrained"
SHIPPED: dict[str, Path] = {
    DEFAULT: _PRETRAINED / "surrogate",
    "lift": _PRETRAINED / "lift",
    "fast": _PRETRAINED / "fast",
}


def load_surrogate(name_or_folder: str | Path = DEFAULT) -> Surrogate:
    """The shipped surrogate of that name, or the one saved in a folder.

    Raises:
        ConfigError: neither a name nor a folder.
        WeightsError: the folder's weights are missing, truncated or foreign.
    """
    folder = SHIPPED.get(str(name_or_folder), Path(name_or_folder))
    if str(name_or_folder) not in SHIPPED and not folder.is_dir():
        raise ConfigError(f"no surrogate {str(name_or_folder)!r}: name one of {sorted(SHIPPED)} or the folder of one")
    if not folder.is_dir():
        verb = {DEFAULT: "train", "fast": "distill"}.get(str(name_or_folder), name_or_folder)
        raise WeightsError(
            f"no weights of {name_or_folder!r} are shipped: make them with python -m discovery.surrogates {verb} "
            "--data DIR --out DIR, and give that folder as the surrogate"
        )
    kind = read_json(folder / CONFIG).get("kind")
    if kind == ENSEMBLE:
        return EnsembleSurrogate.load(folder)
    if kind == LIFT:
        # here, since language models take seconds to import, which a prediction by the ensemble need not wait for
        from discovery.surrogates.lift.loading import load_lift

        return load_lift(folder)
    raise WeightsError(f"{folder} holds no surrogate of this package ({kind!r}): give a folder that it wrote")


def load_ensemble(name_or_folder: str | Path, option: str) -> EnsembleSurrogate:
    """An ensemble of networks, named by a command line's option.

    Raises:
        ConfigError: another kind of surrogate, and as `load_surrogate`.
        WeightsError: as `load_surrogate`.
    """
    surrogate = load_surrogate(name_or_folder)
    if not isinstance(surrogate, EnsembleSurrogate):
        raise ConfigError(f"{option} {name_or_folder}: that is no ensemble of networks, name one")
    return surrogate
