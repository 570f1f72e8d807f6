import copy
import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmrc import artifact
from dmrc.artifact import Descriptor, Manifest, ModelConfig, Role, build_manifest, select_manifest, write_config
from dmrc.errors import ArtifactError

DIGEST, OTHER = "sha256:" + "ab" * 32, "sha256:" + "cd" * 32


def docker_manifest() -> dict:
    return {
        "schemaVersion": 2,
        "mediaType": artifact.MANIFEST,
        "config": {"mediaType": artifact.CONFIG, "digest": DIGEST, "size": 10},
        "layers": [{"mediaType": artifact.GGUF, "digest": OTHER, "size": 100}],
    }


def cncf_layer(kind: str, path: str, digest: str) -> dict:
    media_type = f"application/vnd.cncf.model.{kind}.v1.raw"
    return {"mediaType": media_type, "digest": digest, "size": 7, "annotations": {"org.cncf.model.filepath": path}}


def parse(document: object) -> Manifest:
    return Manifest.parse(json.dumps(document).encode(), name="ai/x")


def test_docker_form_is_read() -> None:
    document = docker_manifest()
    for index, kind in enumerate((artifact.MMPROJ, artifact.CHAT_TEMPLATE, artifact.LICENSE)):
        document["layers"].append({"mediaType": kind, "digest": f"sha256:{index:064x}", "size": 1})

    manifest = parse(document)

    assert [layer.role for layer in manifest.layers] == ["gguf", "mmproj", "chat_template", "license"]
    assert manifest.gguf_layers == (Descriptor(artifact.GGUF, OTHER, 100),)
    assert manifest.size_bytes == 113


def test_cncf_form_is_read_and_its_shards_are_put_in_order() -> None:
    names = ["m-00002-of-00002.gguf", "m-00001-of-00002.gguf", "mmproj-f16.gguf"]
    layers = [cncf_layer("weight", name, f"sha256:{index:064x}") for index, name in enumerate(names)]
    layers += [cncf_layer("weight.config", "chat.jinja", f"sha256:{7:064x}"), cncf_layer("doc", "LICENSE", OTHER)]
    config = {"mediaType": "application/vnd.cncf.model.config.v1+json", "digest": DIGEST, "size": 10}

    manifest = parse({"schemaVersion": 2, "config": config, "layers": layers})

    assert [layer.file_path for layer in manifest.gguf_layers] == [names[1], names[0]]
    assert [layer.role for layer in manifest.layers[2:]] == ["mmproj", "chat_template", "license"]


def test_a_container_image_is_told_as_such() -> None:
    document = docker_manifest()
    document["config"]["mediaType"] = "application/vnd.oci.image.config.v1+json"

    with pytest.raises(ArtifactError, match="'ai/x' is a container image, not a model"):
        parse(document)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("schemaVersion",), 1),
        (("mediaType",), artifact.INDEX),
        (("layers",), None),
        (("layers",), [docker_manifest()["layers"][0]] * 513),
        (("layers",), ["x"]),
        (("config",), None),
        (("config", "mediaType"), "application/json"),
        (("config", "size"), 10 << 30),
        (("config", "digest"), "md5:123"),
        (("layers", 0, "digest"), "sha256:../../../etc/passwd"),
        (("layers", 0, "digest"), "sha256:" + "AB" * 32),
        (("layers", 0, "digest"), DIGEST),
        (("layers", 0, "size"), -1),
        (("layers", 0, "size"), True),
        (("layers", 0, "size"), "100"),
        (("layers", 0, "size"), 1 << 60),
        (("layers", 0, "mediaType"), "x" * 1000),
        (("layers", 0, "mediaType"), 7),
        (("layers", 0, "annotations"), {"org.cncf.model.filepath": "../evil.gguf"}),
        (("layers", 0, "annotations"), {"org.cncf.model.filepath": "/etc/passwd"}),
        (("layers", 0, "annotations"), {"org.cncf.model.filepath": "a\\..\\b"}),
        (("layers", 0, "annotations"), {"org.cncf.model.filepath": "a//b"}),
        (("layers", 0, "annotations"), {"org.cncf.model.filepath": "a\0b"}),
        (("layers", 0, "annotations"), {"org.opencontainers.image.title": ".."}),
        (("layers", 0, "annotations"), {"org.opencontainers.image.title": 3}),
    ],
)
def test_a_hostile_manifest_is_refused(path: tuple, value: object) -> None:
    document = docker_manifest()
    inner = document
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value

    with pytest.raises(ArtifactError, match="'ai/x'"):
        parse(document)


