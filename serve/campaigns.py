"""The campaigns that are kept: one folder each under DISCOVERY_HOME/campaigns, named by the campaign's id."""

from __future__ import annotations

import shutil
import threading
import uuid
from collections import OrderedDict
from pathlib import Path

from discovery.campaign import Campaign
from discovery.config import CampaignConfig, load_config
from discovery.export import write_whole
from discovery.ledger import Ledger, sqlite_url
from serve.book import Book, State
from serve.errors import NotFoundError, TooManyError
from serve.library import Library
from serve.settings import Settings
from serve.views import View

KEPT_VIEWS = 64  # open ledgers of campaigns that were looked at last
CONFIG = "config.toml"  # written last when a campaign is made: a folder without it is half a campaign


class Store:
    """Makes, finds and removes campaigns; safe to use from several threads and processes."""

    def __init__(self, settings: Settings, library: Library) -> None:
        self._settings = settings
        self._library = library
        self._views: OrderedDict[str, View] = OrderedDict()
        self._lock = threading.RLock()

    def ids(self) -> list[str]:
        """Of all campaigns."""
        return sorted(path.parent.name for path in self._settings.campaigns.glob(f"*/{CONFIG}"))

    def create(self, config: CampaignConfig, name: str) -> View:
        """A new campaign, not running.

        Raises:
            TooManyError: as many as may be kept are there.
            DiscoveryError: a file that is missing or does not fit; nothing is written then.
        """
        if len(self.ids()) >= self._settings.limits.campaigns:
            raise TooManyError(f"{self._settings.limits.campaigns} campaigns are kept already: delete one first")
        parts = self._library.parts(config)
        folder = self._settings.campaigns / str(uuid.uuid4())
        folder.mkdir(parents=True)
        campaign = Campaign.start(folder, config, parts, self._settings.ledger_url or sqlite_url(folder))
        Book(campaign.ledger).save_state(State(name))
        write_whole(folder / CONFIG, config.to_toml())
        campaign.ledger.close()
        return self.view(folder.name)

    def open(self, campaign_id: str) -> Campaign:
        """A campaign to work on, with a connection of its own."""
        folder = self._folder(campaign_id)
        config = load_config(folder / CONFIG)
        return Campaign(folder, config, self._ledger(campaign_id), self._library.parts(config))

    def view(self, campaign_id: str) -> View:
        """A campaign to look at."""
        with self._lock:
            self._folder(campaign_id)
            if campaign_id not in self._views:
                campaign = self.open(campaign_id)
                self._views[campaign_id] = View(campaign, Book(campaign.ledger), self._settings)
                if len(self._views) > KEPT_VIEWS:
                    self._views.popitem(last=False)[1].campaign.ledger.close()
            self._views.move_to_end(campaign_id)
            return self._views[campaign_id]

    def views(self) -> list[View]:
        """All campaigns, the newest first; one that is being removed is left out."""
        found = []
        for campaign_id in self.ids():
            try:
                found.append(self.view(campaign_id))
            except NotFoundError:
                continue
        return sorted(found, key=lambda view: (view.created_at, view.id), reverse=True)

    def book(self, campaign_id: str) -> Book:
        """What the service writes down about a campaign."""
        return self.view(campaign_id).book

    def delete(self, campaign_id: str) -> None:
        """Remove a campaign that nobody works on."""
        folder = self._folder(campaign_id)
        with self._lock:
            view = self._views.pop(campaign_id, None)
            ledger = self._ledger(campaign_id) if view is None else view.campaign.ledger
            (folder / CONFIG).unlink()  # first: from here on it is no campaign
            if self._settings.ledger_url is not None:
                Book(ledger).forget()
                ledger.forget()
            ledger.close()
        shutil.rmtree(folder)

    def close(self) -> None:
        """Give the connections back."""
        with self._lock:
            for view in self._views.values():
                view.campaign.ledger.close()
            self._views.clear()

    def _folder(self, campaign_id: str) -> Path:
        """The folder of a campaign; only the id of one that exists becomes part of a path."""
        if not _is_id(campaign_id) or not (self._settings.campaigns / campaign_id / CONFIG).is_file():
            raise NotFoundError("there is no such campaign: GET /v1/campaigns lists them")
        return self._settings.campaigns / campaign_id

    def _ledger(self, campaign_id: str) -> Ledger:
        if self._settings.ledger_url is not None:
            return Ledger.open(self._settings.ledger_url, campaign_id)
        return Ledger.open(sqlite_url(self._settings.campaigns / campaign_id))


def _is_id(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False
