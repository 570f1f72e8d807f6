"""The ssh command that joins this machine with a host, and what its end means.

One process is all: it runs `dmrc serve --for-ssh` there, which makes the daemon run and tells its version, and leads a
socket here to that daemon's own, by way of a link with a name that nobody can guess. Both end with the connection.
"""

from __future__ import annotations

import re
import secrets
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dmrc import __version__
from dmrc.errors import UpstreamError
from dmrc.project import ssh_destination

HELLO = "dmrc-hosting "
"""How the line begins by which `dmrc serve --for-ssh` says that it is there; a login there may print others before."""

PROGRAM = "ssh"
"""The person's own, by the PATH of the daemon."""

_WISHES = (
    "BatchMode=yes",  # nobody is there to type a password
    "ExitOnForwardFailure=yes",
    "ControlMaster=no",  # a master of the person's own is used, and none is made that would stay
    "ForwardAgent=no",
    "ForwardX11=no",
    "RequestTTY=no",
    "ServerAliveInterval=5",
    "ServerAliveCountMax=3",
    "StreamLocalBindMask=0177",
    "StreamLocalBindUnlink=yes",
    "LogLevel=INFO",
)
OPTIONS = [word for wish in _WISHES for word in ("-o", wish)]
"""Arguments of ssh for whatever it does for us."""

_FORBIDDEN = re.compile(
    r"administratively prohibited|connect failed: open failed|forwarding (?:is )?(?:disabled|not permitted)"
)
_CAUSES = (
    (r"Could not resolve hostname|Name or service not known", "Check the name, or your ssh configuration"),
    (
        r"Host key verification failed|REMOTE HOST IDENTIFICATION HAS CHANGED|host key is known",
        "Connect by hand once, and look at its key: ssh {box}",
    ),
    (r"Permission denied", "It takes none of your keys, or they want a passphrase: ssh-add, and try: ssh {box} true"),
    (r"Connection refused|timed out|No route to host|Network is unreachable", "Is it on, and does ssh {box} work?"),
)


@dataclass(frozen=True, slots=True)
class Joining:
    """One ssh process to start."""

    command: Sequence[str]
    """Program and arguments."""
    socket: Path
    """Where it will listen here."""


def joining(host: str, run: Path, remote_command: str) -> Joining:
    """Return what joins this machine with a host; `remote_command` starts dmrc there, in words of its shell."""
    name = secrets.token_hex(16)
    socket, link = run / f"host-{name[:12]}.sock", f"/tmp/dmrc-{name}.sock"  # noqa: S108 nobody can guess it
    started = f"{remote_command} serve --for-ssh {link}"
    # The variable is the login shell's name in every shell; a shell that is not a login one may not know the PATH.
    there = f"exec $SHELL -lc {shlex.quote(started)}"
    here = str(socket).replace("%", "%%").replace(":", "\\:")
    return Joining([PROGRAM, *OPTIONS, "-L", f"{here}:{link}", *ssh_destination(host), there], socket)


def join_failure(host: str, exit_code: int | None, said: Sequence[str]) -> UpstreamError:
    """Return why no connection came about, by the exit code of ssh and what it and the other end have said."""
    words = [line.strip() for line in said if line.strip()]
    last = words[-1] if words else ""
    if exit_code == 127:
        return UpstreamError(
            f"host '{host}' has no dmrc on the PATH of a login: {last}",
            remedy="Install it there, or say where it is: DMRC_REMOTE_COMMAND=/path/to/dmrc",
        )
    if exit_code == 255:
        box = " ".join(word for word in ssh_destination(host) if word != "--")
        for pattern, remedy in _CAUSES:
            found = next((line for line in words if re.search(pattern, line)), None)
            if found is not None:
                return UpstreamError(f"host '{host}' cannot be reached: {found}", remedy=remedy.replace("{box}", box))
    if _FORBIDDEN.search("\n".join(words)):
        return UpstreamError(
            f"host '{host}' lets ssh forward no socket", remedy="Its sshd needs: AllowStreamLocalForwarding yes"
        )
    how = f"ssh ended with exit code {exit_code}" if exit_code is not None else "it says nothing"
    return UpstreamError(f"host '{host}' cannot be reached: {last or how}", remedy="See: dmrc logs")


def other_version(host: str, version: str) -> UpstreamError:
    """Return the error for a host whose dmrc is of another version, and may say other things than this one."""
    return UpstreamError(
        f"host '{host}' has dmrc {version}, and this is dmrc {__version__}",
        remedy="Install the same version on both, and end an older daemon there: dmrc stop-runner",
    )
