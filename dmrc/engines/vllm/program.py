"""The vLLM of this machine: the one that `DMRC_VLLM` names, else the one that Python can import, else the one on PATH.

It is found without being started or imported, which takes ten seconds.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import site
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dmrc.errors import SettingError
from dmrc.settings import Settings

_DISTRIBUTION = re.compile(r"vllm(_cpu)?-([\w.+!]+)\.dist-info")


@dataclass(frozen=True, slots=True)
class Program:
    """One vLLM."""

    command: tuple[str, ...]
    """What goes before `serve`."""
    version: str | None
    """As its package says; None where no package is found beside it."""
    is_for_processors: bool
    """Whether it was built for processors alone, which its package says by its name or its version."""

    @property
    def description(self) -> str:
        """Return what messages call it."""
        return f"vLLM {self.version}" if self.version else f"vLLM ({self.command[0]})"


def find_program(settings: Settings) -> Program | None:
    """Return the vLLM to use; None where there is none.

    Raises:
        SettingError: `DMRC_VLLM` names none.
    """
    if settings.vllm is not None:
        found = shutil.which(settings.vllm)
        if found is None:
            raise SettingError(
                f"DMRC_VLLM must be the path of a program, not '{settings.vllm}'",
                remedy="Name the program vllm of the environment that vLLM is installed in, or unset it",
            )
        return _program((found,), _packages_of(Path(found)))
    if importlib.util.find_spec("vllm") is not None:
        return _program((sys.executable, "-P", "-m", "vllm.entrypoints.cli.main"), _own_packages())
    found = shutil.which("vllm")
    return None if found is None else _program((found,), _packages_of(Path(found)))


def _program(command: tuple[str, ...], packages: Iterator[Path]) -> Program:
    names = [path.name for directory in packages for path in directory.glob("vllm*.dist-info")]
    found = [match for name in sorted(names) if (match := _DISTRIBUTION.fullmatch(name))]
    version = found[0][2] if found else None
    return Program(command, version, any(match[1] or "cpu" in match[2] for match in found))


def _own_packages() -> Iterator[Path]:
    yield Path(sysconfig.get_paths()["purelib"])
    yield Path(site.getusersitepackages())


def _packages_of(program: Path) -> Iterator[Path]:
    """Yield where the packages of a program in Python are: beside the interpreter that its first line names.

    Where that one's path is long, or has a space, the line names a shell; the environment is the program's own then.
    """
    try:
        with program.open("rb") as file:
            first = file.readline(512)
    except OSError:
        return
    if first.startswith(b"#!") and (words := first[2:].split()):
        interpreter = Path(words[0].decode(errors="replace"))
        environment = program.resolve() if interpreter.name == "sh" else interpreter
        yield from environment.parent.parent.glob("lib/python3*/site-packages")
