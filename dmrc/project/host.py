"""Another machine whose dmrc serves models for this one: `ssh://[user@]box[:port]`."""

from __future__ import annotations

import re

from dmrc.errors import ProjectError

SCHEME = "ssh://"

_HOST = re.compile(
    r"ssh://(?:(?P<user>[A-Za-z0-9_][\w.@+-]*)@)?"
    r"(?P<name>\[[0-9A-Fa-f:.]+(?:%[\w.]+)?\]|[A-Za-z0-9_][\w.-]*)(?::(?P<port>\d{1,5}))?/?",
    re.ASCII,
)


def parse_host(value: object, where: str) -> str:
    """Return a host as it is written everywhere: without a slash at the end.

    A name or a user that begins with `-` would be an option of ssh.

    Raises:
        ProjectError: It is none, or holds a password.
    """
    written = value.strip() if isinstance(value, str) else ""
    if ":" in written.removeprefix(SCHEME).partition("@")[0] and "@" in written:
        raise ProjectError(f"{where} holds a password", remedy="Remove it: ssh uses your keys, or your agent")
    match = _HOST.fullmatch(written)
    if match is None or not 0 < int(match["port"] or 22) < 1 << 16:
        raise ProjectError(f"{where} must be ssh://[USER@]HOST[:PORT], not {value!r}", remedy="Write ssh://box")
    return written.rstrip("/")


def host_name(host: str) -> str:
    """Return what a host is called in tables and in the record: its name, without user and port."""
    match = _HOST.fullmatch(host)
    return host if match is None else match["name"].strip("[]")


def ssh_destination(host: str) -> list[str]:
    """Return the arguments of ssh that name a host."""
    match = _HOST.fullmatch(host)
    if match is None:
        raise ProjectError(f"host must be ssh://[USER@]HOST[:PORT], not {host!r}")
    user = ["-l", match["user"]] if match["user"] else []
    port = ["-p", match["port"]] if match["port"] else []
    return [*user, *port, "--", match["name"].strip("[]")]
