"""The end there of a connection by ssh: `dmrc serve --for-ssh LINK`, which the dmrc of another machine runs."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import sys
from pathlib import Path

import click

from dmrc import __version__
from dmrc.cli.app import App


def lead_to_daemon(app: App, link: Path) -> None:
    """Have the daemon run, let `link` lead to its socket, and say so; until the other end or the daemon has gone.

    The other end is gone when standard input ends, however ssh ended. What it loaded goes by its keep-alive.
    """
    from dmrc.engines.ssh.command import HELLO

    paths = app.settings.paths
    with app.daemon.needed():
        link.symlink_to(paths.admin_socket.absolute())
        try:
            click.echo(f"{HELLO}{json.dumps({'version': __version__})}")
            sys.stdout.flush()
            _wait_for_end(paths.admin_socket)
        finally:
            link.unlink(missing_ok=True)


def _wait_for_end(admin_socket: Path) -> None:
    """Wait until nobody writes to standard input any more, or the daemon ends a call that lasts as long as it does."""
    with socket.socket(socket.AF_UNIX) as daemon, contextlib.suppress(ConnectionError):
        daemon.connect(str(admin_socket))
        daemon.sendall(b"GET /use HTTP/1.1\r\nhost: dmrc\r\n\r\n")
        while True:
            readable, _, _ = select.select([sys.stdin, daemon], [], [])
            if (daemon in readable and not daemon.recv(4096)) or (
                sys.stdin in readable and not os.read(sys.stdin.fileno(), 4096)
            ):
                return
