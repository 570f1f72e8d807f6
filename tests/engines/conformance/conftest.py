"""Every engine behind the same gateway, with the same models: what holds for one of them holds for all."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import gguf
import pytest

from tests.dmrc_command import Dmrc, temporary_dmrc
from tests.engines.installed_toy import install_toy
from tests.engines.vllm_models import write_encoder_directory, write_llama_directory
from tests.groups import LLAMA_SERVER, VLLM
from tests.polling import eventually
from tests.processes import engines_of
from tests.synthetic_gguf import Shape, write_model
from tests.tiny_gguf import write_tiny_llama
from tests.tiny_safetensors import write_tiny_llama_directory

if TYPE_CHECKING:
    import openai

CONTEXT = 512
"""Tokens that each request to the chat model may use."""

_BERT = {"architecture": "bert", "heads_kv": 4}
_MODELS = {"chat": "local/smollm2", "tiny": "local/tiny", "embed": "local/embedder", "rank": "local/reranker"}
_LOCAL = {"chat": f"context_size: {CONTEXT}", "tiny": "context_size: 4096"}


# SmolLM2's own template knows no tools, and llama.cpp binds an answer to a tool only where the template tells how a
# call looks.
_TEMPLATE = """{%- if tools %}<|im_start|>system
You may call these functions: {% for tool in tools %}{{ tool | tojson }} {% endfor %}
To call one, write <tool_call>
{"name": "NAME", "arguments": {}}
</tool_call><|im_end|>
{% endif %}{% for message in messages %}<|im_start|>{{ message.role }}
{% if message.content %}{{ message.content }}{% endif %}{% for call in message.tool_calls or [] %}<tool_call>
{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}
</tool_call>{% endfor %}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""


@dataclass(frozen=True)
class Variant:
    """One engine, and how it is told apart."""

    name: str
    engine: str
    environment: dict[str, str] = field(default_factory=dict)
    lacks: frozenset[str] = frozenset()
    """What it refuses by its nature: `rerank`, `logprobs`."""
    speaks: str = "completions"
    """The route that it streams a long text by."""
    model: str = "local/smollm2"
    """Its model for chats."""
    format: str = "gguf"
    """Of its models."""
    options: str = ""
    """What each model's entry says beside `x-dmrc`."""
    start_seconds: float = 60
    """How long it may take to start again."""


def _path_without_llama_server() -> str:
    directories = os.environ["PATH"].split(os.pathsep)
    return os.pathsep.join(name for name in directories if not (Path(name) / "llama-server").exists())


_WHEEL = {"PATH": _path_without_llama_server()}
VARIANTS = [
    pytest.param(Variant("xllamacpp", "llama.cpp", _WHEEL), marks=pytest.mark.engine, id="xllamacpp"),
    pytest.param(
        Variant("llama-server", "llama.cpp", {"DMRC_LLAMA_SERVER": LLAMA_SERVER or ""}),
        marks=pytest.mark.llama_server,
        id="llama-server",
    ),
    pytest.param(
        Variant("llama-cpp-python", "llama-cpp-python", lacks=frozenset({"rerank", "logprobs"})),
        marks=pytest.mark.llama_cpp_python,
        id="llama-cpp-python",
    ),
    pytest.param(
        Variant(
            "vllm",
            "vllm",
            {"DMRC_VLLM": VLLM or ""},
            lacks=frozenset({"timings"}),
            format="safetensors",
            options="runtime_flags: ['--enforce-eager'], ",  # it compiles for a minute without
            start_seconds=600,
        ),
        marks=[pytest.mark.vllm, pytest.mark.timeout(1800)],
        id="vllm",
    ),
    pytest.param(Variant("upstream", "upstream", _WHEEL), marks=pytest.mark.engine, id="upstream"),
]

TOY_VARIANT = Variant("toy", "toy", speaks="chat/completions", model="local/toy")
"""A stranger's engine of 60 lines, which does what every engine must, and no more: `test_basic.py`."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test with every engine, and those that hold for any engine at all with the toy too."""
    if "served" in metafunc.fixturenames:
        basic = [pytest.param(TOY_VARIANT, id="toy")] if metafunc.module.__name__.endswith("test_basic") else []
        metafunc.parametrize("served", VARIANTS + basic, indirect=True, scope="package")


@dataclass
class Served:
    """The models behind one engine, as a service of a project sees them."""

    variant: Variant
    dmrc: Dmrc
    behind: Dmrc
    """Where the engine's children are: another dmrc, where the engine is an upstream."""
    key: str

    @property
    def client(self) -> openai.OpenAI:
        import openai

        return openai.OpenAI(
            base_url=f"http://127.0.0.1:{self.dmrc.port}/engines/v1",
            api_key=self.key,
            max_retries=0,
            timeout=max(120, self.variant.start_seconds),
        )

    def refuses(self, ability: str) -> contextlib.AbstractContextManager[object]:
        """Expect a clear 501 where the engine lacks the ability, and success otherwise."""
        import openai

        if ability not in self.variant.lacks:
            return contextlib.nullcontext()
        return pytest.raises(openai.InternalServerError, match=f"501.*engine '{self.variant.engine}'")

    def kill_children(self) -> None:
        for process in engines_of(
            self.behind.daemon(), recursive=False
        ):  # no command: an answer may end while one starts
            process.kill()

    def in_use(self) -> int:
        return sum(runner["in_use"] for runner in json.loads(self.dmrc.ok("ps", "--json")))

    def answer(self, timeout: float | None = None) -> str:
        """Return the first word that the chat model says; `timeout` None lets it start meanwhile."""
        timeout = timeout or max(120, self.variant.start_seconds)
        messages = [{"role": "user", "content": "One"}]
        said = self.client.chat.completions.create(model="chat", messages=messages, max_tokens=1, timeout=timeout)
        return said.choices[0].message.content or ""

    def recovered(self) -> None:
        """Wait until the chat model answers: after a crash it backs off for a moment."""
        import openai

        def answers() -> bool:
            with contextlib.suppress(openai.InternalServerError):
                self.answer()
                return True
            return False

        eventually(answers, "answer after a crash", seconds=self.variant.start_seconds)


