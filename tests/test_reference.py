import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmrc.errors import InvalidReferenceError
from dmrc.reference import Reference, model_id

DIGEST = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("gemma3", "docker.io/ai/gemma3:latest"),
        ("  gemma3  ", "docker.io/ai/gemma3:latest"),
        ("gemma3:v1", "docker.io/ai/gemma3:v1"),
        ("qwen2.5", "docker.io/ai/qwen2.5:latest"),
        ("model:", "docker.io/ai/model:latest"),
        ("abc123", "docker.io/ai/abc123:latest"),
        ("MyModel", "docker.io/ai/mymodel:latest"),
        ("MyOrg/Model:Q4_K_M", "docker.io/myorg/model:Q4_K_M"),
        ("myorg/model", "docker.io/myorg/model:latest"),
        ("registry.example.com/model", "registry.example.com/model:latest"),
        ("Registry.Example.com:5000/Org/Model:V1", "registry.example.com:5000/org/model:V1"),
        ("localhost/a/b", "localhost/a/b:latest"),
        ("[::1]:5000/a/b", "[::1]:5000/a/b:latest"),
        ("index.docker.io/ai/gemma3", "docker.io/ai/gemma3:latest"),
        ("hf.co/org/model", "huggingface.co/org/model:latest"),
        ("hf.co/Org/Model:Q4_K_M", "huggingface.co/org/model:Q4_K_M"),
        (f"gemma3@{DIGEST}", f"docker.io/ai/gemma3@{DIGEST}"),
        (f"localhost:5000/a/b@{DIGEST}", f"localhost:5000/a/b@{DIGEST}"),
        (f"a/b:v1@{DIGEST}", f"docker.io/a/b:v1@{DIGEST}"),
        ("registry-1.docker.io/ai/gemma3", "docker.io/ai/gemma3:latest"),
        ("docker.io/gemma3", "docker.io/gemma3:latest"),
        ("localhost:5000/model", "localhost:5000/model:latest"),
        ("a" * 12, f"docker.io/ai/{'a' * 12}:latest"),
        ("hf.co/Org/Model:Q4_0@refs/pr/1", "huggingface.co/org/model:Q4_0-at-refs-pr-1"),
        ("huggingface.co/org/model@V1", "huggingface.co/org/model:latest-at-V1"),
        ("https://example.com/a/My%20Model-Q4_K_M.gguf", "example.com/a/my-model-q4_k_m:latest"),
        ("http://127.0.0.1:8000/x/model-00001-of-00003.gguf?a=1#sha256=ab", "127.0.0.1:8000/x/model:latest"),
        ("https://models/x.gguf", "models:443/x:latest"),
        ("file:///home/me/..__Models/Tiny.gguf", "localhost/home/me/models/tiny:latest"),
        (f"hf.co/org/model:Q8_0@{DIGEST}", f"huggingface.co/org/model:Q8_0@{DIGEST}"),
        ("huggingface.co/org_/A.-_b-GGUF:UD-Q4_K_XL", "huggingface.co/org_/a.-_b-gguf:UD-Q4_K_XL"),
    ],
)
def test_parse_reads_what_docker_model_runner_reads(text: str, full: str) -> None:
    assert str(Reference.parse(text)) == full


def test_parse_uses_the_default_registry_only_for_names_without_one() -> None:
    def full(text: str) -> str:
        return str(Reference.parse(text, default_registry="registry.local:5000"))

    assert full("gemma3") == "registry.local:5000/ai/gemma3:latest"
    assert full("docker.io/ai/gemma3") == "docker.io/ai/gemma3:latest"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "invalid:reference:format",
        "a//b",
        "/a",
        "a/",
        "a b",
        ":tag",
        "a/../b",
        "a@sha256:12",
        "a@",
        DIGEST,
        "-a",
        "a/b:" + "t" * 129,
        "a" * 300,
        "localhost:port/a/b",
        "localhost:65536/a/b",
        "a/b@sha512:" + "a" * 128,
        "ä",
        "a:ä",
        "ab" * 32,
        "a_-b",
        "a:b:c@x",
        "hf.co/a--b/c",
        "hf.co/a/b@",
        "hf.co/a/b@" + "c" * 256,
        "https://",
        "https://[::1/x",
        "https://example.com",
        "file:///",
        "hf.co/",
        "[::1/a",
    ],
)
def test_parse_refuses_what_is_no_reference(text: str) -> None:
    with pytest.raises(InvalidReferenceError):
        Reference.parse(text)


def test_parse_refuses_a_default_registry_that_would_not_parse_back() -> None:
    with pytest.raises(InvalidReferenceError, match="registry"):
        Reference.parse("gemma3", default_registry="myhost")


