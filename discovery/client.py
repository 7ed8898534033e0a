"""A client of the HTTP service, and ``python -m discovery.client`` (status, ask, tell).

Be the oracle in ten lines::

    from discovery.client import Client, Label

    with Client("http://127.0.0.1:8000") as service:
        campaign = service.create(oracle="external", batch_size=4)["id"]
        for candidate in service.ask(campaign, 4):
            energy = measure(candidate.formula)  # yours: eV/atom above the hull
            label = Label(candidate_id=candidate.id, energy_above_hull=energy, scheme="my-dft", source="lab 1")
            service.tell(campaign, [label])

Answers may come late, in any order and twice: each label carries a key made of its content, so a repeated one counts
once. Energies are in eV/atom; energy above hull is signed.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from discovery.connection import Connection
from discovery.errors import DataError
from discovery.messages import (
    FILLED_IN,
    Asked,
    Event,
    Label,
    Told,
    known_fields,
    parse_events,
    read_labels,
    write_asked,
)
from discovery.options import exit_with

__all__ = ["Asked", "Client", "Event", "Label", "Told"]

ADDRESS, TOKEN = "DISCOVERY_URL", "DISCOVERY_API_TOKEN"
DEFAULT_URL = "http://127.0.0.1:8000"


class Client:
    """The service at an address; arguments are those of `Connection`. Use it in a ``with`` block."""

    def __init__(self, url: str | None = None, token: str | None = None, **options: Any) -> None:
        address = url or os.environ.get(ADDRESS, DEFAULT_URL)
        self._connection = Connection(address, token or os.environ.get(TOKEN), **options)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def generate(self, n: int, **options: object) -> list[dict[str, Any]]:
        """`n` new compositions, each with its log-probability and verdict; options as in the interface."""
        body = {"n": n, **options}
        return list(self._json("POST", "/v1/generate", json=body, safe=True)["candidates"])

    def rank(self, formulas: Sequence[str], **options: object) -> list[dict[str, Any]]:
        """Formation energy and energy above hull with uncertainty, one row per formula, in order."""
        body = {"formulas": list(formulas), **options}
        rows: list[dict[str, Any]] = self._connection.request("POST", "/v1/rank", json=body, safe=True).json()
        return rows

    def create(self, **configuration: object) -> dict[str, Any]:
        """A new campaign; fields of `discovery.config.CampaignConfig`, and `name`. Returns its summary."""
        return self._json("POST", "/v1/campaigns", json=configuration)

    def campaigns(self) -> list[dict[str, Any]]:
        """Summaries of all campaigns."""
        return list(self._json("GET", "/v1/campaigns")["campaigns"])

    def campaign(self, campaign: str) -> dict[str, Any]:
        """Summary, configuration and best finds of one campaign."""
        return self._json("GET", _path(campaign))

    def run(self, campaign: str, rounds: int) -> dict[str, Any]:
        """Run that many more rounds with the campaign's own oracle, in the background."""
        return self._json("POST", _path(campaign, "run"), json={"rounds": rounds})

    def stop(self, campaign: str) -> dict[str, Any]:
        """End the run after the oracle calls that are under way."""
        return self._json("POST", _path(campaign, "stop"), safe=True)

    def delete(self, campaign: str) -> None:
        """Remove a campaign and all its files."""
        self._connection.request("DELETE", _path(campaign))

    def ask(self, campaign: str, n: int = 1) -> list[Asked]:
        """Up to `n` candidates, leased to you for a time; those that are leased already are not among them."""
        answer = self._json("POST", _path(campaign, "ask"), json={"n": n}, safe=True)
        return [known_fields(Asked, row) for row in answer["candidates"]]

    def tell(self, campaign: str, labels: Iterable[Label]) -> list[Told]:
        """Give answers; late, out of order and repeated ones are safe. One result per label, in order."""
        body = [label.body(campaign) for label in labels]
        answer = self._json("POST", _path(campaign, "tell"), json=body, safe=True)
        return [known_fields(Told, row) for row in answer["results"]]

    def rounds(self, campaign: str) -> list[dict[str, Any]]:
        """Records of the finished rounds."""
        return list(self._json("GET", _path(campaign, "rounds"))["rounds"])

    def candidates(self, campaign: str, **filters: Any) -> Iterator[dict[str, Any]]:
        """All candidates that pass the filters (`status`, `stable`), the most stable first, page by page."""
        cursor: str | None = None
        while True:
            params = {**filters, **({} if cursor is None else {"cursor": cursor})}
            page = self._json("GET", _path(campaign, "candidates"), params=params)
            yield from page["candidates"]
            cursor = page["next_cursor"]
            if cursor is None:
                return

    def structure(self, campaign: str, formula: str) -> str:
        """The CIF of a validated candidate."""
        return self._connection.request("GET", _path(campaign, "structures", f"{formula}.cif")).text

    def events(self, campaign: str, after: str = "") -> Iterator[Event]:
        """What happens, as it happens, beginning behind the event with the id `after`."""
        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": after} if after else {})}
        yield from parse_events(self._connection.lines(_path(campaign, "events"), headers))

    def _json(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self._connection.request(method, path, **options).json()
        return answer


def _path(campaign: str, *rest: str) -> str:
    return "/v1/campaigns/" + "/".join(quote(part, safe="") for part in (campaign, *rest))


def parser() -> argparse.ArgumentParser:
    """The options of this entry point."""
    p = argparse.ArgumentParser(prog="python -m discovery.client", description="Ask and tell over HTTP.")
    p.add_argument("--url", help=f"address of the service (default: ${ADDRESS}, else {DEFAULT_URL})")
    p.epilog = f"The token, where the service asks for one, is read from ${TOKEN}."
    commands = p.add_subparsers(dest="command", required=True)
    status = commands.add_parser("status", help="all campaigns, or one as JSON")
    status.add_argument("campaign", nargs="?", help="id")
    ask = commands.add_parser("ask", help="lease candidates")
    ask.add_argument("campaign", help="id")
    ask.add_argument("--n", type=int, default=1, help="how many (default 1)")
    ask.add_argument("--out", type=Path, metavar="FILE.csv", help="write a table to fill in")
    tell = commands.add_parser("tell", help="give the answers of a table")
    tell.add_argument("campaign", help="id")
    tell.add_argument("table", type=Path, metavar="FILE.csv", help="as written by ask, with energies filled in")
    tell.add_argument("--scheme", help="of energies without a column `scheme`")
    tell.add_argument("--source", default="client", help="who measured (default: client)")
    return p


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    args = parser().parse_args(argv)
    with Client(args.url) as service:
        return {"status": _status, "ask": _ask, "tell": _tell}[args.command](service, args)


def _status(service: Client, args: argparse.Namespace) -> int:
    if args.campaign is not None:
        print(json.dumps(service.campaign(args.campaign), indent=1))
        return 0
    for one in service.campaigns():
        counts = one["counts"]
        rounds = f"{one['rounds_finished']}/{one['rounds']} rounds"
        stable = f"{counts['stable']} of {counts['validated']} stable"
        print(f"{one['id']}  {one['status']:9}  {rounds}  {stable}  {one['name'] or ''}".rstrip())
    return 0


def _ask(service: Client, args: argparse.Namespace) -> int:
    asked = service.ask(args.campaign, args.n)
    if args.out is not None:
        write_asked(args.out, asked)
    for one in asked:
        predicted = "" if one.predicted_energy_above_hull is None else f"{one.predicted_energy_above_hull:+.3f}"
        print(f"{one.id}  {one.formula:16}  {predicted:>7} eV/atom  until {one.lease_expires_at}")
    return 0


def _tell(service: Client, args: argparse.Namespace) -> int:
    labels = read_labels(args.table, args.scheme, args.source)
    if not labels:
        raise DataError(f"{args.table} has no filled-in row: give {', '.join(FILLED_IN[:2])} or {FILLED_IN[2]}")
    results = service.tell(args.campaign, labels)
    for one in results:
        print(f"{one.formula or one.candidate_id}  {one.status}  {one.detail or ''}".rstrip())
    return 1 if any(one.status == "rejected" for one in results) else 0


if __name__ == "__main__":
    exit_with(main)
