"""A local server that speaks the REST protocol of the Materials Project, as far as its client asks for it.

Routes, parameters (`chemsys` with wildcards, `material_ids`, `thermo_types`, `_fields`, `_limit`, `_skip`), paging by
`meta.total_doc`, the heartbeat and the key in the header follow the client's source. Faults can be put in front.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

KEY = "0123456789abcdef0123456789abcdef"
PAGE = 1000  # most documents of one answer
Document = dict[str, Any]


class MPServer(ThreadingHTTPServer):
    """Thermodynamic documents, structures by id, and faults that the next data requests meet, in order."""

    daemon_threads = True

    def __init__(self, documents: list[Document], structures: dict[str, Any] | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.documents = documents
        self.structures = structures or {}
        self.version = "2025.9.25"
        self.faults: list[str] = []  # "ok", "cut" (the connection breaks in the answer), or a status such as "500"
        self.requests: list[tuple[str, dict[str, str]]] = []  # data requests with their parameters
        self.page = PAGE

    @property
    def url(self) -> str:
        """The endpoint."""
        return f"http://127.0.0.1:{self.server_address[1]}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Connections that the client drops are part of the tests."""


@contextmanager
def serving(server: MPServer) -> Iterator[MPServer]:
    """Answer in a thread until the end of the block."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def document(material_id: str, formula: str, energy: float | None, **others: Any) -> Document:
    """A thermodynamic document as the server has it."""
    from discovery.composition import chemical_system, parse_any

    elements = sorted(str(symbol) for symbol in parse_any(formula).get_el_amt_dict())
    return {
        "material_id": material_id,
        "formula_pretty": formula,
        "chemsys": chemical_system(formula) if len(elements) > 1 else elements[0],
        "thermo_type": "GGA_GGA+U",
        "formation_energy_per_atom": energy,
        "energy_above_hull": 0.0,
        "deprecated": False,
        **others,
    }


class _Handler(BaseHTTPRequestHandler):
    server: MPServer

    def do_GET(self) -> None:
        """Answer one request."""
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path == "/heartbeat":
            status = {"status": "OK", "version": "0.87.3", "db_version": self.server.version}
            self._send(200, {**status, "access_controlled_batch_ids": []})
            return
        self.server.requests.append((parts.path, query))
        fault = self.server.faults.pop(0) if self.server.faults else "ok"
        if fault.isdigit():
            self._send(int(fault), {"detail": "made for a test"})
        elif self.headers.get("x-api-key") != KEY:
            self._send(401, {"message": "Invalid authentication credentials"})
        else:
            self._send(200, self._answer(parts.path, query), cut=fault == "cut")

    def log_message(self, *_: object) -> None:
        """Keep quiet."""

    def _answer(self, path: str, query: dict[str, str]) -> Document:
        source = {"/materials/thermo/": self.server.documents, "/materials/core/": self._cores()}[path]
        found = [one for one in source if _matches(one, query)]
        start = int(query.get("_skip", 0))
        page = found[start : start + min(int(query["_limit"]), self.server.page)]
        wanted = query["_fields"].split(",")
        data = [{name: one[name] for name in wanted if name in one} for one in page]
        return {"data": data, "meta": {"total_doc": len(found), "api_version": "0.87.3"}}

    def _cores(self) -> list[Document]:
        return [{"material_id": key, "structure": structure} for key, structure in self.server.structures.items()]

    def _send(self, status: int, body: Document, cut: bool = False) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if cut else data)
        if cut:
            self.close_connection = True


def _matches(one: Document, query: dict[str, str]) -> bool:
    if "material_ids" in query and one["material_id"] not in query["material_ids"].split(","):
        return False
    if "thermo_types" in query and one["thermo_type"] not in query["thermo_types"].split(","):
        return False
    return "chemsys" not in query or _in_system(one["chemsys"].split("-"), query["chemsys"])


def _in_system(elements: list[str], asked: str) -> bool:
    if "*" not in asked:
        return "-".join(elements) in asked.split(",")
    pattern = asked.split("-")
    return len(pattern) == len(elements) and {part for part in pattern if part != "*"} <= set(elements)