@pytest.mark.parametrize("data", [b"", b"[]", b"[" * 100_000, b"{" * 9, b'"\\ud800"', b"1" * 9000, b" " * (5 << 20)])
def test_what_is_no_json_object_is_refused(data: bytes) -> None:
    for read in (Manifest.parse, ModelConfig.parse, select_manifest):
        with pytest.raises(ArtifactError):
            read(data, name="ai/x")


def test_config_of_docker_form_is_read() -> None:
    values = {"format": "gguf", "quantization": "Q4_K_M", "parameters": "361.82 M", "architecture": "llama"}
    document = {
        "config": {**values, "size": "256.35 MiB", "gguf": {"general.name": "x"}, "context_size": 4096},
        "descriptor": {"created": "2025-03-24T16:03:01.123456789+02:00"},
    }

    config = ModelConfig.parse(json.dumps(document).encode(), name="ai/x")

    assert {key: getattr(config, key) for key in values} == values
    assert (config.size, config.context_size, config.gguf) == ("256.35 MiB", 4096, {"general.name": "x"})
    assert config.created == datetime(2025, 3, 24, 14, 3, 1, 123456, tzinfo=UTC)


def test_config_of_cncf_form_is_read() -> None:
    document = {
        "descriptor": {"createdAt": "2025-01-01T00:00:00Z", "family": "llama"},
        "modelfs": {"type": "layers", "diffIds": [DIGEST]},
        "config": {"architecture": "transformer", "format": "GGUF", "paramSize": "8b", "quantization": "Q4_0"},
    }

    config = ModelConfig.parse(json.dumps(document).encode(), name="ai/x")

    assert (config.format, config.parameters, config.quantization) == ("gguf", "8b", "Q4_0")
    assert config.created == datetime(2025, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "config",
    [None, [], {"format": 3}, {"context_size": "many"}, {"context_size": 1 << 40}, {"gguf": [1]}, {"quantization": {}}],
)
def test_a_hostile_config_is_refused(config: object) -> None:
    with pytest.raises(ArtifactError, match="'ai/x'"):
        ModelConfig.parse(json.dumps({"config": config}).encode(), name="ai/x")


@pytest.mark.parametrize("created", ["0001-01-01T00:00:00Z", "yesterday", 7, None])
def test_a_time_that_says_nothing_is_none(created: object) -> None:
    document = {"config": {"format": "gguf", "context_size": -1}, "descriptor": {"created": created}}

    config = ModelConfig.parse(json.dumps(document).encode(), name="ai/x")

    assert (config.created, config.context_size) == (None, None)


def test_what_is_built_is_read_back_and_always_the_same() -> None:
    layers = [Descriptor(artifact.GGUF, OTHER, 100)]
    config = ModelConfig(format="gguf", quantization="F16", gguf={"b": "1", "a": "ä"}, context_size=512)

    data = write_config(config, layers)
    manifest = build_manifest(Descriptor(artifact.CONFIG, DIGEST, len(data)), layers)

    assert ModelConfig.parse(data, name="x") == config
    assert Manifest.parse(manifest, name="x").layers == tuple(layers)
    assert write_config(config, layers) == data
    assert b"created" not in data


def test_a_context_size_is_recorded_only_when_asked_for() -> None:
    assert b"context_size" not in write_config(ModelConfig(format="gguf", gguf={"llama.context_length": "8192"}), [])


