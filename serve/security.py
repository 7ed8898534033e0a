"""Who is let in: middleware around the whole application, pages and OPTIMADE included.

Without tokens only this machine is served: by the address the request came from, by the name it was sent to (a page of
another site may have its name point at this machine), and not through a proxy, behind which every client looks near.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from discovery.errors import ConfigError
from serve.errors import ForbiddenError, Problem, TooLargeError, UnauthorizedError
from serve.limits import RateLimiter
from serve.problems import of_error
from serve.settings import Settings

PUBLIC = ("/", "/healthz", "/readyz", "/docs", "/docs.css", "/openapi.json")  # and everything below /assets/
READING = ("GET", "HEAD", "OPTIONS")
COMPUTING = ("/v1/generate", "/v1/rank")  # they change nothing, so that readers may use them
FORWARDED = ("forwarded", "x-forwarded-for")
PAGE_POLICY = (
    "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "img-src 'self' data: blob:"
)
REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; sandbox"
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Guard:
    """ASGI middleware: identity, role, rate, size of the body, and headers of the answer."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._tokens = settings.tokens
        self._body_bytes = settings.limits.body_bytes
        self._rates = RateLimiter(settings.limits.rate, settings.limits.burst)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or answer it with a problem."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        send = _with_headers(send, scope["path"])
        try:
            self._check(scope, Headers(scope=scope))
            if scope["method"] not in READING:
                receive = await _whole_body(receive, self._body_bytes)
        except Problem as error:
            await of_error(error)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _check(self, scope: Scope, headers: Headers) -> None:
        client = self._client(scope, headers)
        self._rates.check(client)
        length = headers.get("content-length", "0")
        if length.isdigit() and int(length) > self._body_bytes:
            raise _too_large(self._body_bytes)

    def _client(self, scope: Scope, headers: Headers) -> str:
        """What tells one client from another.

        Raises:
            UnauthorizedError: no token, or an unknown one.
            ForbiddenError: a token that may only read, or a request from elsewhere without tokens.
        """
        address = str((scope.get("client") or ("",))[0])
        if not self._tokens:
            _check_is_local(address, headers)
            return address
        if _is_public(scope["method"], scope["path"]):
            return address
        scheme, _, token = headers.get("authorization", "").partition(" ")
        role = self._tokens.role(token.strip()) if scheme.lower() == "bearer" else None
        if role is None:
            raise UnauthorizedError("a token is needed: send the header Authorization: Bearer TOKEN")
        if role == "read" and not _only_reads(scope["method"], scope["path"]):
            raise ForbiddenError("this token may only read: use one with the role write")
        return f"{role} {hash(token)}"


def check_bind(host: str, settings: Settings) -> None:
    """Refuse to listen to other machines without tokens.

    Raises:
        ConfigError: there are none.
    """
    if not settings.tokens and not is_loopback(host):
        raise ConfigError(f"{host} can be reached from other machines: set DISCOVERY_API_TOKENS, or bind to 127.0.0.1")


def is_loopback(host: str) -> bool:
    """True for an address or name of this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check_is_local(address: str, headers: Headers) -> None:
    host = headers.get("host", "").lower()
    name = host[1 : host.find("]")] if host.startswith("[") else host.rpartition(":")[0] or host
    proxied = any(header in headers for header in FORWARDED)
    if is_loopback(address) and is_loopback(name) and not proxied:
        return
    raise ForbiddenError("without tokens only this machine is served: the operator has to set DISCOVERY_API_TOKENS")


def _is_public(method: str, path: str) -> bool:
    return method in READING and (path in PUBLIC or path.startswith("/assets/"))


def _only_reads(method: str, path: str) -> bool:
    return method in READING or path in COMPUTING


async def _whole_body(receive: Receive, limit: int) -> Receive:
    """The request with its body read, which may not grow beyond the limit, whatever its headers said.

    Raises:
        TooLargeError: it does.
    """
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return receive  # the client is gone
        parts.append(message.get("body", b""))
        if sum(map(len, parts)) > limit:
            raise _too_large(limit)
        if not message.get("more_body", False):
            break
    body: list[Message] = [{"type": "http.request", "body": b"".join(parts), "more_body": False}]

    async def replayed() -> Message:
        return body.pop() if body else await receive()

    return replayed


def _too_large(limit: int) -> TooLargeError:
    return TooLargeError(f"the body is larger than {limit} bytes: send less at a time")


def _with_headers(send: Send, path: str) -> Send:
    policy = REPORT_POLICY if path.endswith("/report") else PAGE_POLICY
    extra: Iterable[tuple[str, str]] = [*HEADERS.items(), ("Content-Security-Policy", policy)]

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in extra:
                headers[name] = value
            if path.startswith("/v1/"):
                headers.setdefault("Cache-Control", "no-store")
        await send(message)

    return sending
