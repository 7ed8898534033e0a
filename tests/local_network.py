"""Lets a core test reach servers on this machine, and nothing else."""

from __future__ import annotations

import socket
from typing import Any

import pytest

_connect = socket.socket.connect  # the real one: `tests.core.conftest` puts a refusal in its place during each test


def allow_local(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo the refusal of connections for addresses of this machine."""

    def connect(self: socket.socket, address: Any) -> None:
        assert address[0] == "127.0.0.1", f"core tests reach no network, not even {address}"
        _connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)
