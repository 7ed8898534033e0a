"""Bearer tokens: who may read, and who may write."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import Literal

from discovery.errors import ConfigError

Role = Literal["read", "write"]  # write includes read
ROLES: tuple[Role, ...] = ("read", "write")
MIN_LENGTH = 16  # characters: shorter ones can be guessed


@dataclass(frozen=True)
class Tokens:
    """Hashes of the tokens that open the service; none: only this machine is let in."""

    entries: tuple[tuple[Role, bytes], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Tokens:
        """Tokens of a text such as ``read:TOKEN,write:TOKEN``.

        Raises:
            ConfigError: another role, or a token that is short; the message does not show it.
        """
        entries: list[tuple[Role, bytes]] = []
        for number, pair in enumerate(filter(None, (part.strip() for part in text.split(","))), 1):
            name, _, token = pair.partition(":")
            role = next((role for role in ROLES if role == name), None)
            if role is None:
                raise ConfigError(f"DISCOVERY_API_TOKENS: pair {number} has no role: write read:TOKEN or write:TOKEN")
            if len(token) < MIN_LENGTH:
                raise ConfigError(
                    f"DISCOVERY_API_TOKENS: token {number} has fewer than {MIN_LENGTH} characters: make one with "
                    "python -c 'import secrets; print(secrets.token_urlsafe())'"
                )
            entries.append((role, _digest(token)))
        return cls(tuple(entries))

    def __bool__(self) -> bool:
        return bool(self.entries)

    def role(self, token: str) -> Role | None:
        """The role of a token, None for an unknown one; takes equally long for any."""
        digest = _digest(token)
        found: Role | None = None
        for role, known in self.entries:
            if hmac.compare_digest(digest, known):
                found = role
        return found


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
