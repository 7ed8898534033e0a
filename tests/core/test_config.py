from __future__ import annotations

import dataclasses

import pytest

from discovery.config import CampaignConfig, from_toml
from discovery.constraints import Constraints
from discovery.errors import ConfigError
from discovery.oracles.base import Budget


def test_toml_gives_back_what_went_in() -> None:
    config = CampaignConfig(
        rounds=3,
        seed=7,
        candidates="list.csv",
        workers=2,
        constraints=Constraints(allowed=frozenset({"Li", "O"}), required=frozenset({"Li"}), max_atoms=12),
        budget=Budget(max_steps=10, max_seconds=5.0),
    )
    assert from_toml(config.to_toml()) == config
    assert from_toml(CampaignConfig().to_toml()) == CampaignConfig()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("rounds", 0),
        ("seed", -1),
        ("batch_size", 0),
        ("candidates_per_round", 0),
        ("tolerance", -0.1),
        ("tolerance", float("nan")),
        ("acquisition", "best"),
        ("temperature", 0.0),
        ("workers", 0),
    ],
)
def test_impossible_values_name_their_option(field: str, value: object) -> None:
    with pytest.raises(ConfigError, match=field.replace("_", ".")):
        dataclasses.replace(CampaignConfig(), **{field: value})  # type: ignore[arg-type]


def test_unknown_keys_and_broken_files_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"unknown configuration keys.*'round'"):
        from_toml("round = 3")
    with pytest.raises(ConfigError, match="no valid TOML"):
        from_toml("rounds = ")


def test_a_resumed_campaign_may_run_longer_and_elsewhere_but_not_differently() -> None:
    config = CampaignConfig()
    assert config.differences(dataclasses.replace(config, rounds=9, workers=3, local=True)) == {}
    assert config.differences(dataclasses.replace(config, seed=1)) == {"seed": (0, 1)}
