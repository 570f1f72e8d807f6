"""Looks whether a build works on this machine: it lists its devices, loads a model, and the model says what it must.

All of it is done in children, by the way that runners are started: a build may crash, hang, or compute nonsense.
"""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from dmrc.engines.builds.build import Build
from dmrc.engines.builds.builds import Builds
from dmrc.engines.devices import Device
from dmrc.engines.engine import Launch
from dmrc.engines.llama_cpp.device_list import LIST_SECONDS, list_devices, of_build
from dmrc.engines.llama_cpp.engine import LlamaCpp
from dmrc.engines.local_model import LocalModel
from dmrc.engines.session import Session
from dmrc.errors import BuildError, EngineError
from dmrc.gguf import GgufFacts
from dmrc.project import ServingOptions

MODEL_FILE = "proof.gguf.gz"
"""A llama of 150 kB that says one text whatever comes before it; `tests/engines/builds/test_proof.py` writes it."""

_PROMPT, _TEXT = "<|assistant|>", "The build works"
_CONTEXT_TOKENS = 256
_MODEL = "proof"


@dataclass(frozen=True, slots=True)
class Proof:
    """What a build that works has shown."""

    version: str
    """As it says."""
    devices: tuple[Device, ...]
    """Those that it can use beside the processor."""


async def prove(build: Build, scratch: Path, seconds: float) -> Proof:
    """Let a build do the work of a runner, once; `scratch` is a directory with a short name for its files.

    All of it may take so many `seconds`.

    Raises:
        BuildError: It does not list its devices, ends, does not answer in time, or answers with another text.
    """
    try:
        async with asyncio.timeout(seconds):
            answer = await list_devices(of_build(build), min(seconds, LIST_SECONDS))
            if answer.failure is not None:
                raise BuildError(f"it does not list its devices: {answer.failure}")
            version = await asyncio.to_thread(_version, build)
            text = await _said(build, scratch)
    except TimeoutError as error:
        raise BuildError(f"it does not load a model and answer within {seconds:g} s") from error
    if text != _TEXT:
        raise BuildError(f"it computes wrongly: the model said {text[:40]!r}, and should say {_TEXT!r}")
    return Proof(version, answer.devices)


async def _said(build: Build, scratch: Path) -> str:
    """Return what the model says when the build runs it."""
    gguf = scratch / "proof.gguf"
    gguf.write_bytes(gzip.decompress((resources.files(__package__) / MODEL_FILE).read_bytes()))
    with gguf.open("rb") as stream:
        model = LocalModel(path=gguf, facts=GgufFacts.parse(stream, name=gguf.name))
    options = ServingOptions(mode="completion", context_size=_CONTEXT_TOKENS)
    launch = Launch(
        name=_MODEL,
        model=model,
        options=options,
        parallel=1,
        socket=scratch / "proof.sock",
        log=scratch / "proof.log",
    )
    engine = LlamaCpp(None, Builds.only(build))
    engine.program = "it"
    try:
        server = await engine.start(launch)
    except EngineError as error:
        raise _failed(error) from error
    process = server.process
    try:
        session = await server.wait_ready()
        try:
            return await _ask(session)
        finally:
            await session.close()
    except EngineError as error:
        raise _failed(error) from error
    except ConnectionError as error:
        end = str(error) if process is None or process.exit_code is None else process.last_words()
        raise BuildError(f"it loads a model, and breaks off when it is asked: {end}") from error
    finally:
        if process is not None:
            await process.stop()


async def _ask(session: Session) -> str:
    body = json.dumps({"prompt": _PROMPT, "max_tokens": 8, "temperature": 0}).encode()
    with closing(await session.post("/v1/completions", {"content-type": "application/json"}, body)) as answer:
        data = b"".join([chunk async for chunk in answer])
        if answer.status != 200:
            raise BuildError(f"it loads a model, and answers {answer.status}: {data[:200].decode(errors='replace')}")
    try:
        document: Mapping[str, list[dict[str, str]]] = json.loads(data)
        return document["choices"][0]["text"].strip()
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise BuildError(
            f"it loads a model, and answers with no text: {data[:200].decode(errors='replace')}"
        ) from error


def _version(build: Build) -> str:
    try:
        return build.told_version()
    except (OSError, TimeoutError):
        return "unknown"


def _failed(error: EngineError) -> BuildError:
    """Return why a model was not loaded, in the words of the engine's failures."""
    if isinstance(error, BuildError):
        return error
    why = error.message.removeprefix(f"model '{_MODEL}' does not start: ")
    failed = BuildError(f"it loads no model: {why}")
    failed.log_tail = error.log_tail
    return failed
