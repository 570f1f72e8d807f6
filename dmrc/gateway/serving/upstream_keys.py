"""The keys of upstreams, in memory: no disk ever holds one."""

from __future__ import annotations

from collections.abc import Mapping

from dmrc.errors import UpstreamError
from dmrc.project import UpstreamPlace


class UpstreamKeys:
    """Keys by project and environment variable, as `dmrc up` found them. They end with the daemon."""

    def __init__(self) -> None:
        self._keys: dict[str, dict[str, str]] = {}

    def put(self, project: str, keys: Mapping[str, str]) -> None:
        """Remember the keys of a project, in place of those that it had."""
        self._keys[project] = dict(keys)

    def forget(self, project: str) -> None:
        self._keys.pop(project, None)

    def all_of(self, project: str) -> Mapping[str, str]:
        """Return the keys that a project has, by their variables."""
        return self._keys.get(project, {})

    def of(self, project: str, upstream: UpstreamPlace) -> str | None:
        """Return the key that an upstream wants; None where it wants none.

        Raises:
            UpstreamError: It is not known, since the daemon has started anew.
        """
        if upstream.key is None:
            return None
        key = self._keys.get(project, {}).get(upstream.key)
        if key is None:
            raise UpstreamError(
                f"the key of upstream '{upstream.url}' is not known: it is kept in memory only, and dmrc was restarted",
                remedy=f"Run dmrc up in project '{project}' again, with {upstream.key} set",
            )
        return key
