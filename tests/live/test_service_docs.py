"""The lines of the README and of docs/service.md work as printed, on a service with the shipped models."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
URL = "http://127.0.0.1:8000"
PATIENCE_S = 240.0


PAGES = ("README.md", "docs/service.md")


def printed_lines(page: str) -> str:
    found = re.search(r"```sh\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    assert found is not None
    assert URL in found.group(1)
    return found.group(1)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.timeout(900)
def test_the_printed_lines_work(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    environment = {**os.environ, "DISCOVERY_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    service = subprocess.Popen([sys.executable, "-m", "serve.local", "--port", str(port)], env=environment, cwd=ROOT)
    try:
        deadline = time.monotonic() + PATIENCE_S
        ready = ["curl", "-sf", "--max-time", "120", f"{url}/readyz"]
        while subprocess.run(ready, capture_output=True, check=False).returncode:
            assert service.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.5)
        done = [run(printed_lines(page).replace(URL, url)) for page in PAGES]
    finally:
        service.terminate()
        service.wait(60)
    for one in done:
        assert one.returncode == 0, one.stderr + one.stdout[-2000:]
        assert "LiFePO4" in one.stdout
        assert '"status":"accepted"' in one.stdout


def run(lines: str) -> subprocess.CompletedProcess[str]:
    script = "set -euo pipefail\n" + lines
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=600, check=False)
