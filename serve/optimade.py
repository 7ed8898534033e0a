"""The validated structures as an OPTIMADE provider, by the server of the `optimade` package over an in-memory Mongo.

The collection is brought up to date with the ledgers before a request is answered: it holds nothing of its own.
"""

from __future__ import annotations

import asyncio
import threading
import uuid
import warnings
from datetime import UTC, datetime
from typing import Any

from pymatgen.core import Structure
from starlette.datastructures import URL
from starlette.types import ASGIApp, Receive, Scope, Send

from discovery import __version__
from discovery.outcomes import Outcome, outcomes
from serve.campaigns import Store
from serve.views import View

PREFIX = "discovery"
FIELDS = (
    ("energy_above_hull", "float", "eV/atom", "Signed energy above the reference's hull; negative is stable."),
    ("formation_energy_per_atom", "float", "eV/atom", "Formation energy, elements at 0."),
    ("scheme", "string", None, "Scheme of the energies; energies of different schemes do not compare."),
    ("oracle", "string", None, "What measured it."),
    ("campaign", "string", None, "Campaign that found it."),
    ("round", "integer", None, "Round of the campaign that found it."),
)


def optimade_app(store: Store) -> ASGIApp:
    """The provider as an application to be mounted at /optimade; made at the first request, for it takes seconds."""
    return _Provider(store)


class _Provider:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._app: Any = None
        self._known: dict[str, int] = {}  # campaign -> how many answers are in the collection

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.to_thread(self._bring_up_to_date)
        url = URL(scope=scope)
        self._app.state.config.base_url = f"{url.scheme}://{url.netloc}/optimade"  # of its links to next pages
        await self._app(scope, receive, send)

    def _bring_up_to_date(self) -> None:
        with self._lock:
            if self._app is None:
                self._app = _server()
            views = {view.id: view for view in self._store.views()}
            collection = self._app.state.entry_collections["structures"].collection
            for gone in self._known.keys() - views.keys():
                collection.delete_many({"campaign": gone})
                del self._known[gone]
            for view in views.values():
                self._renew(view, collection)

    def _renew(self, view: View, collection: Any) -> None:
        count = len(view.campaign.ledger.answers())
        if self._known.get(view.id) == count:
            return
        collection.delete_many({"campaign": view.id})
        documents = [document(view, outcome) for outcome in outcomes(view.campaign) if outcome.measurement.cif]
        if documents:
            collection.insert_many(documents)
        self._known[view.id] = count


def document(view: View, outcome: Outcome) -> dict[str, Any]:
    """A validated structure as an entry of the collection."""
    from optimade.adapters.structures.pymatgen import from_pymatgen

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pymatgen tells of rounded coordinates in CIFs
        structure = Structure.from_str(str(outcome.measurement.cif), fmt="cif")
        attributes = from_pymatgen(structure).model_dump(exclude_none=True)
    measured = outcome.measurement
    own = {
        "energy_above_hull": outcome.energy_above_hull,
        "formation_energy_per_atom": measured.formation_energy_per_atom,
        "scheme": measured.scheme,
        "oracle": measured.oracle,
        "campaign": view.id,
        "round": outcome.round,
    }
    name = f"{view.id}/{outcome.formula}"
    modified = datetime.fromisoformat(view.created_at).astimezone(UTC)
    return {
        **attributes,
        "id": name,
        "immutable_id": name,
        "last_modified": modified,
        "structure_features": [],
        **own,  # the server puts its prefix in front of these
    }


def _server() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package tells of settings that it does not find
        from optimade.models import Implementation, Provider
        from optimade.server.config import ServerConfig
        from optimade.server.create_app import create_app

        fields = [
            {"name": name, "type": kind, "description": text} | ({} if unit is None else {"unit": unit})
            for name, kind, unit, text in FIELDS
        ]
        config = ServerConfig(
            insert_test_data=False,
            root_path="/optimade",
            mongo_database=f"{PREFIX}-{uuid.uuid4().hex}",  # the in-memory Mongo is one for the whole process
            provider=Provider(prefix=PREFIX, name="Discovery loop", description="Finds of the campaigns kept here"),
            implementation=Implementation(name="discovery-loop", version=__version__),
            provider_fields={"structures": fields},
            aliases={"structures": {}},
            page_limit=20,
        )
        return create_app(config)