def test_what_is_built_in_modelpacks_form_has_only_the_fields_that_its_schema_allows() -> None:
    """Source: schema/config-schema.json of modelpack/model-spec, which allows no others."""
    layers = [artifact.describe_layer("gguf", Descriptor("x/x", OTHER, 100), "model.gguf", "cncf")]
    config = ModelConfig(format="gguf", quantization="F16", parameters="8 B", architecture="llama", context_size=512)

    data = write_config(config, layers, "cncf")
    descriptor = Descriptor(artifact.config_media_type("cncf"), DIGEST, len(data))
    manifest = Manifest.parse(build_manifest(descriptor, layers, 512), name="x")

    document = json.loads(data)
    assert set(document) == {"descriptor", "modelfs", "config"}
    assert set(document["config"]) == {"architecture", "format", "paramSize", "quantization"}
    assert document["descriptor"] == {"family": "llama"}
    assert document["modelfs"] == {"type": "layers", "diffIds": [OTHER]}
    assert (manifest.context_size, manifest.gguf_layers) == (512, tuple(layers))
    assert replace(ModelConfig.parse(data, name="x"), context_size=manifest.context_size) == config


@pytest.mark.parametrize("value", ["0", "-1", "x", "1e3", "9" * 11, 512, None, ["512"]])
def test_an_annotation_that_is_no_context_size_is_refused_or_ignored(value: object) -> None:
    document = {**docker_manifest(), "annotations": {artifact.CONTEXT_SIZE: value}}

    if value is None:
        assert parse(document).context_size is None
    else:
        with pytest.raises(ArtifactError, match="context-size"):
            parse(document)


@pytest.mark.parametrize(
    ("role", "name", "told"),
    [
        ("gguf", "model.gguf", "model.gguf"),
        ("gguf", "weights.bin", "weights.bin.gguf"),
        ("gguf", "with-mmproj.gguf", "model.gguf"),
        ("mmproj", "clip.gguf", "mmproj-clip.gguf"),
        ("chat_template", "chat.txt", "chat.txt.jinja"),
        ("license", "COPYING", "LICENSE-COPYING"),
    ],
)
def test_in_modelpacks_form_the_name_of_a_file_tells_what_it_is_for(role: Role, name: str, told: str) -> None:
    layer = artifact.describe_layer(role, Descriptor("x/x", OTHER, 1), artifact.telling_name(role, name), "cncf")

    assert (layer.file_path, layer.role) == (told, role)


def test_an_index_gives_the_manifest_that_is_most_likely_a_model() -> None:
    image = {"mediaType": artifact.MANIFEST, "digest": OTHER, "size": 5, "platform": {"os": "linux"}}
    model = {"mediaType": artifact.MANIFEST, "digest": DIGEST, "size": 5}

    def select(*manifests: dict) -> str:
        return select_manifest(json.dumps({"manifests": manifests}).encode(), name="ai/x").digest

    assert select(image, model) == DIGEST
    assert select(model, {**image, "artifactType": "application/vnd.cncf.model.manifest.v1+json"}) == OTHER
    with pytest.raises(ArtifactError, match="no manifest"):
        select({**model, "mediaType": artifact.INDEX})
    with pytest.raises(ArtifactError):
        select({**model, "size": 10 << 30})


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.data(), _json)
def test_no_manifest_raises_anything_but_our_error(data: st.DataObject, value: object) -> None:
    document = copy.deepcopy(docker_manifest())
    document["layers"][0]["annotations"] = {"org.cncf.model.filepath": "x"}
    target = data.draw(st.sampled_from([document, document["config"], document["layers"][0]]))
    target[data.draw(st.sampled_from(sorted(target)))] = value
    for parser in (Manifest.parse, ModelConfig.parse, select_manifest):
        try:
            parser(json.dumps(document).encode(), name="ai/x")
        except ArtifactError as error:
            assert "ai/x" in str(error)


@settings(deadline=None)
@given(st.binary() | _json.map(lambda value: json.dumps({"config": value, "descriptor": value}).encode()))
def test_no_bytes_raise_anything_but_our_error(data: bytes) -> None:
    for parser in (Manifest.parse, ModelConfig.parse, select_manifest):
        try:
            parser(data, name="ai/x")
        except ArtifactError as error:
            assert "ai/x" in str(error)
