"""What a model may declare under `x-dmrc`: another server, and files beside it."""

import json
from pathlib import Path

import pytest

from dmrc.errors import ProjectError
from dmrc.project import ModelDeclaration, Upstream, UpstreamPlace

DIRECTORY = Path("/srv/app")


def declared(options: object, **fields: object) -> ModelDeclaration:
    return ModelDeclaration.parse("llm", {"model": "ai/smollm2", "x-dmrc": options, **fields}, DIRECTORY)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("https://host/v1", Upstream(url="https://host/v1", model="ai/smollm2")),
        ({"url": "http://host:8000/v1/"}, Upstream(url="http://host:8000/v1", model="ai/smollm2")),
        (
            {"url": "https://host/v1", "model": "gpt-4o", "key": "OPENAI_API_KEY"},
            Upstream(url="https://host/v1", model="gpt-4o", key="OPENAI_API_KEY"),
        ),
        (
            [
                "http://one/v1/",
                {"url": "http://two/v1", "model": "b", "key": "TWO"},
                {"url": "http://one/v1", "model": "c"},
            ],
            Upstream(
                url="http://one/v1",
                model="ai/smollm2",
                others=(
                    UpstreamPlace(url="http://two/v1", model="b", key="TWO"),
                    UpstreamPlace(url="http://one/v1", model="c"),
                ),
            ),
        ),
        (["https://host/v1"], Upstream(url="https://host/v1", model="ai/smollm2")),
    ],
)
def test_an_upstream_is_a_url_or_a_mapping_and_needs_no_model_of_ours(written: object, expected: Upstream) -> None:
    model = declared({"upstream": written})

    assert (model.options.upstream, model.engine, model.references) == (expected, "upstream", ())
    assert ModelDeclaration.from_json(json.loads(json.dumps(model.to_json()))) == model


def test_one_upstream_is_written_as_before_and_of_several_an_older_version_reads_the_first() -> None:
    one, several = declared({"upstream": "http://one/v1"}), declared({"upstream": ["http://one/v1", "http://two/v1"]})

    assert one.to_json()["upstream"] == {"url": "http://one/v1", "model": "ai/smollm2", "key": None}
    found = several.to_json()["upstream"]
    assert isinstance(found, dict)
    assert {name: found[name] for name in ("url", "model", "key")} == one.to_json()["upstream"]
    assert one.options.naming_a_runner() != several.options.naming_a_runner()


@pytest.mark.parametrize(
    ("options", "fields", "message"),
    [
        ({"upstream": "host/v1"}, {}, "must be a URL of OpenAI routes, not 'host/v1'"),
        ({"upstream": "ftp://host"}, {}, "must be a URL"),
        ({"upstream": "https://host/v1?key=1"}, {}, "must be a URL"),
        ({"upstream": "http://host:99999/v1"}, {}, "must be a URL"),
        ({"upstream": "http://[::1/v1"}, {}, "must be a URL"),
        ({"upstream": "http://my host/v1"}, {}, "must be a URL"),
        ({"upstream": []}, {}, "models.llm.x-dmrc.upstream must name one server at least"),
        ({"upstream": ["http://a/v1", 5]}, {}, "models.llm.x-dmrc.upstream[1] must be a mapping"),
        ({"upstream": ["http://a/v1", "b"]}, {}, "models.llm.x-dmrc.upstream[1].url must be a URL of OpenAI routes"),
        ({"upstream": ["http://a/v1", "http://a/v1/"]}, {}, "x-dmrc.upstream[1] names 'http://a/v1' again"),
        ({"upstream": ["http://a/v1"], "engine": "llama.cpp"}, {}, "has both 'upstream' and engine 'llama.cpp'"),
        ({"upstream": {"model": "gpt"}}, {}, "models.llm.x-dmrc.upstream.url must be a string, not None"),
        ({"upstream": {"url": "https://host", "token": "x"}}, {}, "has no field 'token'"),
        ({"upstream": "https://host/v1", "engine": "llama.cpp"}, {}, "has both 'upstream' and engine 'llama.cpp'"),
        ({"engine": "upstream"}, {}, "no upstream is named"),
        (
            {"upstream": "https://host/v1"},
            {"context_size": 512},
            "models.llm.context_size has no effect on an upstream",
        ),
        ({"upstream": "https://host/v1"}, {"runtime_flags": ["-v"]}, "models.llm.runtime_flags has no effect"),
        ({"upstream": "https://host/v1", "draft": "ai/x"}, {}, "models.llm.x-dmrc.draft has no effect"),
        ({"lora": [5]}, {}, "models.llm.x-dmrc.lora must be a string, not 5"),
        (
            {"mmproj": "~nosuchuser/p.gguf"},
            {},
            "models.llm.x-dmrc.mmproj: '~nosuchuser/p.gguf' begins in a home directory",
        ),
        ({"draft": ["a", "b"]}, {}, "models.llm.x-dmrc.draft must be a string, not ['a', 'b']"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(options: object, fields: dict[str, object], message: str) -> None:
    with pytest.raises(ProjectError) as caught:
        declared(options, **fields)

    assert message in str(caught.value)


@pytest.mark.parametrize("key", ["sk-abc-123", "${OPENAI_API_KEY}", "", 5])
def test_a_key_where_a_name_should_be_is_refused_and_not_repeated(key: object) -> None:
    """Compose puts the value in the place of `${OPENAI_API_KEY}`, so this is the error that a user sees for it."""
    with pytest.raises(ProjectError, match="must be the name of an environment variable") as caught:
        declared({"upstream": {"url": "https://host/v1", "key": key}})

    assert not key or str(key) not in str(caught.value).replace("OPENAI_API_KEY", "")


def test_a_password_in_a_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(ProjectError, match="holds a password") as caught:
        declared({"upstream": "https://me:secret@host/v1"})

    assert "secret" not in str(caught.value)


def test_paths_begin_at_the_compose_file_and_other_names_are_references() -> None:
    model = declared(
        {
            "lora": ["./a.gguf", "/b.gguf", "ai/adapter:1"],
            "draft": "ai/small",
            "mmproj": "p.gguf",
            "chat_template": "./t",
        }
    )

    assert model.options.loras == ("/srv/app/a.gguf", "/b.gguf", "ai/adapter:1")
    assert (model.options.mmproj, model.options.chat_template) == ("/srv/app/p.gguf", "/srv/app/t")
    assert model.references == ("ai/smollm2", "ai/adapter:1", "ai/small")
    assert model.options.paths == ("/srv/app/a.gguf", "/b.gguf", "/srv/app/p.gguf", "/srv/app/t")
    assert model.options.companions == ["mmproj", "lora", "lora", "lora", "draft"]


def test_the_usual_engine_is_said_where_it_is_written() -> None:
    """Else a model that it does not load would be served by another one."""
    said = ModelDeclaration.parse("llm", {"model": "ai/x", "x-dmrc": {"engine": "llama.cpp"}}, Path("/p"))
    unsaid = ModelDeclaration.parse("llm", {"model": "ai/x"}, Path("/p"))

    assert (said.options.engine, unsaid.options.engine) == ("llama.cpp", None)
