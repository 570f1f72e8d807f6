"""Commands that prepare a project which is new: it ends when all of them fail, and stays when one succeeds."""

from __future__ import annotations


class Claims:
    """Who prepares which project now; in memory, for a command does not outlive the daemon that it talks to."""

    def __init__(self) -> None:
        self._claims: dict[str, set[str]] = {}

    def claim(self, project: str, claim: str, *, is_new: bool) -> None:
        """Take note of a command that registers a project; `claim` is a name of its own, by which it lets go.

        Where the project is up already, no failure of the command ends it.
        """
        if is_new:
            self._claims[project] = set()
        if project in self._claims:
            self._claims[project].add(claim)

    def settle(self, project: str) -> None:
        """Take note that a command has made a project ready: it stays."""
        self._claims.pop(project, None)

    def abandon(self, project: str, claim: str) -> bool:
        """Take note that a command failed; return whether the project is to end with it."""
        claims = self._claims.get(project)
        if claims is None or claim not in claims:
            return False
        claims.remove(claim)
        if claims:
            return False
        del self._claims[project]
        return True
