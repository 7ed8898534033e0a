"""The reference server of OPTIMADE (of the `optimade` package) on this machine, with faults to order."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from discovery.composition import amounts

Document = dict[str, Any]


class OptimadeServer:
    """A provider with a prefix, fields of its own and some entries.

    Attributes:
        faults: what the next requests for structures meet: "ok", "cut" (the answer breaks off), or a status.
        requests: queries for structures, as they came.
    """

    def __init__(
        self, prefix: str, fields: list[str], documents: list[Document], logs: Path, page_limit_max: int = 500
    ) -> None:
        os.environ["OPTIMADE_LOG_DIR"] = str(logs)
        from optimade.server.config import ServerConfig
        from optimade.server.create_app import create_app

        config = ServerConfig(
            insert_test_data=False,
            database_backend="mongomock",
            mongo_database=f"{prefix}-{id(self)}",
            page_limit_max=page_limit_max,
            provider={"prefix": prefix, "name": f"Provider {prefix}", "description": "made for a test"},
            provider_fields={"structures": [{"name": name, "type": "float", "description": name} for name in fields]},
            log_level="critical",
            log_dir=logs,
        )
        logging.getLogger("optimade").setLevel(logging.CRITICAL)
        self._app = create_app(config)
        if documents:
            self._app.state.entry_collections["structures"].collection.insert_many(documents)
        self.faults: list[str] = []
        self.requests: list[dict[str, str]] = []
        self.url = ""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """The application with the faults in front."""
        if scope["type"] != "http" or "/structures" not in scope["path"] or "/info" in scope["path"]:
            await self._app(scope, receive, send)
            return
        query = parse_qs(scope["query_string"].decode())
        self.requests.append({name: values[0] for name, values in query.items()})
        fault = self.faults.pop(0) if self.faults else "ok"
        if fault == "ok":
            await self._app(scope, receive, send)
        elif fault == "cut":
            headers = [(b"content-type", b"application/json"), (b"content-length", b"1000")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b'{"data": [', "more_body": True})
            raise ConnectionAbortedError("made for a test")
        else:
            await send({"type": "http.response.start", "status": int(fault), "headers": []})
            await send({"type": "http.response.body", "body": b""})


@contextmanager
def serving(server: OptimadeServer) -> Iterator[OptimadeServer]:
    """Answer in a thread until the end of the block."""
    import uvicorn

    running = uvicorn.Server(uvicorn.Config(server, host="127.0.0.1", port=0, log_config=None, lifespan="off"))
    thread = threading.Thread(target=running.run)
    thread.start()
    while not running.started:
        time.sleep(0.01)
    server.url = f"http://127.0.0.1:{running.servers[0].sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        running.should_exit = True
        thread.join()


def structure(entry_id: str, formula: str, **fields: Any) -> Document:
    """An entry as the reference server keeps it: atoms of one formula unit along a line."""
    counts = amounts(formula)
    elements = sorted(counts)
    total = sum(counts.values())
    sites = [symbol for symbol in elements for _ in range(counts[symbol])]
    reduced = "".join(f"{symbol}{counts[symbol] if counts[symbol] > 1 else ''}" for symbol in elements)
    return {
        "id": entry_id,
        "task_id": entry_id,
        "elements": elements,
        "nelements": len(elements),
        "elements_ratios": [counts[symbol] / total for symbol in elements],
        "chemical_formula_reduced": reduced,
        "chemical_formula_descriptive": formula,
        "chemical_formula_anonymous": "A",
        "dimension_types": [1, 1, 1],
        "nperiodic_dimensions": 3,
        "lattice_vectors": [[4.0, 0.0, 0.0], [0.0, 4.0, 0.0], [0.0, 0.0, 3.0 * total]],
        "cartesian_site_positions": [[0.0, 0.0, 3.0 * place] for place in range(total)],
        "nsites": total,
        "species": [{"name": s, "chemical_symbols": [s], "concentration": [1.0]} for s in elements],
        "species_at_sites": sites,
        "structure_features": [],
        "last_modified": "2026-01-01T00:00:00Z",
        **fields,
    }
