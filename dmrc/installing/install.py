"""The story of a build: brought, looked at, proved, given its name, and used from then on. Or nothing of it stays."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from dmrc.engines.builds.build import Build
from dmrc.engines.builds.builds import Builds, checked_name
from dmrc.engines.builds.proof import Proof, prove
from dmrc.errors import BuildError, ConflictError
from dmrc.installing import places
from dmrc.installing.contents import build_in

_FOR_PROCESSORS = "cpu"


@dataclass(frozen=True, slots=True)
class Brought:
    """What came into a directory."""

    source: str
    """Where it came from: a URL without secrets, or a path."""
    sha256: str | None
    """Of the file that it came in; None where it was none."""


Bring = Callable[[Path], Brought]
"""Puts a build into an empty directory."""

Waiting = Callable[[str], AbstractContextManager[object]]
"""Says what is waited for within its block."""


class Installer:
    """Changes the builds of one state directory."""

    def __init__(self, builds: Builds, run: Path, seconds: float, waiting: Waiting = nullcontext) -> None:
        """Prove a build within so many seconds before it is used, with sockets in `run`, which has a short name.

        `waiting` shows a person, for as long as its block lasts, what is waited for.
        """
        self._builds = builds
        self._run = run
        self._seconds = seconds
        self._waiting = waiting

    def install(self, name: str, bring: Bring, *, wants_card: bool = False) -> tuple[Build, Proof]:
        """Bring a build, and use it from the next runner on. `wants_card` refuses one that sees no graphics card.

        Raises:
            InputError: What came is no build, or the name cannot be used.
            BuildError: It does not work on this machine.
            RegistryError: It could not be fetched.
            ConflictError: Another command changes the builds.
            StoreError: The disk is full, or fails.
        """
        checked_name(name)
        directory = self._builds.directory
        with places.changing(directory), places.aside(directory) as place:
            brought = bring(place)
            build = build_in(place, name, brought.source, brought.sha256)
            proof = self._proved(build, wants_card=wants_card)
            kept = places.keep(replace(build, version=proof.version), place, directory)
            places.choose(name, directory)
        return kept, proof

    def install_first(
        self, wanted: Sequence[str], bring: Callable[[str], Bring], tell: Callable[[str], None], name: str | None = None
    ) -> tuple[Build, Proof]:
        """Bring the first of several builds that works, and call it `name`, or what it is called in `wanted`.

        `tell` gets a line for each that does not. Those for a graphics card must see one; `cpu` is for none.

        Raises:
            BuildError: The last one does not work either.
            DmrcError: One cannot be brought; see `install`. The next would not be either.
        """
        *others, last = wanted
        for one in others:
            try:
                return self.install(name or one, bring(one), wants_card=one != _FOR_PROCESSORS)
            except BuildError as error:
                tell(str(error))
        return self.install(name or last, bring(last), wants_card=last != _FOR_PROCESSORS)

    def use(self, name: str) -> tuple[Build, Proof]:
        """Use a build that is there from the next runner on.

        Raises:
            NotFoundError: There is none of that name.
            BuildError: It does not work on this machine.
            ConflictError: Another command changes the builds.
            StoreError: The disk is full, or fails.
        """
        with places.changing(self._builds.directory):
            build = self._builds.named(name)
            proof = self._proved(build)
            places.choose(name, self._builds.directory)
        return build, proof

    def remove(self, name: str, *, force: bool) -> Build:
        """Remove a build that was installed, a damaged one too, and return the one that is in use then.

        Raises:
            NotFoundError: There is none of that name.
            ConflictError: It is in use, and not to be removed by `force`; or dmrc did not install it.
            StoreError: The disk fails.
        """
        directory = self._builds.directory
        with places.changing(directory):
            if not places.has(name, directory):
                found = self._builds.named(name)
                raise ConflictError(f"build '{found.name}' was not installed by dmrc", remedy="See: dmrc engine list")
            is_chosen = self._builds.chosen() == name
            if is_chosen and not force:
                raise ConflictError(
                    f"build '{name}' is in use", remedy="Run: dmrc engine use xllamacpp, or add --force"
                )
            if is_chosen:
                places.forget_choice(directory)
            places.remove(name, directory)
        return self._builds.in_use()

    def _proved(self, build: Build, *, wants_card: bool = False) -> Proof:
        """Return what a build has shown.

        Raises:
            BuildError: It does not work here; another one stays in use.
        """
        stays = f"In use stays {self._builds.in_use().label}"
        try:
            with (
                self._waiting(f"Trying build '{build.name}'"),
                tempfile.TemporaryDirectory(prefix="p-", dir=self._run) as scratch,
            ):
                proof = asyncio.run(prove(build, Path(scratch), self._seconds))
        except BuildError as error:
            raise BuildError(f"build '{build.name}' does not work here: {error.message}", remedy=stays) from error
        if wants_card and not proof.devices:
            raise BuildError(f"build '{build.name}' sees no graphics card here", remedy=stays)
        return proof
