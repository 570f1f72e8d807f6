"""Models from Hugging Face: `hf.co/org/repository[:QUANTISATION][@revision]`, or `:safetensors` for such a directory.

Source: https://huggingface.co/docs/hub/gguf and https://huggingface.co/docs/huggingface_hub/package_reference/hf_api
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from dmrc import hookimpl
from dmrc.artifact import FORMATS, Role, role_in_directory
from dmrc.errors import ArtifactError, DmrcError, FormatError, ModelNotFoundError, RegistryAuthError
from dmrc.gguf import GgufFacts
from dmrc.reference import Reference
from dmrc.settings import Settings
from dmrc.sources import huggingface_client
from dmrc.sources.assembly import assemble
from dmrc.sources.http import HttpClient
from dmrc.sources.huggingface_directory import INDEX, LARGEST_INDEX_BYTES, files_of_model, needs_index
from dmrc.sources.huggingface_files import RepositoryFiles
from dmrc.sources.huggingface_search import search_hugging_face
from dmrc.sources.local_files import SHARD
from dmrc.sources.quantisations import quantisations
from dmrc.sources.retry import TransientError
from dmrc.sources.search import ModelFinder
from dmrc.sources.source import ProgressEvent, Source, Transfer
from dmrc.sources.threads import together
from dmrc.sources.variants import ModelVariant, header_of

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import ModelInfo, RepoSibling

_FILES_AT_ONCE = 4
_DEFAULT_QUANTISATION = "Q4_K_M"
_NAME = re.compile(
    r"(?:hf\.co|huggingface\.co)/(?P<repository>[^/:@]+/[^/:@]+)(?::(?P<tag>[^@]*))?(?:@(?P<revision>.+))?", re.I
)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What a name asks for."""

    repository: str
    quantisation: str | None
    format: str | None
    revision: str | None

    @classmethod
    def parse(cls, text: str) -> _Wanted:
        match = _NAME.fullmatch(text.strip())
        if match is None:
            raise ModelNotFoundError(
                f"'{text}' is not a repository of Hugging Face", remedy="Write hf.co/org/repository:Q4_K_M"
            )
        # The name under which the store knows a revision has it in its tag.
        tag, _, revision = (match["tag"] or "").partition("-at-")
        named = tag.lower() if tag.lower() in FORMATS else None
        wanted = None if named or tag in ("", "latest") else tag
        return cls(match["repository"], wanted, named, match["revision"] or revision or None)


class HuggingFaceSource:
    """Pulls models of repositories on Hugging Face: GGUF files, or directories of safetensors."""

    name = "huggingface"
    catalog = "huggingface"
    catalog_title = "Hugging Face"

    def recognize(self, text: str) -> Reference | None:
        """Return the name of the model, unless it is not on Hugging Face.

        Raises:
            InvalidReferenceError: It would be there, but is malformed.
        """
        if not text.strip().lower().startswith(("hf.co/", "huggingface.co/")):
            return None
        return Reference.parse(text)

    def finder(self) -> ModelFinder:
        """Return the search among its GGUF repositories."""
        huggingface_client.api()
        return search_hugging_face

    def variants(self, text: str) -> list[ModelVariant]:
        """Return the quantisations of a repository; see `Varied.variants`."""
        wanted = _Wanted.parse(text)
        siblings = {each.rfilename: each for each in _info(huggingface_client.api(), wanted).siblings or []}
        found, beside = quantisations(siblings)
        return [
            ModelVariant(
                f"hf.co/{wanted.repository}{name and f':{name}'}",
                name,
                sum(each.size or 0 for each in [*files, *beside]),
            )
            for name, files in found.items()
        ]

    def header(self, text: str, transfer: Transfer) -> GgufFacts:
        """Return what the header of a quantisation says; see `Varied.header`."""
        wanted = _Wanted.parse(text)
        api = huggingface_client.api()
        info = _info(api, wanted)
        sibling = _choose({each.rfilename: each for each in info.siblings or []}, wanted)[0][1]
        with _files(api, wanted, info, transfer) as there:
            return header_of(there.origin(sibling), sibling.size or 0, sibling.rfilename)

    def fetch(self, text: str, transfer: Transfer) -> bytes:
        """Download the files of one quantisation, or of a model in the format safetensors; see `Source.fetch`.

        Each is checked against its LFS SHA-256, a small one against Git's name for it.
        """
        wanted = _Wanted.parse(text)
        api = huggingface_client.api()
        info = _info(api, wanted)
        siblings = {each.rfilename: each for each in info.siblings or []}
        chosen_format = _chosen_format(siblings, wanted, transfer.formats)
        with _files(api, wanted, info, transfer) as there:
            bring = partial(together, most=_FILES_AT_ONCE, check=transfer.check, stop=there.client.abort)
            if chosen_format == "gguf":
                chosen = [(role, one, one.rfilename.rpartition("/")[2]) for role, one in _choose(siblings, wanted)]
            else:
                index = None
                if needs_index(siblings):
                    [file] = bring([partial(there.fetch, "file", siblings[INDEX], INDEX)])
                    with transfer.sink.open_blob(file.digest, file.size_bytes) as stream:
                        index = stream.read(LARGEST_INDEX_BYTES + 1)
                names = files_of_model(list(siblings), index, wanted.repository)
                chosen = [(role_in_directory(name), siblings[name], name) for name in names]
            for _, sibling, _ in chosen:  # so that all of it is known before the first byte
                if sibling.lfs is not None and sibling.size is not None:
                    transfer.report(ProgressEvent("Waiting", f"sha256:{sibling.lfs.sha256}", 0, sibling.size))
            files = bring([partial(there.fetch, *each) for each in chosen])
        return assemble(files, transfer.sink)


