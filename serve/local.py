"""The service in one process, without Ray: ``python -m serve.local``. For a laptop, and for trying things out."""

from __future__ import annotations

import argparse

import torch
import uvicorn

from discovery.options import exit_with
from serve.backend import local_backend, settings_here
from serve.security import check_bind
from serve.web import make_app


def main(argv: list[str] | None = None) -> int:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m serve.local", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="another address than this machine's needs tokens")
    parser.add_argument("--port", type=int, default=8000)
    args = parser.parse_args(argv)
    settings = settings_here()
    check_bind(args.host, settings)
    torch.set_num_threads(1)
    backend = local_backend(settings)
    try:
        uvicorn.run(make_app(backend), host=args.host, port=args.port, log_level="warning", proxy_headers=False)
    finally:
        backend.close()
    return 0


if __name__ == "__main__":
    exit_with(main)
