"""Where a search is kept: a folder, or any place that fsspec reaches. All nodes write their checkpoints there."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from discovery.errors import ConfigError, DataError

TRIALS = "trials"  # folder of Ray Tune's own files
BEST = "best"  # folder of the best model
PLAN, RECORDS, PAGE = "search.json", "trials.json", "search.html"


@dataclass(frozen=True)
class Storage:
    """A place, and how to reach it."""

    url: str
    filesystem: Any  # of fsspec
    path: str  # within the file system

    @classmethod
    def at(cls, url: str) -> Storage:
        """A place by its URL, or a local path.

        Raises:
            ConfigError: fsspec does not know how to reach it.
        """
        try:
            filesystem, path = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            remedy = "install what it needs, or name a folder"
            raise ConfigError(f"--storage {url} cannot be reached ({error}): {remedy}") from error
        return cls(url, filesystem, str(path))

    @property
    def local(self) -> bool:
        """True for a folder of this machine's file system (which several nodes may share)."""
        return isinstance(self.filesystem, LocalFileSystem) and type(self.filesystem) is LocalFileSystem

    def for_ray(self) -> dict[str, Any]:
        """Arguments of `ray.tune.RunConfig`."""
        return {"storage_path": self.path, "storage_filesystem": self.arrow(), "name": TRIALS}

    def arrow(self) -> Any:
        """The file system as Ray wants it; None for the local one."""
        if self.local:
            return None
        from pyarrow.fs import FSSpecHandler, PyFileSystem

        return PyFileSystem(FSSpecHandler(self.filesystem))

    def inner(self, *names: str) -> str:
        """Path of a file of the search within the file system."""
        return posixpath.join(self.path, *names)

    def holds(self, *names: str) -> bool:
        """Whether that file or folder is there."""
        return bool(self.filesystem.exists(self.inner(*names)))

    def write(self, name: str, text: str) -> None:
        """Replace a text file as a whole.

        Raises:
            DataError: it cannot be written.
        """
        try:
            self.filesystem.makedirs(self.path, exist_ok=True)
            self.filesystem.pipe_file(self.inner(f"{name}.part"), text.encode())
            self.filesystem.mv(self.inner(f"{name}.part"), self.inner(name))
        except OSError as error:
            raise DataError(f"{self.url} cannot be written ({error}): name another --storage") from error

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Replace a JSON file as a whole."""
        self.write(name, json.dumps(content, indent=1))

    def read_json(self, name: str) -> dict[str, Any]:
        """A JSON object of the search; {} where there is none.

        Raises:
            DataError: it is damaged.
        """
        if not self.holds(name):
            return {}
        try:
            return dict(json.loads(self.filesystem.cat_file(self.inner(name))))
        except (OSError, ValueError) as error:
            raise DataError(f"{self.inner(name)} is damaged ({error}): name another --storage") from error

    def put(self, folder: Path, name: str) -> None:
        """Replace a folder of the search by a local one."""
        if self.holds(name):
            self.filesystem.rm(self.inner(name), recursive=True)
        self.filesystem.makedirs(self.inner(name), exist_ok=True)
        for file in sorted(folder.iterdir()):
            self.filesystem.put_file(str(file), self.inner(name, file.name))