def _info(api: HfApi, wanted: _Wanted) -> ModelInfo:
    with _errors(wanted, huggingface_client.way_to(api.endpoint)):
        return api.model_info(wanted.repository, revision=wanted.revision, files_metadata=True)


@contextlib.contextmanager
def _files(api: HfApi, wanted: _Wanted, info: ModelInfo, transfer: Transfer) -> Iterator[RepositoryFiles]:
    """Give the files of a revision, over connections that end with the block."""
    import huggingface_hub

    client = HttpClient(api.endpoint, "Hugging Face")
    token, refused = huggingface_hub.get_token(), partial(_refused, wanted)
    try:
        yield RepositoryFiles(client, api.endpoint, wanted.repository, info.sha, token, refused, transfer)
    finally:
        client.close()


@contextlib.contextmanager
def _errors(wanted: _Wanted, way: str) -> Iterator[None]:
    """Turn what huggingface_hub raises into our errors: a missing repository and a gated one are different things."""
    from huggingface_hub import errors

    try:
        yield
    except errors.GatedRepoError as error:
        raise _refused(wanted, 403) or error from error
    except errors.RepositoryNotFoundError as error:
        raise _refused(wanted, 404) or error from error
    except errors.RevisionNotFoundError as error:
        raise ModelNotFoundError(
            f"repository '{wanted.repository}' on Hugging Face has no revision '{wanted.revision}'",
            remedy="Name a branch, a tag or a commit, or none",
        ) from error
    except errors.HfHubHTTPError as error:
        if error.response is not None and error.response.status_code in (401, 403, 404):
            raise _refused(wanted, error.response.status_code) or error from error
        raise TransientError(f"Hugging Face does not answer for '{wanted.repository}': {_first_line(error)}") from error
    except DmrcError:
        raise
    except Exception as error:
        raise TransientError(f"Hugging Face cannot be reached{way}: {_first_line(error)}") from error


