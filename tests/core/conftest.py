"""Core tests can neither start Ray nor reach the network: both raise."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

_HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def _no_ray_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("core tests start no Ray and reach no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    if "ray" in sys.modules:
        monkeypatch.setattr(sys.modules["ray"], "init", refuse)
