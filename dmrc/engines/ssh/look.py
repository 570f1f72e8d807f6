"""A look at a host from outside of the daemon, for `dmrc doctor`: nothing is started there."""

from __future__ import annotations

import re
import shlex
import subprocess

from dmrc import __version__
from dmrc.engines.engine import Finding
from dmrc.engines.ssh.command import OPTIONS, PROGRAM, join_failure, other_version
from dmrc.errors import DmrcError
from dmrc.project import parse_host, ssh_destination

_SECONDS = 30


def look(written: str, remote_command: str) -> Finding:
    """Return whether ssh comes to a host, and whether a dmrc of this version is there. It blocks."""
    try:
        host = parse_host(written, "DMRC_HOST")
        there = f"exec $SHELL -lc {shlex.quote(f'{remote_command} version')}"
        done = subprocess.run(
            [PROGRAM, *OPTIONS, *ssh_destination(host), there],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
            check=False,
        )
        found = re.search(r"^dmrc:\s+(\S+)", done.stdout, re.MULTILINE)
        if found is None:
            raise join_failure(host, done.returncode, done.stderr.splitlines())
        if found[1] != __version__:
            raise other_version(host, found[1])
    except DmrcError as error:
        return Finding("problem", error.message, error.remedy)
    except subprocess.TimeoutExpired:
        return Finding("problem", f"host '{written}' does not answer in {_SECONDS} s", "Does ssh work by hand?")
    except OSError as error:
        return Finding("problem", f"'{PROGRAM}' cannot be run: {error.strerror}", "Install OpenSSH's client")
    return Finding("ok", f"{host} has dmrc {found[1]}")
