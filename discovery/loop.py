"""The command line of the loop: ``python -m discovery.loop --rounds 5``. Wiring only."""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from datetime import UTC, datetime
from pathlib import Path

import torch

from discovery.acquisition import ACQUISITIONS
from discovery.campaign import Campaign
from discovery.config import PRIORS, CampaignConfig, load_config
from discovery.constraints import Constraints
from discovery.display import display_for, print_summary
from discovery.errors import ConfigError
from discovery.events import Observer, Observers
from discovery.export import export_campaign
from discovery.fidelity import costs_from
from discovery.options import add_constraint_options, constraints_from, exit_with, torch_device
from discovery.oracles.external import EXTERNAL
from discovery.parts import load_campaign_oracle, load_parts
from discovery.report import write_report
from discovery.rounds import EXHAUSTED, run_campaign
from discovery.summary import summarize
from discovery.workers import LocalWorkers, Workers


def parser() -> argparse.ArgumentParser:
    """All options of the loop."""
    defaults = CampaignConfig()
    p = argparse.ArgumentParser(prog="python -m discovery.loop", description="Closed-loop discovery of new compounds.")
    p.add_argument("--rounds", type=int, help=f"total number of rounds (default {defaults.rounds})")
    p.add_argument("--run-dir", type=Path, help="folder of the campaign (default: a new one under runs/)")
    p.add_argument("--resume", action="store_true", help="continue the campaign in --run-dir")
    p.add_argument("--config", type=Path, help="config.toml of a campaign to repeat; other options win over it")
    p.add_argument("--json", action="store_true", help="print one JSON object as the last line, nothing else")
    p.add_argument("--seed", type=int, help=f"of all randomness (default {defaults.seed})")
    p.add_argument("--local", action="store_true", default=None, help="run in this process, without Ray")
    p.add_argument("--workers", type=int, help="number of validators (default: one per CPU)")
    p.add_argument("--candidates-per-round", type=int, help=f"raw samples (default {defaults.candidates_per_round})")
    p.add_argument("--batch-size", type=int, help=f"oracle calls in each round (default {defaults.batch_size})")
    p.add_argument("--model", help=f"generator: a name or a model folder (default {defaults.model})")
    p.add_argument("--surrogate", help=f"a name or a model folder (default {defaults.surrogate})")
    p.add_argument("--candidates", help="file with a column `formula`: a fixed list in the generator's place")
    p.add_argument("--oracle", help="chgnet, table:FILE or module:factory (default chgnet)")
    p.add_argument("--scheme", help="energy scheme of tables that have no column `scheme`")
    p.add_argument("--reference", help="builtin, mp, optimade:URL or snapshot:FILE (default builtin)")
    p.add_argument("--acquisition", help=f"one of {', '.join(ACQUISITIONS)} (default {defaults.acquisition})")
    p.add_argument("--prior", help=f"likelihood of existence: {', '.join(PRIORS)} (default {defaults.prior})")
    p.add_argument("--costs", type=costs_from, metavar="potential=1,dft=1000", help="cheap looks before the oracle")
    p.add_argument("--tolerance", type=float, help="eV/atom above the hull that still counts as stable (default 0.1)")
    p.add_argument("--temperature", type=float, help="of sampling (default 1); the card of a searched model names one")
    p.add_argument("--top-p", type=float, help="of sampling: draw from this share of the next token's mass (default 1)")
    add_constraint_options(p)
    return p


def configuration(args: argparse.Namespace) -> CampaignConfig:
    """The configuration file, if any, with the options of the command line on top."""
    base = load_config(args.config) if args.config is not None else CampaignConfig()
    names = {field.name for field in dataclasses.fields(CampaignConfig)} - {"constraints", "budget"}
    given = {name: value for name, value in vars(args).items() if name in names and value is not None}
    limits = constraints_from(args)
    return dataclasses.replace(base, **given, constraints=base.constraints if limits == Constraints() else limits)


def run(args: argparse.Namespace) -> int:
    """Run, or continue, a campaign."""
    started = time.monotonic()
    config = configuration(args)
    folder = _folder(args)
    torch.set_num_threads(config.threads)
    if config.oracle == EXTERNAL:
        raise ConfigError("--oracle external is asked through the service: start `make serve`, see docs/service.md")
    campaign = _open(args, config, folder)
    summary = _finished_summary(campaign, config)
    earlier = _seconds_before(campaign)
    if summary is None:
        ended = _run(campaign, config, args.json)
        export_campaign(campaign)
        summary = summarize(campaign, earlier + time.monotonic() - started, ended)
        write_report(campaign, summary)
        campaign.ledger.save_summary(summary)
    if args.json:
        print(json.dumps(summary))
    else:
        print_summary(campaign, summary)
    return 0


def _folder(args: argparse.Namespace) -> Path:
    if args.run_dir is not None:
        return Path(args.run_dir)
    if args.resume:
        raise ConfigError("--resume needs the campaign's folder: add --run-dir DIR")
    return Path("runs") / datetime.now(UTC).strftime("campaign-%Y%m%d-%H%M%S")


def _open(args: argparse.Namespace, config: CampaignConfig, folder: Path) -> Campaign:
    return (Campaign.resume if args.resume else Campaign.start)(folder, config, load_parts(config))


def _run(campaign: Campaign, config: CampaignConfig, quiet: bool) -> str:
    workers, observers = _workers(campaign, config)
    with display_for(campaign, quiet=quiet) as display:
        try:
            return run_campaign(campaign, workers, Observers((*observers, display)))
        finally:
            workers.close()


def _workers(campaign: Campaign, config: CampaignConfig) -> tuple[Workers, list[Observer]]:
    if config.local:
        oracle = load_campaign_oracle(config, campaign.reference)
        return LocalWorkers(oracle, torch_device("auto")), []
    from actors.workers import connect_workers  # the one late import: Ray enters only here

    return connect_workers(campaign)


def _finished_summary(campaign: Campaign, config: CampaignConfig) -> dict[str, object] | None:
    """The stored result of a campaign that has nothing left to do."""
    summary = campaign.ledger.header().summary
    if summary is None:
        return None
    exhausted = summary["ended"] == EXHAUSTED
    return dict(summary) if exhausted or campaign.finished_rounds >= config.rounds else None


def _seconds_before(campaign: Campaign) -> float:
    """Seconds of the stages that an earlier process finished."""
    return sum(sum(record.seconds.values()) for record in campaign.ledger.records().values())


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    return run(parser().parse_args(argv))


if __name__ == "__main__":
    exit_with(main)
