"""A process that is measured: started, watched for its memory, and stopped."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import httpx
import psutil

from discovery.errors import DataError

READY_S = 900.0  # models are loaded, on a slow machine
SAMPLE_S = 0.5
STOP_S = 60.0


class Memory:
    """Largest resident memory of a process and all that it started, sampled until `stop`."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._stopped = threading.Event()
        self.peak_bytes = 0
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def now_bytes(self) -> int:
        """Resident memory now; shared pages count in each process."""
        total = 0
        with contextlib.suppress(psutil.Error):
            for process in (self._process, *self._process.children(recursive=True)):
                with contextlib.suppress(psutil.Error):  # it may end while it is looked at
                    total += process.memory_info().rss
        return total

    def restart(self) -> None:
        """Forget the peak."""
        self.peak_bytes = 0

    def stop(self) -> None:
        """End the sampling."""
        self._stopped.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stopped.wait(SAMPLE_S):
            self.peak_bytes = max(self.peak_bytes, self.now_bytes())


@contextlib.contextmanager
def served(command: Sequence[str], url: str, environment: Mapping[str, str], log: Path) -> Iterator[Memory]:
    """Run a service until the block ends; its output goes to `log`.

    Raises:
        DataError: it ended, or was not ready in time.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=output, stderr=output)
        memory = Memory(process.pid)
        try:
            _await_ready(process, url, log)
            yield memory
        finally:
            memory.stop()
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _await_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise DataError(f"the service ended with status {process.returncode}: look into {log}")
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{url}/readyz", timeout=5.0).is_success:
                return
        time.sleep(0.5)
    raise DataError(f"the service at {url} was not ready within {READY_S:g} s: look into {log}")
