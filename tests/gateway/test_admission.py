import base64
import tempfile
from pathlib import Path

import pytest
from starlette.datastructures import Headers

from dmrc.errors import AuthenticationError, NotFoundError, PermissionDeniedError
from dmrc.gateway.projects.keys import Keys
from dmrc.gateway.server.admission import Admission, ListenerKind
from dmrc.gateway.server.cors import Origins
from dmrc.project import Project
from dmrc.projects import Caller, Projects, Registration

KEY = "sk-dmrc-good"


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.fixture
def projects(tmp_path: Path) -> Projects:
    document = {"name": "demo", "models": {"llm": {"model": "a"}}, "services": {"app": {"models": ["llm"]}}}
    projects = Projects(tmp_path / "projects.sqlite3")
    projects.register(Registration.of(Project.parse(document, ()), {"app": KEY}, None))
    return projects


def admit(
    projects: Projects,
    listener: ListenerKind,
    *,
    require_key: bool = False,
    path_key: str | None = None,
    **headers: str,
) -> Caller | None:
    origins = Origins(["https://app.example"])
    with tempfile.TemporaryDirectory() as directory:
        keys = Keys(Path(directory) / "keys.sqlite3")
    admission = Admission(projects, keys, require_key=require_key, origins=origins, hosts=("Models.example",))
    local = "172.17.0.1" if listener == "bridge" else "127.0.0.1"
    sent = Headers({"host": "127.0.0.1:12434", **headers}).raw
    scope = {"type": "http", "dmrc.listener": listener, "server": (local, 12434), "headers": sent}
    return admission.admit({**scope, "dmrc.path_key": path_key})


def test_loopback_needs_no_key(projects: Projects) -> None:
    assert admit(projects, "loopback") is None


@pytest.mark.parametrize("placeholder", ["not-required", "none", "sk-something-else", "dummy"])
def test_a_placeholder_on_loopback_counts_as_no_key(projects: Projects, placeholder: str) -> None:
    assert admit(projects, "loopback", authorization=f"Bearer {placeholder}") is None


@pytest.mark.parametrize("listener", ["loopback", "bridge", "network"])
def test_a_key_tells_who_it_is_on_every_listener(projects: Projects, listener: ListenerKind) -> None:
    caller = admit(projects, listener, authorization=f"Bearer {KEY}")

    assert caller is not None
    assert caller.service == "app"


@pytest.mark.parametrize("listener", ["loopback", "bridge"])
def test_a_key_of_our_form_that_is_unknown_is_refused(projects: Projects, listener: ListenerKind) -> None:
    with pytest.raises(AuthenticationError, match="unknown or was revoked"):
        admit(projects, listener, authorization="Bearer sk-dmrc-bad")


def test_the_page_may_ask_for_all_models_of_a_project_and_nobody_else_by_its_name(projects: Projects) -> None:
    scope = {"type": "http", "dmrc.listener": "loopback", "server": ("127.0.0.1", 12434), "dmrc.path_key": None}
    with tempfile.TemporaryDirectory() as directory:
        keys = Keys(Path(directory) / "keys.sqlite3")
    admission = Admission(projects, keys, require_key=True, origins=Origins([]))

    def of_page(**headers: str) -> Caller | None:
        return admission.admit({**scope, "dmrc.page": True, "headers": Headers(headers).raw})

    caller = of_page(**{"x-dmrc-project": "demo"})
    assert caller is not None
    assert (caller.service, caller.key_id, caller.models.keys()) == ("playground", None, {"llm"})
    assert of_page() is None
    with pytest.raises(NotFoundError, match="project 'none' is not up"):
        of_page(**{"x-dmrc-project": "none"})
    with pytest.raises(AuthenticationError):
        admit(projects, "bridge", **{"x-dmrc-project": "demo"})
    assert admit(projects, "loopback", **{"x-dmrc-project": "demo"}) is None


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer"}, {"authorization": "Basic x"}, {"x-api-key": ""}])
def test_the_bridge_needs_a_key(projects: Projects, headers: dict[str, str]) -> None:
    with pytest.raises(AuthenticationError, match="needs the API key"):
        admit(projects, "bridge", **headers)


@pytest.mark.parametrize("listener", ["bridge", "loopback"])
@pytest.mark.parametrize(
    "headers", [{"authorization": "Bearer tada"}, {"x-api-key": "cannot_be_empty"}, {"authorization": basic("a", "b")}]
)
def test_a_key_of_somebody_else_is_told_so_with_both_remedies(
    projects: Projects, listener: ListenerKind, headers: dict[str, str]
) -> None:
    with pytest.raises(AuthenticationError, match="this key is not dmrc's") as caught:
        admit(projects, listener, require_key=True, **headers)

    assert all(part in str(caught.value) for part in ("OPENAI_API_KEY", "x-dmrc: {auth: address}"))
    assert not any(sent in str(caught.value) for sent in ("tada", "cannot_be_empty"))


def test_loopback_needs_a_key_when_the_settings_say_so(projects: Projects) -> None:
    with pytest.raises(AuthenticationError):
        admit(projects, "loopback", require_key=True)