def _refused(wanted: _Wanted, status: int) -> Exception | None:
    if status == 404:
        return ModelNotFoundError(
            f"there is no repository '{wanted.repository}' on Hugging Face, or it is private",
            remedy="Check its name, or set HF_TOKEN to a token that may read it",
        )
    if status in (401, 403):
        return RegistryAuthError(
            f"repository '{wanted.repository}' on Hugging Face is gated",
            remedy="Accept its terms on its page there, and set HF_TOKEN to a token of that account",
        )
    return None


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _chosen_format(names: Iterable[str], wanted: _Wanted, formats: frozenset[str] | None) -> str:
    """Return the format to take: of those that are there and wanted GGUF first.

    Raises:
        ArtifactError: There is no model in a format that is known.
        ModelNotFoundError: A quantisation is asked for, and there is no GGUF file.
        FormatError: There is one in another format than is wanted.
    """
    there = [each for each in FORMATS if any(name.lower().endswith(f".{each}") for name in names)]
    if not there:
        raise ArtifactError(
            f"repository '{wanted.repository}' on Hugging Face has no GGUF file and no safetensors;"
            " models in other formats are not served"
        )
    if wanted.quantisation is not None:
        if "gguf" not in there:
            raise ModelNotFoundError(
                f"repository '{wanted.repository}' on Hugging Face has no {wanted.quantisation}: it has no GGUF file",
                remedy=f"Leave it out: hf.co/{wanted.repository}",
            )
        there = ["gguf"]
    if wanted.format is not None:
        if wanted.format not in there:
            raise ModelNotFoundError(
                f"repository '{wanted.repository}' on Hugging Face has no {wanted.format}; it has {there[0]}",
                remedy=f"Leave it out: hf.co/{wanted.repository}",
            )
        there = [wanted.format]
    found = next((each for each in there if formats is None or each in formats), None)
    if found is None:
        raise FormatError(f"hf.co/{wanted.repository}", there[0])
    return found


def _choose(siblings: Mapping[str, RepoSibling], wanted: _Wanted) -> list[tuple[Role, RepoSibling]]:
    """Return the files of the quantisation that is wanted, and the projector of a model that sees.

    Raises:
        ModelNotFoundError: There is no such quantisation; the choices are listed.
        ArtifactError: A split model is not complete.
    """
    by_quantisation, projectors = quantisations(siblings)
    if not by_quantisation:
        raise ArtifactError(f"repository '{wanted.repository}' on Hugging Face has a projector, and no model")
    name = _chosen_quantisation(list(by_quantisation), wanted)
    files = sorted(by_quantisation[name], key=lambda each: each.rfilename)
    _check_complete(files, wanted)
    chosen: list[tuple[Role, RepoSibling]] = [("gguf", each) for each in files]
    chosen += [("mmproj", each) for each in projectors]
    return chosen


def _chosen_quantisation(names: list[str], wanted: _Wanted) -> str:
    """Return the one that is wanted, exactly; without a wish, the usual one or the only one."""
    asked = wanted.quantisation or _DEFAULT_QUANTISATION
    for name in names:
        if name.lower() == asked.lower():
            return name
    if wanted.quantisation is None and len(names) == 1:
        return names[0]
    if (known := sorted(filter(None, names))) == []:
        raise ModelNotFoundError(
            f"repository '{wanted.repository}' on Hugging Face has no {asked}: no file's name says a quantisation",
            remedy=f"Leave it out: hf.co/{wanted.repository}",
        )
    what = f"no {asked}" if wanted.quantisation else f"several quantisations and no {asked}"
    raise ModelNotFoundError(
        f"repository '{wanted.repository}' on Hugging Face has {what}; it has {', '.join(known)}",
        remedy=f"Choose one, like hf.co/{wanted.repository}:{known[0]}",
    )


def _check_complete(files: Sequence[RepoSibling], wanted: _Wanted) -> None:
    """Refuse two models under one quantisation, and a split one with a file missing."""
    shards = [SHARD.fullmatch(each.rfilename) for each in files]
    first = shards[0]
    if first is None:
        if len(files) > 1:
            names = ", ".join(each.rfilename for each in files)
            raise ArtifactError(f"repository '{wanted.repository}' has several models of that quantisation: {names}")
        return
    expected = [
        f"{first['stem']}-{number:05d}-of-{first['count']}.gguf" for number in range(1, int(first["count"]) + 1)
    ]
    found = [each.rfilename for each in files]
    if found != expected:
        missing = next((name for name in expected if name not in found), None)
        reason = f"'{missing}' is not there" if missing else f"beside others it has {found[-1]!r}"
        raise ArtifactError(f"repository '{wanted.repository}' has a split model of which {reason}")


@hookimpl
def dmrc_register_sources(settings: Settings) -> Sequence[Source]:  # noqa: ARG001 the hook's argument
    """Register it; huggingface_hub reads HF_TOKEN and HF_ENDPOINT itself."""
    return [HuggingFaceSource()]
