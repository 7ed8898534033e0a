"""The application: routes, security, page, documentation, OPTIMADE and metrics over a backend."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse, Response
from starlette.staticfiles import StaticFiles

from discovery import __version__
from discovery.errors import ConfigError
from serve import problems, routes_campaigns, routes_models, routes_results
from serve.answers import PROBLEMS
from serve.backend import Backend
from serve.docs_page import STYLE, docs_html
from serve.errors import BusyError
from serve.metrics import Metrics
from serve.optimade import optimade_app
from serve.schemas import ProblemDetails
from serve.security import Guard

PAGE = Path(__file__).parent / "page"
SHARED_STYLE = Path(str(files("discovery.report"))) / "shared.css"  # tables and charts look as in a report
DESCRIPTION = "Closed-loop discovery of inorganic materials: generate, rank, and campaigns that ask and are told."


def make_app(backend: Backend) -> FastAPI:
    """The interface over a backend."""
    app = FastAPI(title="Discovery loop", version=__version__, description=DESCRIPTION, docs_url=None, redoc_url=None)
    problems.install(app)
    for part in (routes_models, routes_campaigns, routes_results):
        app.include_router(part.routes(backend), dependencies=[Depends(_known_parameters)])
    metrics = Metrics(backend.store)
    _add_health(app, backend, metrics)
    _add_pages(app)
    app.mount("/optimade", optimade_app(backend.store))
    app.add_middleware(Guard, settings=backend.settings)
    app.add_middleware(metrics.middleware)  # outermost: what is refused is counted too
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def _known_parameters(request: Request) -> None:
    """Refuse query parameters that a route does not have: one that is misspelt would be ignored without a word."""
    known = {parameter.alias for parameter in request.scope["route"].dependant.query_params}
    if unknown := sorted(set(request.query_params) - known):
        raise ConfigError(f"no query parameters {unknown} here: known are {', '.join(sorted(known)) or 'none'}")


def _add_health(app: FastAPI, backend: Backend, metrics: Metrics) -> None:
    @app.get("/healthz", tags=["service"], responses=PROBLEMS)
    def healthz() -> dict[str, str]:
        """Alive."""
        return {"status": "ok", "version": __version__}

    @app.get("/readyz", tags=["service"], responses=PROBLEMS)
    async def readyz() -> dict[str, str]:
        """Ready to answer: the models are loaded."""
        if not await backend.inference.ready():
            raise BusyError("the models are being loaded: try again")
        return {"status": "ready"}

    @app.get("/metrics", tags=["service"], response_class=PlainTextResponse, responses=PROBLEMS)
    def prometheus() -> Response:
        """Metrics for Prometheus."""
        return metrics.answer()


def _add_pages(app: FastAPI) -> None:
    @app.get("/docs", include_in_schema=False)
    def docs() -> HTMLResponse:
        return HTMLResponse(docs_html(app.openapi()))

    @app.get("/docs.css", include_in_schema=False)
    def docs_style() -> Response:
        return Response(STYLE, media_type="text/css")

    if (PAGE / "index.html").is_file():

        @app.get("/", include_in_schema=False)
        def page() -> FileResponse:
            return FileResponse(PAGE / "index.html")

        @app.get("/assets/shared.css", include_in_schema=False)
        def shared_style() -> FileResponse:
            return FileResponse(SHARED_STYLE)

        app.mount("/assets", StaticFiles(directory=PAGE), name="assets")


def _openapi(app: FastAPI) -> dict[str, Any]:
    """The document, with the problems that every route may answer and the token that it may ask for."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        components = document.setdefault("components", {})
        schemas = components.setdefault("schemas", {})
        schemas[ProblemDetails.__name__] = ProblemDetails.model_json_schema()
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{}, {"token": []}]
        app.openapi_schema = document
    return app.openapi_schema
