"""Generate, rank, and what there is to do it with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool

from discovery.acquisition import ACQUISITIONS
from discovery.generators.zoo import BASELINES, FAMILIES, PRETRAINED
from discovery.surrogates.zoo import SHIPPED
from serve.answers import PROBLEMS
from serve.backend import Backend
from serve.requests import SNAPSHOT, generator_name, reference_name
from serve.schemas import GenerateAnswer, GenerateRequest, Ranked, RankRequest
from serve.service import Generation, Ranking


def routes(backend: Backend) -> APIRouter:
    """The routes of models."""
    router = APIRouter(prefix="/v1", tags=["models"], responses=PROBLEMS)
    settings = backend.settings

    @router.post("/generate", response_model=GenerateAnswer)
    async def generate(request: GenerateRequest) -> Any:
        """Sample new compositions; the same seed gives the same ones."""
        model = generator_name(request.model, settings)
        with backend.gate.admit(request.n):
            return await backend.inference.generate(Generation(request.n, request.seed, model, request.options()))

    @router.post("/rank", response_model=list[Ranked], response_model_exclude_unset=True)
    async def rank(request: RankRequest) -> Any:
        """Formation energy and energy above hull of each formula, with uncertainty, in the order of the request."""
        reference = reference_name(request.reference, settings)
        with backend.gate.admit(len(request.formulas)):
            wanted = Ranking(tuple(request.formulas), request.scheme, reference, request.tolerance)
            return await backend.inference.rank(wanted)

    @router.get("/models")
    async def models() -> dict[str, Any]:
        """What requests may name: generators, surrogates, references, oracles and acquisitions."""
        return await run_in_threadpool(catalogue, backend)

    return router


def catalogue(backend: Backend) -> dict[str, Any]:
    """Names with what is known of them, and which one is the default."""
    settings = backend.settings
    own = sorted(path for path in settings.models.glob("*") if (path / "card.json").is_file())
    shipped = [(name, PRETRAINED / f"{name}-small") for name in FAMILIES if (PRETRAINED / f"{name}-small").is_dir()]
    generators = [*shipped, *((path.name, path) for path in own if _card(path).get("model") in FAMILIES)]
    surrogates = [*SHIPPED.items(), *((path.name, path) for path in own if "model" not in _card(path))]
    uploads = sorted(path.name for path in settings.uploads.glob("*") if path.is_file())
    return {
        "generators": [
            *(_entry(name, path, settings.model) for name, path in generators),
            *({"name": name, "version": BASELINES[name].version, "default": False} for name in BASELINES),
        ],
        "surrogates": [_entry(name, path, settings.surrogate) for name, path in surrogates],
        "references": [
            {"name": name, "default": name == settings.reference}
            for name in ("builtin", *(SNAPSHOT + name for name in uploads))
        ],
        "oracles": ["chgnet", "external", *(f"table:{name}" for name in uploads), *sorted(settings.allowed_oracles)],
        "acquisitions": sorted(ACQUISITIONS),
        "uploads": uploads,
    }


def _entry(name: str, folder: Path, default: str) -> dict[str, Any]:
    card = _card(folder)
    version = card.get("version") or json.loads((folder / "config.json").read_text()).get("version", "")
    return {"name": name, "version": version, "default": name == default}


def _card(folder: Path) -> dict[str, Any]:
    card: dict[str, Any] = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    return card
