"""The files that are loaded beside a model: of its package, or of the project that declares it."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dmrc.engines.local_model import GGUF, Companion, Companions
from dmrc.errors import InputError, ModelNotFoundError, StoreError
from dmrc.gguf import GgufFacts
from dmrc.project import ModelDeclaration, files_of_directory, is_path
from dmrc.store import ModelFiles, Store, StoredModel


@dataclass(frozen=True, slots=True)
class CompanionFiles:
    """What stands beside a model's own files."""

    companions: Companions
    """In the model's own format."""
    chat_template: Path | None
    """Jinja template."""
    template: str | None
    """Source of that; None where there is none."""
    identities: tuple[str, ...]
    """What tells the files that are not of the model's own package from others."""


@dataclass(frozen=True, slots=True)
class ConfiguredDraft:
    """A draft that `dmrc configure` set."""

    reference: str
    """Full name of the model that guesses."""
    drafted: str
    """Full name of the model that it guesses for."""
    project: str | None
    """Where it was set; None is for all."""

    @property
    def undo(self) -> str:
        """Return what takes it back."""
        place = "" if self.project is None else f" --project {self.project}"
        return f"Or forget what was set: dmrc configure rm{place} {self.drafted}"


class CompanionFinder:
    """Finds them, and remembers what their headers say as long as they are the same files."""

    def __init__(self, store: Store) -> None:
        """Find the files of references in `store`."""
        self._store = store
        self._facts: dict[str, GgufFacts] = {}
        self._templates: dict[str, str] = {}

    def beside(
        self,
        files: ModelFiles,
        declaration: ModelDeclaration | None,
        configured: ConfiguredDraft | None,
        stored: Callable[[str], StoredModel],
    ) -> CompanionFiles:
        """Return what is loaded beside a model with these files: what the project names goes before the package's.

        `configured` is the draft for a project that names none; `stored` finds models by their names.

        Raises:
            InputError: A file that the project names cannot be read.
            ModelNotFoundError: A model that it names is not in the store.
        """
        identities: list[str] = []
        mmproj, template = files.mmproj, files.chat_template
        loras, draft = list(files.loras), None
        if declaration is not None:
            options = declaration.options
            where = f"models.{declaration.key}.x-dmrc"
            if options.mmproj:
                mmproj = _file(options.mmproj, f"{where}.mmproj", identities)
            if options.chat_template:
                template = _file(options.chat_template, f"{where}.chat_template", identities)
            with _told(f"{where}.lora"):
                loras += [self._path(name, f"{where}.lora", identities, stored) for name in options.loras or ()]
            if options.draft:
                with _told(f"{where}.draft"):
                    draft = self._path(options.draft, f"{where}.draft", identities, stored)
        if draft is None and configured is not None:
            with _told(f"the draft of model '{configured.drafted}'", configured.undo):
                draft = self._path(configured.reference, "draft", identities, stored)
        companions = Companions(
            mmproj=None if mmproj is None else self._companion("mmproj", mmproj, files.format),
            loras=tuple(self._companion("lora", path, files.format) for path in loras),
            draft=None if draft is None else self._companion("draft", draft, files.format),
        )
        source = None if template is None else self._template(template)
        return CompanionFiles(companions, template, source, tuple(identities))

    def _path(self, name: str, where: str, identities: list[str], stored: Callable[[str], StoredModel]) -> Path:
        if is_path(name):
            return _file(name, where, identities, may_be_directory=True)
        path = self._store.files(stored(name)).path
        identities.append(f"{where}={path}")  # a blob's name is its digest
        return path

    def _companion(self, kind: str, path: Path, model_format: str) -> Companion:
        if model_format != GGUF:
            if not path.is_dir():
                raise InputError(
                    f"a model in the format '{model_format}' cannot be loaded with a {kind} that is a file",
                    remedy=f"Name a {kind} that is a directory of safetensors",
                )
            return Companion(path, None)
        if path.is_dir():
            raise InputError(
                f"a model in the format 'gguf' cannot be loaded with a {kind} in another format",
                remedy=f"Name a {kind} that is a GGUF file",
            )
        identity = _identity(path)
        if identity not in self._facts:
            with path.open("rb") as stream:
                self._facts[identity] = GgufFacts.parse(stream, name=str(path))
        return Companion(path, self._facts[identity])

    def _template(self, path: Path) -> str:
        identity = _identity(path)
        if identity not in self._templates:
            self._templates[identity] = path.read_text(encoding="utf-8", errors="replace")
        return self._templates[identity]


@contextmanager
def _told(what: str, undo: str = "Or take it out of the compose file") -> Iterator[None]:
    """Say before an error of the store whose companion it is about, and behind it how to go without."""
    try:
        yield
    except (ModelNotFoundError, StoreError) as error:
        error.message = f"{what}: {error.message}"
        error.remedy = undo.removeprefix("Or ") if error.remedy is None else f"{error.remedy}. {undo}"
        raise


def _file(name: str, where: str, identities: list[str], *, may_be_directory: bool = False) -> Path:
    """Return a file that a project names. It was looked at when the project was read, and is the same still."""
    path = Path(name)
    try:
        files = files_of_directory(path, where) if may_be_directory and path.is_dir() else None
        if files is None and not path.is_file():  # which follows links, and waits for no pipe
            raise FileNotFoundError(errno.ENOENT, "it is not a file")
        if path.resolve() != path:
            raise InputError(f"{where} names '{name}', which is a link now", remedy="Run dmrc up again")
        identities.append(f"{where}={_identity(path) if files is None else _identity_of_all(path, files)}")
    except OSError as error:
        raise InputError(f"{where} names '{name}', which cannot be read: {error.strerror}") from error
    return path


def _identity_of_all(directory: Path, files: list[tuple[str, os.stat_result]]) -> str:
    told = "\n".join(f"{name}:{status.st_size}:{status.st_mtime_ns}" for name, status in files)
    return f"{directory}:{hashlib.sha256(told.encode('utf-8', 'surrogateescape')).hexdigest()}"


def _identity(path: Path) -> str:
    status = path.stat()
    return f"{path}:{status.st_size}:{status.st_mtime_ns}"
