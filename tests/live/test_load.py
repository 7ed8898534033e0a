"""The load benchmark, small, against a service in this process: locust sends, all answers are right."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.load import Bench, measure, parser
from benchmarks.load_tables import print_tables
from benchmarks.load_work import InProcess
from tests.running import Running


@pytest.mark.parametrize("kind", ["rank", "generate"])
def test_levels_and_overload(service: Running, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--url", service.url, "--token", service.token, "--kinds", kind, "--clients", "3", "--items", "3"]
    args = parser().parse_args([*options, "--seconds", "1"])
    work = InProcess({kind: 100.0}, {kind: {}})
    found = measure(Bench(args, tmp_path, work), True, None)[kind]
    assert [level["clients"] for level in found["levels"]] == [3]
    for level in (*found["levels"], found["overload"]):
        assert level["answered"] > 0
        assert level["answered"] + level["refused"] == level["requests"]
        assert level["errors"] == {}
        assert level["wrong_answers"] == []
    assert found["overload"]["asked_requests_per_second"] > max(one["requests_per_second"] for one in found["levels"])
    assert found["overload"]["refused"] == found["overload"]["refused_with_retry_after"]
    assert found["overload"]["recovery_seconds"] is not None
    print_tables({"as_it_is": {kind: found}, "in_process_items_per_second": {kind: 100.0}})
    assert "overload" in capsys.readouterr().err
