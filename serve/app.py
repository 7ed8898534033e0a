"""The HTTP service: FastAPI around `serve.service`, as a Ray Serve deployment. ``serve run serve.app:build_app``."""

from __future__ import annotations

from typing import Annotated

import torch
from fastapi import FastAPI
from fastapi.requests import Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from ray import serve
from ray.serve import Application

from discovery.constraints import Constraints
from discovery.errors import DiscoveryError
from discovery.generators.base import SamplingOptions
from discovery.generators.zoo import load_generator
from discovery.reference.loading import load_reference
from discovery.surrogates.zoo import load_surrogate
from serve.service import Service

MAX_SAMPLES = 10_000  # of one request
MAX_FORMULAS = 10_000  # of one request
Symbols = Annotated[list[str] | None, Field(max_length=103)]


class GenerateRequest(BaseModel):
    """What to sample."""

    n: int = Field(100, ge=1, le=MAX_SAMPLES)
    seed: int = Field(0, ge=0)
    constrained: bool = True
    temperature: float = Field(1.0, gt=0, le=10)
    elements: Symbols = None
    exclude_elements: Symbols = None
    chemsys: str | None = Field(None, max_length=100)
    max_atoms: int = Field(30, ge=2, le=30)
    max_elements: int = Field(8, ge=2, le=8)

    def options(self) -> SamplingOptions:
        """The same as the domain knows it."""
        limits = {
            "excluded": frozenset(self.exclude_elements or ()),
            "max_atoms": self.max_atoms,
            "max_elements": self.max_elements,
        }
        if self.chemsys is not None:
            constraints = Constraints.from_chemical_system(self.chemsys, **limits)
        else:
            allowed = None if self.elements is None else frozenset(self.elements)
            constraints = Constraints(allowed=allowed, **limits)  # type: ignore[arg-type]
        return SamplingOptions(self.constrained, constraints, self.temperature)


class RankRequest(BaseModel):
    """What to rank."""

    formulas: list[Annotated[str, Field(max_length=200)]] = Field(min_length=1, max_length=MAX_FORMULAS)
    scheme: str | None = None
    tolerance: float = Field(0.1, ge=0, le=10)


def routes(service: Service) -> FastAPI:
    """The interface over a service."""
    app = FastAPI(title="Discovery loop", version="1")

    @app.exception_handler(DiscoveryError)
    async def _problem(_: Request, error: DiscoveryError) -> JSONResponse:
        body = {"type": "about:blank", "title": type(error).__name__, "status": 422, "detail": str(error)}
        return JSONResponse(body, status_code=422, media_type="application/problem+json")

    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        """Alive, with the models' versions."""
        return {"status": "ok", "generator": service.generator.version, "surrogate": service.surrogate.version}

    @app.post("/v1/generate")
    def generate(request: GenerateRequest) -> dict[str, object]:
        """Sample new compositions."""
        return service.generate(request.n, request.seed, request.options())

    @app.post("/v1/rank")
    def rank(request: RankRequest) -> list[dict[str, object]]:
        """Formation energy and energy above hull, with uncertainty."""
        return service.rank(request.formulas, request.scheme, request.tolerance)

    return app


def make_routes() -> FastAPI:
    """The interface over the shipped models; loads them, so it runs inside the replica."""
    torch.set_num_threads(1)
    return routes(Service.of(load_generator("gpt2"), load_surrogate("ensemble"), load_reference("builtin")))


def build_app(_: dict[str, str] | None = None) -> Application:
    """The application that ``serve run`` starts."""
    deployment = serve.deployment(name="discovery", ray_actor_options={"num_cpus": 0.5})(serve.ingress(make_routes)())
    return deployment.bind()
