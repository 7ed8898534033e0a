"""The ledger and the service's tables in a real PostgreSQL; skips where there is none."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serve.backend import Backend
from serve.host import CampaignHost
from serve.requests import config_of
from serve.schemas import CampaignRequest
from tests.serving import ORACLE, SMALL, backend, home
from tests.small import SCHEME, formula_energy

PROGRAMS = [*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True), Path("/usr/local/bin")]
BIN = next((folder for folder in PROGRAMS if (folder / "initdb").exists() and (folder / "postgres").exists()), None)
pytestmark = [
    pytest.mark.skipif(BIN is None, reason="PostgreSQL is not installed"),
    pytest.mark.skipif(importlib.util.find_spec("psycopg") is None, reason="psycopg is not installed"),
]


def _as_server() -> dict[str, Any]:
    """PostgreSQL refuses to run as root: then it runs as nobody."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    assert BIN is not None
    folder = Path("/tmp") / f"pg-{os.getpid()}"  # a socket's path must be short
    folder.mkdir(mode=0o700)
    who = _as_server()
    if who:
        os.chown(folder, who["user"], who["group"])
    run: dict[str, Any] = {"check": True, "capture_output": True, "cwd": "/", **who}
    subprocess.run([BIN / "initdb", "-D", folder / "data", "-A", "trust", "-U", "tests", "--no-sync"], **run)
    options = f"-k {folder} -c listen_addresses='' -c fsync=off"
    subprocess.run([BIN / "pg_ctl", "-D", folder / "data", "-o", options, "-w", "-l", folder / "log", "start"], **run)
    yield f"postgresql+psycopg://tests@/postgres?host={folder}"
    subprocess.run([BIN / "pg_ctl", "-D", folder / "data", "-m", "immediate", "stop"], **run)
    shutil.rmtree(folder)


@pytest.fixture
def service(url: str, tmp_path: Path) -> Iterator[Backend]:
    made = backend(home(tmp_path), ledger_url=url)
    yield made
    made.close()


def hosted(service: Backend, **changes: Any) -> CampaignHost:
    view = service.store.create(config_of(CampaignRequest(**{**SMALL, **changes}), service.settings), "hosted")
    return CampaignHost(service.store.open(view.id), service.settings)


def test_two_campaigns_in_one_database_do_not_see_each_other(service: Backend) -> None:
    by_itself, by_hand = hosted(service, oracle=ORACLE, rounds=1), hosted(service, rounds=1)
    by_itself.run(1)
    by_itself.wait()
    for handout in by_hand.ask(4)[0]:
        label = {"formation_energy_per_atom": formula_energy(handout.formula), "scheme": SCHEME, "source": "lab"}
        [result] = by_hand.tell([{"candidate_id": handout.id, "idempotency_key": handout.formula, **label}])
        assert result.status == "accepted"
    by_hand.wait()
    summaries = {view.id: view.summary() for view in service.store.views()}
    assert [summary["status"] for summary in summaries.values()] == ["finished"] * 2
    assert sorted(summary["counts"]["validated"] for summary in summaries.values()) == [3, 4]
    gone, kept = by_itself._view.id, by_hand._view.id
    by_itself.close()
    service.store.delete(gone)
    assert service.store.ids() == [kept]
    assert service.store.view(kept).summary() == summaries[kept]
    by_hand.close()
