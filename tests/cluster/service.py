"""A service on a Ray of its own, as `serve run` starts it, in a process group that a test can kill."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx

from tests.serving import ORACLE, WRITE

ROOT = Path(__file__).parents[2]
PATIENCE_S = 600.0  # a busy machine takes minutes to start ten processes


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RunningService:
    """`serve run` with a small configuration file, or `python -m serve.local` without Ray, and a client for it."""

    def __init__(self, home: Path, folder: Path, *, ray: bool = True, **environment: str) -> None:
        self.log = folder / "service.log"
        self._port = free_port()
        config = folder / "serve.yaml"
        config.write_text(_CONFIG.format(port=self._port))
        with_ray = [str(Path(sys.executable).parent / "serve"), "run", str(config)]
        without = [sys.executable, "-m", "serve.local", "--port", str(self._port)]
        own = {
            "DISCOVERY_HOME": str(home),
            "DISCOVERY_API_TOKENS": f"write:{WRITE}",
            "DISCOVERY_MODEL": "generator",
            "DISCOVERY_SURROGATE": "surrogate",
            "DISCOVERY_REFERENCE": "snapshot:reference.csv",
            "DISCOVERY_ALLOWED_ORACLES": ORACLE,
            "DISCOVERY_RUNNING": "2",
            "PYTHONPATH": str(ROOT),
            "RAY_ADDRESS": "local",  # never another cluster of this machine, living or dead
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_AUTH_MODE": "disabled",
            "RAY_worker_niceness": "0",  # a busy machine would hardly let them start otherwise
            "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "120",
            **environment,
        }
        with self.log.open("a") as log:
            self._process = subprocess.Popen(
                with_ray if ray else without,
                env={**os.environ, **own},
                cwd=ROOT,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.client = httpx.Client(
            base_url=f"http://127.0.0.1:{self._port}", headers={"Authorization": f"Bearer {WRITE}"}, timeout=120.0
        )

    def wait_until_ready(self) -> None:
        """Until the models are loaded."""
        deadline = time.monotonic() + PATIENCE_S
        while not self._is_ready():
            assert self._process.poll() is None, self.log.read_text()[-3000:]
            assert time.monotonic() < deadline, self.log.read_text()[-3000:]
            time.sleep(0.5)

    def json(self, method: str, path: str, body: Any = None) -> Any:
        """The answer to a request, made again while a process is being started anew."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                answer = self.client.request(method, path, json=body)
                if answer.status_code not in (500, 503, 404) or time.monotonic() > deadline:
                    assert answer.is_success, answer.text
                    return answer.json() if answer.content else None
            except httpx.TransportError:
                assert time.monotonic() < deadline
            time.sleep(0.5)

    def processes(self, name: str) -> list[int]:
        """Process ids of our Ray's workers whose title begins with a name."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                title = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                group = os.getsid(int(folder.name))
            except (OSError, ProcessLookupError):
                continue
            if title.startswith(name) and group == self._process.pid:
                found.append(int(folder.name))
        return found

    def kill(self) -> None:
        """kill -9 of every process of the service and its Ray."""
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if os.getsid(int(folder.name)) == self._process.pid:
                    os.kill(int(folder.name), signal.SIGKILL)
            except (OSError, ProcessLookupError):
                continue
        self._process.wait()
        self.client.close()

    def _is_ready(self) -> bool:
        try:
            return self.client.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False


_CONFIG = """
proxy_location: HeadOnly
http_options: {{host: 127.0.0.1, port: {port}}}
applications:
  - name: discovery
    route_prefix: /
    import_path: serve.app:build_app
    args: {{replicas: 1}}
"""
