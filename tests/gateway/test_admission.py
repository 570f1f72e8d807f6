from pathlib import Path

import pytest
from starlette.datastructures import Headers

from dmrc.errors import AuthenticationError, PermissionDeniedError
from dmrc.gateway.admission import Admission, Listener
from dmrc.gateway.cors import Origins
from dmrc.project import Project
from dmrc.projects import Caller, Projects, Registration

KEY = "sk-dmrc-good"


@pytest.fixture
def projects(tmp_path: Path) -> Projects:
    document = {"name": "demo", "models": {"llm": {"model": "a"}}, "services": {"app": {"models": ["llm"]}}}
    projects = Projects(tmp_path / "projects.sqlite3")
    projects.register(Registration.of(Project.parse(document, ()), {"app": KEY}, None))
    return projects


def admit(
    projects: Projects, listener: Listener, *, require_key: bool = False, path_key: str | None = None, **headers: str
) -> Caller | None:
    admission = Admission(projects, require_key=require_key, origins=Origins(["https://app.example"]))
    local = "172.17.0.1" if listener == "bridge" else "127.0.0.1"
    sent = Headers({"host": "127.0.0.1:12434", **headers}).raw
    scope = {"type": "http", "dmrc.listener": listener, "server": (local, 12434), "headers": sent}
    return admission.admit({**scope, "dmrc.path_key": path_key})


def test_loopback_needs_no_key(projects: Projects) -> None:
    assert admit(projects, "loopback") is None


@pytest.mark.parametrize("placeholder", ["not-required", "none", "sk-something-else", "dummy"])
def test_a_placeholder_on_loopback_counts_as_no_key(projects: Projects, placeholder: str) -> None:
    assert admit(projects, "loopback", authorization=f"Bearer {placeholder}") is None


@pytest.mark.parametrize("listener", ["loopback", "bridge"])
def test_a_key_tells_who_it_is_on_every_listener(projects: Projects, listener: Listener) -> None:
    caller = admit(projects, listener, authorization=f"Bearer {KEY}")

    assert caller is not None
    assert caller.service == "app"


@pytest.mark.parametrize("listener", ["loopback", "bridge"])
def test_a_key_of_our_form_that_is_unknown_is_refused(projects: Projects, listener: Listener) -> None:
    with pytest.raises(AuthenticationError, match="unknown or was revoked"):
        admit(projects, listener, authorization="Bearer sk-dmrc-bad")


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer not-required"}, {"authorization": "Basic x"}])
def test_the_bridge_needs_a_key(projects: Projects, headers: dict[str, str]) -> None:
    with pytest.raises(AuthenticationError, match="needs the API key"):
        admit(projects, "bridge", **headers)


def test_loopback_needs_a_key_when_the_settings_say_so(projects: Projects) -> None:
    with pytest.raises(AuthenticationError):
        admit(projects, "loopback", require_key=True)


def test_a_key_in_x_api_key_is_read_too(projects: Projects) -> None:
    assert admit(projects, "bridge", **{"x-api-key": KEY}) is not None


@pytest.mark.parametrize("host", ["localhost:12434", "127.0.0.1", "[::1]:1", "model-runner.docker.internal:12434"])
def test_names_of_the_gateway_are_let_in(projects: Projects, host: str) -> None:
    assert admit(projects, "loopback", host=host) is None


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:12434", "192.0.2.1", "localhost.evil"])
def test_a_foreign_host_is_refused_against_dns_rebinding(projects: Projects, host: str) -> None:
    with pytest.raises(PermissionDeniedError, match="is not a name of this gateway"):
        admit(projects, "loopback", host=host)


def test_the_bridges_own_address_is_a_name_of_it(projects: Projects) -> None:
    headers = {"host": "172.17.0.1:12434", "authorization": f"Bearer {KEY}"}

    assert admit(projects, "bridge", **headers) is not None


@pytest.mark.parametrize("origin", ["http://localhost:3000", "http://127.0.0.1:8080", "https://app.example"])
def test_a_page_on_loopback_or_in_the_settings_may_call(projects: Projects, origin: str) -> None:
    assert admit(projects, "loopback", origin=origin) is None


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
