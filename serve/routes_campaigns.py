"""Campaigns: made, run, asked, told, removed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Response
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from serve.answers import PROBLEMS
from serve.asking import Handout
from serve.backend import Backend
from serve.errors import ConflictError
from serve.requests import config_of
from serve.schemas import (
    MAX_LABELS,
    AskAnswer,
    AskRequest,
    CampaignRequest,
    Campaigns,
    Detail,
    Report,
    RunRequest,
    Summary,
    TellAnswer,
)

CampaignId = Annotated[str, Path(min_length=1, max_length=64, description="as POST /v1/campaigns gave it")]
Reports = Annotated[list[Report], Body(), Field(min_length=1, max_length=MAX_LABELS)]


def routes(backend: Backend) -> APIRouter:
    """The routes of campaigns."""
    router = APIRouter(prefix="/v1/campaigns", tags=["campaigns"], responses=PROBLEMS)
    _add_keeping(router, backend)
    _add_running(router, backend)
    _add_asking(router, backend)
    return router


def _add_keeping(router: APIRouter, backend: Backend) -> None:
    store = backend.store

    @router.post("", status_code=201, response_model=Summary)
    async def create(request: CampaignRequest, response: Response) -> Any:
        """Make a campaign; it does nothing until it is run or asked."""
        config = config_of(request, backend.settings)
        view = await run_in_threadpool(store.create, config, request.name)
        response.headers["Location"] = f"/v1/campaigns/{view.id}"
        return await run_in_threadpool(view.summary)

    @router.get("", response_model=Campaigns)
    def every() -> Any:
        """All campaigns, the newest first."""
        return {"campaigns": [view.summary() for view in store.views()]}

    @router.get("/{campaign_id}", response_model=Detail)
    def one(campaign_id: CampaignId) -> Any:
        """A campaign with its configuration and its best finds."""
        return store.view(campaign_id).detail()

    @router.delete("/{campaign_id}", status_code=204)
    async def delete(campaign_id: CampaignId) -> Response:
        """Remove a campaign with all that it found; one that runs has to be stopped first."""
        view = await run_in_threadpool(store.view, campaign_id)
        if (status := view.status()) in ("running", "stopping"):
            raise ConflictError(f"the campaign is {status}: stop it, and wait for its end")
        await backend.hosts.release(campaign_id)
        await run_in_threadpool(store.delete, campaign_id)
        return Response(status_code=204)


def _add_running(router: APIRouter, backend: Backend) -> None:
    store, hosts = backend.store, backend.hosts

    @router.post("/{campaign_id}/run", status_code=202, response_model=Summary)
    async def run(campaign_id: CampaignId, request: RunRequest) -> Any:
        """Run more rounds in the background with the campaign's own oracle."""
        view = await run_in_threadpool(store.view, campaign_id)
        await run_in_threadpool(backend.check_running)
        await hosts.call(campaign_id, "run", request.rounds)
        return await run_in_threadpool(view.summary)

    @router.post("/{campaign_id}/stop", status_code=202, response_model=Summary)
    async def stop(campaign_id: CampaignId) -> Any:
        """End a run after the oracle calls that are under way; a campaign that does not run stays as it is."""
        view = await run_in_threadpool(store.view, campaign_id)
        await hosts.call(campaign_id, "stop")
        return await run_in_threadpool(view.summary)


def _add_asking(router: APIRouter, backend: Backend) -> None:
    store, hosts = backend.store, backend.hosts

    @router.post("/{campaign_id}/ask", response_model=AskAnswer)
    async def ask(campaign_id: CampaignId, request: AskRequest) -> Any:
        """Candidates to measure, leased to you for a time; opens a round where none is open."""
        await run_in_threadpool(store.view, campaign_id)
        handouts, reason = await hosts.call(campaign_id, "ask", request.n)
        return {"candidates": [_asked(handout) for handout in handouts], "reason": reason}

    @router.post("/{campaign_id}/tell", response_model=TellAnswer)
    async def tell(campaign_id: CampaignId, reports: Reports) -> Any:
        """What was found: energies or failures, late, out of order or twice; one result for each, in their order."""
        await run_in_threadpool(store.view, campaign_id)
        rows = [report.model_dump(exclude_none=True) for report in reports]
        return {"results": await hosts.call(campaign_id, "tell", rows)}


def _asked(handout: Handout) -> dict[str, Any]:
    fields = {name: getattr(handout, name) for name in ("id", "formula", "std", "acquisition", "reason")}
    expires = datetime.fromtimestamp(handout.expires, UTC).isoformat(timespec="seconds")
    above = handout.predicted_energy_above_hull
    return {**fields, "predicted_energy_above_hull": above, "structure": None, "lease_expires_at": expires}
