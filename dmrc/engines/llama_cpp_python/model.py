"""A model loaded by llama-cpp-python's `Llama`, and the one thread that may use it. Imported by its child only."""

from __future__ import annotations

import base64
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import llama_cpp
from llama_cpp.llama_chat_format import Jinja2ChatFormatter

from dmrc.engines.llama_cpp.flags import parse
from dmrc.engines.llama_cpp_python.engine import LOAD_FLAGS, REQUEST_FLAGS, SPECIAL_FLAGS
from dmrc.engines.llama_cpp_python.requests import RequestKind
from dmrc.engines.llama_cpp_python.stream import ChunkDocument


class Cancelled(Exception):
    """The caller went away."""


class _Tapped(llama_cpp.Llama):  # type: ignore[misc]
    """Tells of each token while it computes a whole answer, and stops when it is told to.

    `Llama` can stream by itself, but counts no tokens then, and loses characters that are split over tokens.
    """

    prompt_tokens = 0
    made_tokens = 0
    first_at = 0.0
    cancelled = threading.Event()
    on_bytes: Callable[[bytes], None] | None = None

    def generate(self, tokens: Any, *arguments: Any, **options: Any) -> Iterator[int]:
        self.prompt_tokens, self.made_tokens = len(tokens), 0
        for token in super().generate(tokens, *arguments, **options):
            if self.cancelled.is_set():
                raise Cancelled
            if self.made_tokens == 0:
                self.first_at = time.monotonic()
            if not llama_cpp.llama_token_is_eog(self._model.vocab, token):
                self.made_tokens += 1
                if self.on_bytes is not None:
                    self.on_bytes(self.detokenize([token], prev_tokens=[self.token_bos()]))
            yield token


class LoadedModel:
    def __init__(self, launch: ChunkDocument) -> None:
        """Load the model; blocks."""
        values = {one.flag.names[-1]: one.value or "" for one in parse(launch.get("runtime_flags", ()))}
        numbers = {name: _number(value) for name, value in values.items() if name not in SPECIAL_FLAGS}
        self._defaults = {REQUEST_FLAGS[name]: value for name, value in numbers.items() if name in REQUEST_FLAGS}
        self.name = launch["name"]
        self._llama = _Tapped(
            model_path=launch["path"],
            lora_path=next(iter(launch["loras"]), None),
            n_ctx=launch.get("context_size", 0),
            embedding=launch.get("mode") == "embedding",
            pooling_type=getattr(llama_cpp, f"LLAMA_POOLING_TYPE_{values.get('--pooling', 'unspecified').upper()}"),
            verbose=True,
            **{LOAD_FLAGS[name]: value for name, value in numbers.items() if name in LOAD_FLAGS},
        )
        if launch["chat_template"]:
            self._llama.chat_handler = self._formatter(Path(launch["chat_template"]).read_text()).to_chat_handler()
        self.thread = ThreadPoolExecutor(1)

    def answer(
        self,
        kind: RequestKind,
        given: ChunkDocument,
        cancelled: threading.Event,
        on_bytes: Callable[[bytes], None] | None = None,
    ) -> ChunkDocument:
        """Return a whole answer; runs on the model's thread. `on_bytes` gets those of each token as it comes.

        Raises:
            ValueError: It does not fit the context.
            Cancelled: `cancelled` was set.
        """
        started = time.monotonic()
        self._llama.cancelled, self._llama.on_bytes = cancelled, on_bytes
        call = self._llama.create_chat_completion if kind == "chat" else self._llama.create_completion
        result = call(**{**self._defaults, **given})
        return {**result, "model": self.name, "timings": self._timings(started)}

    def embed(self, given: ChunkDocument, *, as_base64: bool) -> ChunkDocument:
        """Return embeddings of length 1, as llama.cpp's own server does; runs on the model's thread.

        Raises:
            ValueError: A text does not fit the context.
        """
        texts = given.get("input", "")
        texts = texts if isinstance(texts, list) else [texts]
        if not all(isinstance(text, str) for text in texts):
            raise ValueError("input must be a string or a list of strings")
        vectors, tokens = self._llama.embed(texts, normalize=True, truncate=False, return_count=True)
        data = [
            {"object": "embedding", "index": index, "embedding": _packed(vector) if as_base64 else vector}
            for index, vector in enumerate(vectors)
        ]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return {"object": "list", "model": self.name, "data": data, "usage": usage}

    def _timings(self, started: float) -> ChunkDocument:
        first, now, made = self._llama.first_at, time.monotonic(), self._llama.made_tokens
        prompt, decode = max(first - started, 1e-6), max(now - first, 1e-6)
        return {
            "prompt_n": self._llama.prompt_tokens,
            "prompt_ms": prompt * 1000,
            "prompt_per_second": self._llama.prompt_tokens / prompt,
            "predicted_n": made,
            "predicted_ms": decode * 1000,
            "predicted_per_second": made / decode,
        }

    def _formatter(self, template: str) -> Jinja2ChatFormatter:
        """Return what renders a template with the model's own tokens, as `Llama` does with the one in the GGUF."""
        end, begin = self._llama.token_eos(), self._llama.token_bos()
        texts = [self._llama._model.token_get_text(token) if token != -1 else "" for token in (end, begin)]
        return Jinja2ChatFormatter(template, eos_token=texts[0], bos_token=texts[1], stop_token_ids=[end])


def _packed(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _number(text: str) -> int | float:
    return float(text) if "." in text or "e" in text.lower() else int(text)
