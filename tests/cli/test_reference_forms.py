"""Every form of a model's name, in every command that takes one, against real registries.

The cases are those of Docker Model Runner's own integration tests, by their names there.
Source: https://github.com/docker/model-runner/blob/main/cmd/cli/commands/integration_test.go
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from dmrc.cli.app import App
from dmrc.cli.main import create_cli
from dmrc.errors import DmrcError
from dmrc.hooks.plugins import Plugins
from dmrc.settings import Settings
from tests.registry import RegistryServer
from tests.tiny_gguf import write_tiny_llama


class Commands:
    """The commands of dmrc, run in this process: hundreds of them are wanted."""

    def __init__(self, home: Path, registry: str) -> None:
        self.settings = Settings(home=home, plugins=(), default_registry=registry)

    def __call__(self, *arguments: str | Path) -> str:
        """Run one and return its stdout.

        Raises:
            DmrcError: It failed.
        """
        plugins = Plugins(self.settings.plugins)
        app = App(self.settings, plugins)
        result = CliRunner().invoke(create_cli(plugins), list(map(str, arguments)), obj=app, standalone_mode=False)
        if result.exception is not None:
            raise result.exception
        return result.stdout

    def inspect(self, name: str) -> dict[str, object]:
        shown: dict[str, object] = json.loads(self("inspect", name))
        return shown

    def ids(self) -> list[str]:
        return self("list", "-q").split()


@dataclass(frozen=True)
class Model:
    """A model in the default registry, `ORGANISATION/test-model:latest`."""

    registry: str
    organisation: str
    digest: str

    def forms(self) -> dict[str, str]:
        """Return the names of the model, by the names of their forms; a bare name is in `ai/`."""
        full = f"{self.registry}/{self.organisation}/test-model"
        org = f"{self.organisation}/test-model"
        explicit = {
            "org/name": org,
            "org/name:tag": f"{org}:latest",
            "reg/org/name:tag": f"{full}:latest",
            "reg/org/name": full,
            "org/name@digest": f"{org}@{self.digest}",
            "reg/org/name@digest": f"{full}@{self.digest}",
        }
        bare = {
            "name": "test-model",
            "name:tag": "test-model:latest",
            "name@digest": f"test-model@{self.digest}",
        }
        return {**explicit, **(bare if self.organisation == "ai" else {})}

    def id_forms(self) -> dict[str, str]:
        """Return what names the model once it is in the store."""
        return {"sha256:id": self.digest, "short id": self.digest[7:19], "id": self.digest[7:]}


@dataclass(frozen=True)
class Setup:
    """Two models of one name in two organisations, and an empty store."""

    dmrc: Commands
    registry: RegistryServer
    ai: Model
    test: Model


@pytest.fixture
def setup(tmp_path: Path, registry: RegistryServer) -> Setup:
    digests = {
        organisation: registry.push_model(
            f"{organisation}/test-model", write_tiny_llama(tmp_path / "m.gguf", seed=seed)
        )
        for seed, organisation in enumerate(("ai", "test"))
    }
    ai, test = (Model(registry.address, organisation, digest) for organisation, digest in digests.items())
    return Setup(Commands(tmp_path / "home", registry.address), registry, ai, test)


@pytest.fixture
def other_registry(tmp_path: Path) -> Iterator[RegistryServer]:
    server = RegistryServer(tmp_path / "other-registry")
    try:
        server.start()
        yield server
    finally:
        server.stop()


def test_pull_model(setup: Setup) -> None:
    """I1. A bare name is never one of another organisation."""
    for model in (setup.ai, setup.test):
        for form, name in model.forms().items():
            setup.dmrc("pull", name)

            assert setup.dmrc.ids() == [model.digest[7:19]], form
            shown = setup.dmrc.inspect(name)
            assert shown["id"] == model.digest, form
            assert shown["tags"], form
            setup.dmrc("rm", "--force", model.digest)
            assert setup.dmrc.ids() == [], form


def test_inspect_model(setup: Setup) -> None:
    """I2."""
    setup.dmrc("pull", "test-model")

    for form, name in {**setup.ai.forms(), **setup.ai.id_forms()}.items():
        assert setup.dmrc.inspect(name)["id"] == setup.ai.digest, form

    setup.dmrc("rm", "test-model")
    assert setup.dmrc.ids() == []


def test_tag_model(setup: Setup) -> None:
    """I3. Nine sources and nine targets, and by ID as well."""
    registry = setup.ai.registry
    targets = [
        "tag-test",
        "target-tag-test:v2",
        "ai/tag-test:latest",
        "test/tag-test:v1",
        "custom/tag-test:cross-org",
        f"{registry}/ai/tag-test:explicit",
        f"{registry}/target-test/tag-test:fqdn",
        f"{registry}/custom/tag-test:with-reg",
        "other-registry.local:5000/custom/tag-test:other-reg",
    ]
    setup.dmrc("pull", "test-model")

    for source in (*setup.ai.forms().values(), *setup.ai.id_forms().values()):
        for target in targets:
            setup.dmrc("tag", source, target)

            assert setup.dmrc.inspect(target)["id"] == setup.ai.digest, (source, target)
            assert setup.dmrc.inspect(source)["id"] == setup.ai.digest, (source, target)
            setup.dmrc("rm", target)

    with pytest.raises(DmrcError, match="'test/nothing' is not in the store"):
        setup.dmrc("tag", "test/nothing", "test/target")
    with pytest.raises(DmrcError, match="not a model reference"):
        setup.dmrc("tag", "test-model", "invalid:reference:format")


def test_push_model(setup: Setup, other_registry: RegistryServer) -> None:
    """I4. What was pushed is in the registry, and not only said to be."""
    setup.dmrc("pull", "test-model")
    default = [
        name.replace("test-model", "push-test") for form, name in setup.ai.forms().items() if "digest" not in form
    ]
    custom = [
        f"{other_registry.address}/{rest}" for rest in ("ai/push-test", "test/push-test:v1", "a/b/c/push-test:v2")
    ]
    assert len(default) == 6

    for name in (*default, *custom):
        setup.dmrc("tag", "test-model", name)
        assert setup.dmrc("push", name).strip() == setup.ai.digest
        setup.dmrc("rm", name)
        assert setup.dmrc("pull", name).strip() == setup.ai.digest
        setup.dmrc("rm", name)

    for name, reason in (("test/nothing", "not in the store"), ("", "empty"), (" ", "empty")):
        with pytest.raises(DmrcError, match=reason):
            setup.dmrc("push", name)


def test_remove_model_by_every_form(setup: Setup) -> None:
    """I5. Without force."""
    for form, name in {**setup.ai.forms(), **setup.ai.id_forms()}.items():
        setup.dmrc("pull", "test-model" if form in setup.ai.id_forms() else name)

        setup.dmrc("rm", name)

        assert setup.dmrc.ids() == [], form


def test_remove_several_models(setup: Setup) -> None:
    """I6."""
    setup.dmrc("pull", "ai/test-model", "test/test-model")
    assert len(setup.dmrc.ids()) == 2

    setup.dmrc("rm", "test-model", "test/test-model:latest")

    assert setup.dmrc.ids() == []


@pytest.fixture
def tagged(setup: Setup) -> Setup:
    """One model with four tags."""
    setup.dmrc("pull", "test-model")
    for tag in ("v1", "v2", "v3"):
        setup.dmrc("tag", "test-model", f"test-model:{tag}")
    assert len(setup.dmrc.inspect("test-model")["tags"]) == 4
    return setup


def test_remove_one_tag(tagged: Setup) -> None:
    """I7. The model and its other tags stay."""
    said = tagged.dmrc("rm", "test-model:v1")

    assert said == f"Untagged: {tagged.ai.registry}/ai/test-model:v1\n"
    tags = [f"{tagged.ai.registry}/ai/test-model:{tag}" for tag in ("latest", "v2", "v3")]
    assert tagged.dmrc.inspect("test-model")["tags"] == tags
    with pytest.raises(DmrcError, match="not in the store"):
        tagged.dmrc("inspect", "test-model:v1")


def test_remove_by_id_with_several_tags_is_refused(tagged: Setup) -> None:
    """I8."""
    for name in tagged.ai.id_forms().values():
        with pytest.raises(DmrcError, match=r"\(must be forced\) due to multiple tag references"):
            tagged.dmrc("rm", name)

    assert len(tagged.dmrc.inspect("test-model")["tags"]) == 4


def test_remove_by_id_with_force(tagged: Setup) -> None:
    """I9."""
    tagged.dmrc("rm", "--force", tagged.ai.digest[7:19])

    assert tagged.dmrc.ids() == []


@pytest.mark.parametrize("force", [[], ["--force"]])
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("test/nothing", "not in the store"),
        ("0123456789ab", "not in the store"),
        ("", "empty"),
        ("invalid:reference:format", "not a model reference"),
    ],
)
def test_remove_errors(setup: Setup, name: str, reason: str, force: list[str]) -> None:
    """I10. Nothing else is removed."""
    setup.dmrc("pull", "test-model")

    with pytest.raises(DmrcError, match=reason):
        setup.dmrc("rm", *force, name)

    assert setup.dmrc.ids() == [setup.ai.digest[7:19]]


@pytest.mark.parametrize(
    ("target", "options", "full"),
    [
        ("packaged", [], "ai/packaged:latest"),
        ("packaged:ctx", ["--context-size", "4096"], "ai/packaged:ctx"),
        ("myorg/packaged:v1", [], "myorg/packaged:v1"),
        ("packaged:cncf", ["--format", "cncf"], "ai/packaged:cncf"),
    ],
)
def test_package_model(setup: Setup, tmp_path: Path, target: str, options: list[str], full: str) -> None:
    """I11. And what was packaged can be pushed, and comes back the same."""
    gguf = write_tiny_llama(tmp_path / "packaged.gguf")

    digest = setup.dmrc("package", "--gguf", gguf, *options, "--push", target).strip()

    shown = setup.dmrc.inspect(target)
    assert shown["id"] == digest
    assert shown["tags"] == [f"{setup.ai.registry}/{full}"]
    assert shown["config"].get("context_size") == (4096 if options[:1] == ["--context-size"] else None)
    setup.dmrc("rm", target)
    assert setup.dmrc("pull", target).strip() == digest
    assert setup.dmrc.inspect(target) == {**shown, "created": setup.dmrc.inspect(target)["created"]}
