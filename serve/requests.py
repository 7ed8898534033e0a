"""From a request to a campaign's configuration: names become files of the service's own folders, or nothing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from discovery.config import CampaignConfig
from discovery.errors import ConfigError
from discovery.generators.zoo import names as generator_names
from discovery.oracles.external import EXTERNAL
from discovery.surrogates.zoo import SHIPPED
from serve.schemas import NAME, CampaignRequest
from serve.settings import Settings

OWN_FIELDS = {"name", "constraints", "budget"}  # of a request, that are no plain fields of a configuration
SNAPSHOT, TABLE = "snapshot:", "table:"


def config_of(request: CampaignRequest, settings: Settings) -> CampaignConfig:
    """The configuration that a request asks for.

    Raises:
        ConfigError: a name that is not there, or an oracle that the operator does not allow.
        ConstraintError: constraints that nothing can satisfy.
    """
    fields = request.model_dump(exclude=OWN_FIELDS)
    fields["model"] = generator_name(request.model, settings)
    fields["surrogate"] = surrogate_name(request.surrogate, settings)
    fields["reference"] = reference_name(request.reference, settings)
    fields["oracle"] = _oracle_name(request.oracle, settings)
    if request.candidates is not None:
        fields["candidates"] = str(upload(request.candidates, settings))
    return CampaignConfig(**fields, constraints=request.constraints.constraints(), budget=request.budget_value())


def generator_name(name: str | None, settings: Settings) -> str:
    """What `load_generator` is asked for."""
    return _model(name, settings.model, generator_names(), settings)


def surrogate_name(name: str | None, settings: Settings) -> str:
    """What `load_surrogate` is asked for."""
    return _model(name, settings.surrogate, list(SHIPPED), settings)


def reference_name(name: str | None, settings: Settings) -> str:
    """What `load_reference` is asked for."""
    name = settings.reference if name is None else name
    if name.startswith(SNAPSHOT):
        return SNAPSHOT + str(upload(name.removeprefix(SNAPSHOT), settings))
    return name


def upload(name: str, settings: Settings) -> Path:
    """A file of the uploads folder.

    Raises:
        ConfigError: no bare name, or no such file there.
    """
    return _inside(settings.uploads, name, "file", "uploads")


def shown(config: CampaignConfig, settings: Settings) -> dict[str, Any]:
    """A configuration as its request would write it: names, and no path of this machine."""
    values = config.plain()
    for name in ("model", "surrogate", "candidates", "oracle", "reference"):
        if isinstance(values.get(name), str):
            values[name] = without_folder(values[name], settings)
    return values


def without_folder(text: str, settings: Settings) -> str:
    """The text without the service's folders."""
    for folder in (settings.uploads, settings.models):
        text = text.replace(f"{folder}/", "")
    return text


def _model(name: str | None, default: str, shipped: list[str], settings: Settings) -> str:
    name = default if name is None else name
    return name if name in shipped else str(_inside(settings.models, name, "model", "models"))


def _oracle_name(name: str, settings: Settings) -> str:
    if name in ("chgnet", EXTERNAL) or name in settings.allowed_oracles:
        return name
    if name.startswith(TABLE):
        return TABLE + str(upload(name.removeprefix(TABLE), settings))
    allowed = ", ".join(["chgnet", EXTERNAL, "table:NAME", *sorted(settings.allowed_oracles)])
    raise ConfigError(f"oracle {name!r} is not allowed here: choose {allowed}, or ask the operator to allow it")


def _inside(folder: Path, name: str, kind: str, where: str) -> Path:
    path = folder / name
    if re.fullmatch(NAME, name) is None or not path.exists() or path.resolve().parent != folder.resolve():
        raise ConfigError(f"there is no {kind} {name!r}: put it into the folder {where}/ of DISCOVERY_HOME first")
    return path
