"""One writer per campaign: a lock on its folder that ends with the process that holds it, also after kill -9."""

from __future__ import annotations

import fcntl
import time
from pathlib import Path

from serve.errors import BusyError

NAME = "in-use"
PATIENCE_S = 30.0  # for a predecessor that is ending
PAUSE_S = 0.1


class Hold:
    """Holds a campaign's folder until `release`, or the end of the process.

    Raises:
        BusyError: another process, or another holder in this one, keeps it beyond the patience.
    """

    def __init__(self, folder: Path, patience_s: float = PATIENCE_S) -> None:
        self._file = (folder / NAME).open("a")
        deadline = time.monotonic() + patience_s
        while not self._taken():
            if time.monotonic() >= deadline:
                self._file.close()
                raise BusyError(f"another process works on the campaign {folder.name}: end it, or try again later")
            time.sleep(PAUSE_S)

    def release(self) -> None:
        """Let others have it."""
        self._file.close()

    def _taken(self) -> bool:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
