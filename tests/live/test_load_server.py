"""The process that the load benchmark measures: started, watched, stopped; and what is said when it does not start."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import httpx
import pytest

from benchmarks.load_server import served
from discovery.errors import DataError

SERVER = """
import http.server, os, sys
class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(os.environ["WORD"].encode())
    def log_message(self, *_): pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Ready).serve_forever()
"""


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_it_is_watched_while_it_runs_and_gone_afterwards(tmp_path: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with served([sys.executable, "-c", SERVER, str(port)], url, {"WORD": "here"}, tmp_path / "log") as memory:
        assert httpx.get(url).text == "here"
        assert memory.now_bytes() > 2**20
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)


def test_a_service_that_ends_at_once_is_named_with_its_log(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit(3)"]
    with pytest.raises(DataError, match="status 3"), served(command, "http://127.0.0.1:9", {}, tmp_path / "log"):
        raise AssertionError("unreachable: it never was ready")