SENT = [
    {"authorization": f"Bearer {KEY}"},
    {"authorization": f"bearer  {KEY} "},
    {"x-api-key": KEY},
    {"api-key": KEY},
    {"x-goog-api-key": KEY},
    {"authorization": basic("me", KEY)},
    {"authorization": basic(KEY, "")},
    {"authorization": "Bearer not-required", "x-api-key": KEY},
    {"authorization": "Bearer sk-dmrc-of-yesterday", "api-key": KEY},
    {"x-api-key": "none", "x-goog-api-key": KEY},
    {"authorization": KEY},
    {"authorization": f"Token {KEY}"},
    {"authorization": f"ApiKey {KEY}"},
]


@pytest.mark.parametrize("headers", SENT, ids=lambda headers: " ".join(headers))
def test_a_key_is_read_where_clients_of_any_api_send_it(projects: Projects, headers: dict[str, str]) -> None:
    assert admit(projects, "bridge", **headers) is not None


@pytest.mark.parametrize("name", ["x-api-key", "api-key", "x-goog-api-key"])
def test_an_unknown_key_of_our_form_is_refused_in_every_header(projects: Projects, name: str) -> None:
    with pytest.raises(AuthenticationError, match="unknown or was revoked"):
        admit(projects, "loopback", **{name: "sk-dmrc-bad"})


@pytest.mark.parametrize(
    "host",
    [
        *("localhost:12434", "127.0.0.1", "[::1]:1", "model-runner.docker.internal:12434"),
        *("localhost.:12434", "MODEL-RUNNER.docker.internal."),
    ],
)
def test_names_of_the_gateway_are_let_in(projects: Projects, host: str) -> None:
    assert admit(projects, "loopback", host=host) is None


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example:12434",
        "192.0.2.1",
        "localhost.evil",
        "localhost..",
        "",
        "evil.com@127.0.0.1",
        "127.0.0.1#evil.com",
        "127.0.0.1/x",
        "127.0.0.1:1:2",
        "127.0.0.1:x",
        "[::1]evil",
        "::1",
    ],
)
def test_a_foreign_host_is_refused_against_dns_rebinding(projects: Projects, host: str) -> None:
    with pytest.raises(PermissionDeniedError, match="is not a name of this gateway"):
        admit(projects, "loopback", host=host)


@pytest.mark.parametrize("headers", SENT[:4], ids=lambda headers: " ".join(headers))
@pytest.mark.parametrize("host", ["host.docker.internal:12434", "models.corp.example", "192.0.2.1"])
def test_a_valid_key_opens_any_name(projects: Projects, host: str, headers: dict[str, str]) -> None:
    assert admit(projects, "bridge", host=host, **headers) is not None
    assert admit(projects, "loopback", host=host, path_key=KEY) is not None


@pytest.mark.parametrize("host", ["models.example", "MODELS.example:80"])
def test_the_settings_add_names_for_those_without_a_key(projects: Projects, host: str) -> None:
    assert admit(projects, "loopback", host=host) is None


def test_a_valid_key_opens_no_foreign_page(projects: Projects) -> None:
    with pytest.raises(PermissionDeniedError, match="origin"):
        admit(projects, "loopback", origin="https://evil.example", authorization=f"Bearer {KEY}")


def test_the_bridges_own_address_is_a_name_of_it(projects: Projects) -> None:
    headers = {"host": "172.17.0.1:12434", "authorization": f"Bearer {KEY}"}

    assert admit(projects, "bridge", **headers) is not None


@pytest.mark.parametrize("origin", ["http://localhost:3000", "http://127.0.0.1:8080", "https://app.example"])
def test_a_page_on_loopback_or_in_the_settings_may_call(projects: Projects, origin: str) -> None:
    assert admit(projects, "loopback", origin=origin) is None


def test_a_picture_or_a_link_in_a_page_of_another_site_is_refused(projects: Projects) -> None:
    with pytest.raises(PermissionDeniedError, match="another site"):
        admit(projects, "loopback", **{"sec-fetch-site": "cross-site"})
    for site in ("same-origin", "same-site", "none"):
        assert admit(projects, "loopback", **{"sec-fetch-site": site}) is None
    allowed = {"sec-fetch-site": "cross-site", "origin": "https://app.example"}
    assert admit(projects, "loopback", **allowed) is None


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost.evil.example"])
def test_a_foreign_page_is_refused(projects: Projects, origin: str) -> None:
    with pytest.raises(PermissionDeniedError, match="origin"):
        admit(projects, "loopback", origin=origin)


def test_a_key_in_the_path_tells_who_it_is(projects: Projects) -> None:
    caller = admit(projects, "bridge", path_key=KEY, authorization="Bearer not-required")

    assert caller is not None
    assert caller.service == "app"


def test_an_unknown_key_in_the_path_is_refused(projects: Projects) -> None:
    with pytest.raises(AuthenticationError):
        admit(projects, "bridge", path_key="sk-dmrc-bad")