def compose(models: dict[str, str]) -> str:
    """Return a project whose service uses models, each given as the inside of a YAML mapping."""
    entries = "".join(f"  {key}: {{{inside}}}\n" for key, inside in models.items())
    return f"name: conformance\nservices: {{app: {{image: none, models: [{', '.join(models)}]}}}}\nmodels:\n{entries}"


def declarations(variant: Variant, behind: Dmrc) -> dict[str, str]:
    """Return the inside of each model's entry."""
    if variant.engine == "upstream":
        url = f"http://127.0.0.1:{behind.port}/v1"
        return {
            key: f"model: {key}-there, x-dmrc: {{upstream: {{url: '{url}', model: {name}}}}}"
            for key, name in _MODELS.items()
        }
    if variant is TOY_VARIANT:
        return {"chat": "model: local/toy, x-dmrc: {engine: toy, parallel: 1}"}
    options = f"engine: {variant.engine}, parallel: 1, ready: pulled"
    template = {"chat": ", chat_template: ./template.jinja"}
    return {
        key: f"model: {name}, {variant.options}{_LOCAL.get(key, 'context_size: 256')}, "
        f"x-dmrc: {{{options}{template.get(key, '')}}}"
        for key, name in _MODELS.items()
    }


def failure(served: Served, directory: Path, inside: str) -> tuple[int, str]:
    """Return the exit code and the last line of a command that needs the model, which is declared so."""
    (directory / "compose.yaml").write_text(compose({"llm": inside}).replace("conformance", "failing"))
    done = served.dmrc.run("exec", "app", "--", "true", cwd=directory)
    return done.returncode, done.stderr.strip().splitlines()[-1]


@pytest.fixture(scope="session")
def model_files(tmp_path_factory: pytest.TempPathFactory, smollm2: Path) -> dict[str, Path]:
    directory = tmp_path_factory.mktemp("conformance-models")
    embedder, reranker = Shape(**_BERT, pooling=gguf.PoolingType.MEAN), Shape(**_BERT, pooling=gguf.PoolingType.RANK)
    return {
        "local/smollm2": smollm2,
        "local/tiny": write_tiny_llama(directory / "tiny.gguf", context_length=256),
        "local/embedder": write_model(directory / "embedder.gguf", embedder),
        "local/reranker": write_model(directory / "reranker.gguf", reranker),
    }


@pytest.fixture(scope="session")
def model_directories(tmp_path_factory: pytest.TempPathFactory, smollm2: Path) -> dict[str, Path]:
    directory = tmp_path_factory.mktemp("conformance-directories")
    return {
        "local/smollm2": write_llama_directory(smollm2, directory / "smollm2"),
        "local/tiny": write_tiny_llama_directory(directory / "tiny", context_length=256),
        "local/embedder": write_encoder_directory(directory / "embedder", ranks=False),
        "local/reranker": write_encoder_directory(directory / "reranker", ranks=True),
    }


@pytest.fixture(scope="package")
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, needs_process: None
) -> Iterator[Served]:
    variant: Variant = request.param
    directory = tmp_path_factory.mktemp("conformance")
    template = directory / "template.jinja"
    template.write_text(_TEMPLATE)
    with contextlib.ExitStack() as stack:
        behind = stack.enter_context(temporary_dmrc())
        behind.environment |= variant.environment
        if variant is TOY_VARIANT:
            install_toy(behind)
        else:
            is_gguf = variant.format == "gguf"
            files = request.getfixturevalue("model_files" if is_gguf else "model_directories")
            for name, path in files.items():
                more = ["--context-size", str(CONTEXT), "--chat-template", template] if name == _MODELS["chat"] else []
                behind.ok("package", "--gguf" if is_gguf else "--safetensors-dir", path, *more, name)
        dmrc = behind
        if variant.engine == "upstream":
            behind.ok("exec", "app", "--", "true", cwd=_project(directory / "behind", {"chat": "model: local/smollm2"}))
            dmrc = stack.enter_context(temporary_dmrc())
        project = _project(directory / "front", declarations(variant, behind))
        variables = json.loads(dmrc.ok("env", "app", "--format", "json", cwd=project))
        yield Served(variant, dmrc, behind, variables["OPENAI_API_KEY"])


def _project(directory: Path, models: dict[str, str]) -> Path:
    directory.mkdir()
    (directory / "template.jinja").write_text(_TEMPLATE)
    (directory / "compose.yaml").write_text(compose(models))
    return directory
