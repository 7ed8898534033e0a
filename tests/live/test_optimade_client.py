"""What was found, read by the client of the `optimade` package: filters, fields and all pages."""

from __future__ import annotations

import warnings
from itertools import pairwise
from typing import Any

import pytest

from discovery.client import Client
from tests.running import ORACLE, Running

CAMPAIGN = {"name": "for others", "oracle": ORACLE, "rounds": 2, "batch_size": 14, "candidates_per_round": 120}


@pytest.fixture(scope="module")
def campaign(service: Running) -> str:
    """One of several on the service."""
    with Client(service.url, service.token) as client:
        made = str(client.create(**CAMPAIGN, tolerance=0.3, max_per_system=20)["id"])
        client.run(made, 2)
        service.wait_until(made, "finished")
    return made


@pytest.fixture(scope="module")
def found(service: Running, campaign: str) -> list[dict[str, Any]]:
    """Its validated candidates with a structure: more of them than a page of the provider holds."""
    with Client(service.url, service.token) as client:
        rows = [row for row in client.candidates(campaign, status="validated") if row["structure"]]
    assert len(rows) > 20
    return rows


def read(service: Running, campaign: str, text: str) -> list[dict[str, Any]]:
    """All entries of a campaign that pass a filter, by the client of the field."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the package
        from optimade.client import OptimadeClient

        base = f"{service.url}/optimade"
        headers = {"Authorization": f"Bearer {service.token}"}
        client = OptimadeClient(base, headers=headers, use_async=False, silent=True)
        answer = client.get(text)["structures"][text][base]
    assert answer["errors"] == []
    return [entry for entry in answer["data"] if entry["id"].partition("/")[0] == campaign]


def between(energies: list[float]) -> float:
    """A number with energies on both sides, and none so near that rounding in the table matters."""
    (low, high) = max(pairwise(energies[3:-3]), key=lambda pair: pair[1] - pair[0])
    return (low + high) / 2


def test_all_pages_come(service: Running, campaign: str, found: list[dict[str, Any]]) -> None:
    entries = read(service, campaign, "nelements>=2")
    assert sorted(one["id"].partition("/")[2] for one in entries) == sorted(row["formula"] for row in found)
    assert all(one["attributes"]["cartesian_site_positions"] for one in entries)


def test_filters_hold_for_their_fields_and_ours(service: Running, campaign: str, found: list[dict[str, Any]]) -> None:
    element = found[0]["chemical_system"].split("-")[0]
    with_element = {row["formula"] for row in found if element in row["chemical_system"].split("-")}
    assert {one["id"].partition("/")[2] for one in read(service, campaign, f'elements HAS "{element}"')} == with_element
    middle = between(sorted(row["energy_above_hull"] for row in found))
    stabler = {row["formula"] for row in found if row["energy_above_hull"] < middle}
    entries = read(service, campaign, f"_discovery_energy_above_hull<{middle}")
    assert {one["id"].partition("/")[2] for one in entries} == stabler
    energies = {row["formula"]: row["energy_above_hull"] for row in found}
    for one in entries:
        assert one["attributes"]["_discovery_energy_above_hull"] == pytest.approx(
            energies[one["id"].partition("/")[2]], abs=1e-5
        )
        assert one["attributes"]["_discovery_scheme"]