@pytest.mark.parametrize(
    ("text", "display"),
    [
        ("docker.io/ai/gemma3:latest", "gemma3"),
        ("index.docker.io/ai/gemma3:latest", "gemma3"),
        ("ai/gemma3:v1", "gemma3:v1"),
        ("myorg/gemma3:v1", "myorg/gemma3:v1"),
        ("docker.io/ai/gemma3:v1", "gemma3:v1"),
        ("docker.io/myorg/gemma3:latest", "myorg/gemma3"),
        ("hf.co/bartowski/model:latest", "hf.co/bartowski/model"),
        ("hf.co/bartowski/model:Q4_K_M@v1", "hf.co/bartowski/model:Q4_K_M-at-v1"),
        ("https://example.com/model.gguf", "example.com/model"),
        ("registry.example.com:5000/ai/gemma3:latest", "registry.example.com:5000/ai/gemma3"),
        ("docker.io/gemma3", "docker.io/gemma3"),
        ("docker.io/ai/a/b", "ai/a/b"),
        ("docker.io/not.host/b", "docker.io/not.host/b"),
        ("ai/" + "0" * 12, "ai/" + "0" * 12),
        ("ai/" + "0" * 64, "ai/" + "0" * 64),
        (f"ai/{DIGEST}", f"ai/{DIGEST}"),
        (f"gemma3@{DIGEST}", f"gemma3@{DIGEST}"),
        (f"gemma3:latest@{DIGEST}", f"gemma3:latest@{DIGEST}"),
    ],
)
def test_display_drops_what_parse_adds(text: str, display: str) -> None:
    reference = Reference.parse(text)

    assert Reference.parse(reference.display()) == reference
    assert reference.display() == display


def test_display_drops_the_default_registry_that_is_set_and_no_other() -> None:
    own = "registry.local:5000"

    def display(text: str) -> str:
        return Reference.parse(text, default_registry=own).display(default_registry=own)

    assert display("gemma3") == display(f"{own}/ai/gemma3:latest") == "gemma3"
    assert display("docker.io/ai/gemma3") == "docker.io/ai/gemma3"


def test_twelve_forms_name_one_model() -> None:
    """The forms that Docker Model Runner's own tests inspect one pulled model by."""
    own = "registry.local:5000"
    names = ["test-model", "test-model:latest", "ai/test-model", "ai/test-model:latest"]
    full = [f"{own}/ai/test-model:latest", f"{own}/ai/test-model"]
    digests = [f"{name}@{DIGEST}" for name in ("test-model", "ai/test-model", f"{own}/ai/test-model")]

    parsed = [Reference.parse(name, default_registry=own) for name in [*names, *full]]
    by_digest = [Reference.parse(name, default_registry=own) for name in digests]

    assert set(parsed) == {Reference(own, "ai/test-model", "latest", None)}
    assert set(by_digest) == {Reference(own, "ai/test-model", None, DIGEST)}
    assert [model_id(text) for text in (DIGEST, DIGEST[7:19], DIGEST[7:])] == [DIGEST[7:], DIGEST[7:19], DIGEST[7:]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a" * 12, "a" * 12),
        ("0" * 64, "0" * 64),
        (DIGEST, "ab" * 32),
        ("abc123", None),
        ("A" * 12, None),
        ("sha256:" + "a" * 12, None),
    ],
)
def test_model_id_knows_the_three_forms(text: str, expected: str | None) -> None:
    assert model_id(text) == expected


_part = st.from_regex(r"[a-z0-9]{1,6}([._-][a-z0-9]{1,4})?", fullmatch=True)
_repositories = st.lists(_part, min_size=1, max_size=4).map("/".join).filter(lambda name: len(name) < 64)
_tags = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,9}", fullmatch=True)
_hosts = ["docker.io", "huggingface.co", "localhost", "localhost:5000", "r.example.com:1", "[::1]:80"]
_references = st.one_of(
    st.builds(Reference, st.sampled_from(_hosts), _repositories, _tags, st.sampled_from([None, DIGEST])),
    st.builds(Reference, st.sampled_from(_hosts), _repositories, st.none(), st.just(DIGEST)),
)


@pytest.mark.slow("hundreds of texts")
@settings(deadline=None)
@given(_references, st.sampled_from(["docker.io", "localhost:5000", "r.example.com:1"]))
def test_print_and_parse_agree(reference: Reference, default: str) -> None:
    shown = reference.display(default_registry=default)

    assert Reference.parse(str(reference)) == reference
    assert Reference.parse(str(reference), default_registry=default) == reference
    assert Reference.parse(shown, default_registry=default) == reference


_near_names = st.lists(
    st.sampled_from(
        ["a", "AI", "Ö", "0" * 12, "f" * 64, "sha256", "hf.co", "docker.io", "5000", "[::1]", "https://", "%2e"]
    )
    | st.sampled_from("/:@.-_ \t\0"),
    max_size=12,
).map("".join)


@pytest.mark.slow("hundreds of texts")
@settings(deadline=None, max_examples=400)
@given(st.one_of(st.text(), _near_names, st.text(alphabet="aZ0./:@-_ [sh", max_size=40)), st.text(max_size=20))
def test_no_text_raises_anything_but_our_error(text: str, registry: str) -> None:
    model_id(text)
    for default in ("docker.io", registry):
        try:
            reference = Reference.parse(text, default_registry=default)
        except InvalidReferenceError:
            continue
        assert Reference.parse(str(reference)) == reference
        assert Reference.parse(reference.display(default_registry=default), default_registry=default) == reference
