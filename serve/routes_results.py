"""What a campaign found, as JSON, CSV, CIF, HTML and events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Path, Query
from starlette.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse, PlainTextResponse, StreamingResponse
from starlette.types import Receive, Scope, Send

from serve.answers import PROBLEMS
from serve.backend import Backend
from serve.events import stream
from serve.limits import Gate
from serve.routes_campaigns import CampaignId
from serve.schemas import CandidatesPage, Rounds

Status = Literal["rejected", "ranked", "selected", "validated", "failed"]
PlainFormula = Annotated[str, Path(min_length=1, max_length=120)]
EVENT = {"type": "object", "properties": {name: {"type": "string"} for name in ("id", "event", "data")}}
EVENTS: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {"schema": EVENT}}}}
EventId = Annotated[str | None, Header(max_length=20, description="id of the last event that you have")]


def routes(backend: Backend) -> APIRouter:
    """The routes of results."""
    router = APIRouter(prefix="/v1/campaigns/{campaign_id}", tags=["results"], responses=PROBLEMS)
    store = backend.store

    @router.get("/rounds", response_model=Rounds)
    def rounds(campaign_id: CampaignId) -> Any:
        """Records of the finished rounds."""
        return {"rounds": store.view(campaign_id).rounds()}

    @router.get("/candidates", response_model=CandidatesPage)
    def candidates(
        campaign_id: CampaignId,
        stable: bool | None = None,
        status: Status | None = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        cursor: Annotated[str | None, Query(max_length=1000)] = None,
    ) -> Any:
        """The table of candidates, page by page: validated ones first, the most stable of them on top."""
        return store.view(campaign_id).candidates(stable, status, limit, cursor)

    @router.get("/candidates.csv", response_class=PlainTextResponse, responses=_kind("text/csv"))
    def table(campaign_id: CampaignId) -> PlainTextResponse:
        """The whole table."""
        return PlainTextResponse(store.view(campaign_id).csv(), media_type="text/csv")

    @router.get("/structures/{formula}.cif", response_class=PlainTextResponse, responses=_kind("chemical/x-cif"))
    def structure(campaign_id: CampaignId, formula: PlainFormula) -> PlainTextResponse:
        """The structure of a validated candidate."""
        return PlainTextResponse(store.view(campaign_id).structure(formula), media_type="chemical/x-cif")

    @router.get("/report", response_class=HTMLResponse)
    def report(campaign_id: CampaignId) -> HTMLResponse:
        """The report: one page that needs nothing else."""
        return HTMLResponse(store.view(campaign_id).report())

    @router.get("/events", response_class=StreamingResponse, responses=EVENTS)
    async def events(campaign_id: CampaignId, follow: bool = True, last_event_id: EventId = None) -> StreamingResponse:
        """What happens, as server-sent events: stage, answer, round, status; `follow=false` ends with what is there."""
        view = await run_in_threadpool(store.view, campaign_id)
        after = int(last_event_id) if last_event_id and last_event_id.isascii() and last_event_id.isdigit() else 0

        def poll(last: int) -> list[tuple[int, str, str]]:
            return store.view(view.id).book.events(last)

        return _AdmittedStream(stream(poll, after, follow), backend.streams)

    return router


class _AdmittedStream(StreamingResponse):
    """Server-sent events that hold a place of a gate until they end; a full gate is answered before the first byte."""

    def __init__(self, events: AsyncIterator[str], gate: Gate) -> None:
        super().__init__(events, media_type="text/event-stream")
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events.

        Raises:
            BusyError: as many streams as may be are open.
        """
        with self._gate.admit():
            await super().__call__(scope, receive, send)


def _kind(media_type: str) -> dict[int | str, dict[str, Any]]:
    return {200: {"content": {media_type: {"schema": {"type": "string"}}}}}
