"""Ray's cluster: joined where RAY_ADDRESS names one, started here otherwise. The only `ray.init` of the project."""

from __future__ import annotations

import logging
import os
import socket
from pathlib import Path
from types import TracebackType
from typing import Any

import ray

from discovery.errors import ConfigError

ADDRESS = "RAY_ADDRESS"  # Ray's own variable
OBJECT_STORE_BYTES = 256 * 2**20  # of a local cluster; models and hull take about 50 MB, and live for one round
KNOCK_SECONDS = 10.0
PACKAGES = ("discovery", "actors", "tune")  # what the workers on other nodes import


class Cluster:
    """A connection to Ray; as a context manager it closes what it opened."""

    def __init__(self, *, owned: bool, dashboard_url: str = "") -> None:
        self._owned = owned
        self.dashboard_url = dashboard_url  # host:port, "" where there is no dashboard

    @property
    def cpus(self) -> int:
        """CPUs of the whole cluster, at least 1."""
        return max(1, int(ray.cluster_resources().get("CPU", 1)))

    @property
    def gpus(self) -> int:
        """GPUs of the whole cluster."""
        return int(ray.cluster_resources().get("GPU", 0))

    @property
    def nodes(self) -> int:
        """Machines of the cluster that are alive."""
        return sum(bool(node["Alive"]) for node in ray.nodes())

    @property
    def dashboard_hint(self) -> str:
        """Where a person finds the dashboard, and what opens it; "" where there is none."""
        if not self.dashboard_url:
            return ""
        asks = os.environ.get("RAY_AUTH_MODE", "").lower() == "token"
        token = " (it asks for a token: run `ray get-auth-token`)" if asks else ""
        return f"Ray dashboard: http://{self.dashboard_url}{token}"

    def close(self) -> None:
        """Disconnect, and stop the cluster if it was started here; nothing where Ray was running before."""
        if self._owned and ray.is_initialized():
            ray.shutdown()
        self._owned = False

    def __enter__(self) -> Cluster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def connect(num_cpus: int | None = None, *, dashboard: bool = True, quiet: bool = True) -> Cluster:
    """Join the cluster at RAY_ADDRESS, or start one on this machine; a connection of this process is used as it is.

    Args:
        num_cpus: of a cluster that is started here; None: those of the machine.
        dashboard: start Ray's dashboard with it (about 1 to 3 s of CPU time and 200 MB).
        quiet: keep the output of the workers, and Ray's messages below errors, in Ray's log files.

    Raises:
        ConfigError: no cluster answers at RAY_ADDRESS.
    """
    if ray.is_initialized():
        return Cluster(owned=False)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # Ray's coming default; without it Ray warns
    quietness = {"log_to_driver": not quiet, "logging_level": logging.ERROR if quiet else logging.INFO}
    address = os.environ.get(ADDRESS, "").removeprefix("local")
    try:
        if address:
            _knock(address)
            context = ray.init(address, runtime_env=code_environment(), **quietness)
        else:  # "local", for Ray's own default would also join a cluster that it happens to find
            size = {"num_cpus": num_cpus, "object_store_memory": OBJECT_STORE_BYTES}
            context = ray.init("local", include_dashboard=dashboard, **size, **quietness)
    except (OSError, ValueError, RuntimeError) as error:  # ConnectionError is an OSError
        where, remedy = (
            (f"at {address!r}", f"check or unset {ADDRESS}") if address else ("here", "close other programs")
        )
        raise ConfigError(f"no Ray cluster {where} ({error}): {remedy}, or add --local to do without Ray") from error
    return Cluster(owned=True, dashboard_url=str(context.dashboard_url or ""))


def code_environment() -> dict[str, Any]:
    """Runtime environment that carries our packages to other nodes; {} under `ray job submit`, which has its own."""
    if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ:
        return {}
    root = Path(__file__).resolve().parent.parent
    return {"py_modules": [str(root / name) for name in PACKAGES]}


def _knock(address: str) -> None:
    """Fail at once where nothing listens at a ``host:port``; Ray itself keeps trying for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), KNOCK_SECONDS).close()
