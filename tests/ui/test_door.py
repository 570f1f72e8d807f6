"""Who may see the page, and what it lets a browser do."""

from __future__ import annotations

import re
from unittest.mock import MagicMock

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from dmrc.ui import routes
from tests.ui.conftest import MODEL, Site


def pages() -> list[tuple[str, str]]:
    """Return the routes of the page: one that is added is tested too."""
    app = FastAPI()
    app.state.parts = MagicMock()
    routes.dmrc_register_routes(app)
    return [
        (method, re.sub(r"\{.*?\}", "x", route.path))
        for route in app.routes
        if isinstance(route, APIRoute) and route.path != "/ui/login"
        for method in route.methods
    ]


ROUTES = [
    *pages(),
    *(("GET", "/ui/static/page.js"), ("GET", "/ui/api/models"), ("POST", "/ui/api/engines/v1/chat/completions")),
]


def headers_of(site: Site, **more: str) -> dict[str, str]:
    return {"cookie": site.cookie(), "origin": site.url, **more}


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_without_a_session_each_route_is_401(method: str, path: str, site: Site) -> None:
    answer = httpx.request(method, site.url + path, headers={"origin": site.url})

    assert answer.status_code == 401
    assert "dmrc ui" in answer.text


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize(
    "foreign",
    [
        {"origin": "http://127.0.0.1:3000"},
        {"origin": "http://localhost:12434"},
        {"origin": "null"},
        {"origin": "https://evil.example"},
        {"host": "evil.example"},
        {"host": "model-runner.docker.internal:12434"},
        {"sec-fetch-site": "same-site", "sec-fetch-mode": "cors"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"},
    ],
    ids=str,
)
def test_another_page_or_name_is_403(
    method: str, path: str, foreign: dict[str, str], site: Site, session: dict[str, str]
) -> None:
    assert httpx.request(method, site.url + path, headers={**session, **foreign}).status_code == 403


@pytest.fixture(scope="module")
def session(site: Site) -> dict[str, str]:
    return headers_of(site)


def test_a_change_needs_an_origin(site: Site, session: dict[str, str]) -> None:
    only_cookie = {"cookie": session["cookie"]}

    assert httpx.post(f"{site.url}/ui/models/unload", headers=only_cookie, json={"id": "x"}).status_code == 403
    assert httpx.post(f"{site.url}/ui/models/unload", headers=session, json={"id": "x"}).status_code == 200


def test_a_token_opens_one_session_only(site: Site) -> None:
    link = site.login()
    first, second = httpx.get(link), httpx.get(link)

    assert first.status_code == 303
    assert first.headers["location"] == "/ui/overview"
    cookie = first.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Path=/ui" in cookie
    assert second.status_code == 401


def test_a_person_reads_why_in_a_page(site: Site) -> None:
    answer = httpx.get(f"{site.url}/ui/requests", headers={"accept": "text/html"})

    assert answer.status_code == 401
    assert "<h1>" in answer.text
    assert "Run: dmrc ui" in answer.text


@pytest.mark.parametrize("path", ["/ui/requests", "/ui/models", "/ui/requests/none", "/ui/static/base.css"])
def test_every_answer_says_that_nothing_foreign_may_run(path: str, site: Site, session: dict[str, str]) -> None:
    answer = httpx.get(site.url + path, headers={**session, "accept": "text/html"})
    policy = answer.headers["content-security-policy"]

    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"


def test_no_page_has_a_script_or_a_style_of_its_own(site: Site, session: dict[str, str]) -> None:
    for path in ("/ui/requests", "/ui/models", "/ui/projects", "/ui/playground", f"/ui/models/{MODEL}"):
        text = httpx.get(site.url + path, headers=session).text
        assert re.findall(r"<script(?![^>]* src=\"/ui/static/)", text) == []
        assert re.findall(r"<style|\sstyle=|\son\w+=", text) == []


def test_what_the_page_asks_needs_no_key_and_is_recorded_as_the_playground(site: Site, session: dict[str, str]) -> None:
    wish = {"model": MODEL, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2}
    answer = httpx.post(f"{site.url}/ui/api/engines/v1/chat/completions", headers=session, json=wish, timeout=60)
    assert answer.status_code == 200

    exchange = answer.headers["x-dmrc-exchange-id"]
    beside = httpx.get(f"{site.url}/ui/requests/{exchange}/answer", headers=session)
    assert beside.status_code == 200
    rows = httpx.get(f"{site.url}/ui/requests/rows?service=playground", headers=session).text
    assert exchange in rows


@pytest.mark.parametrize("below", ["", "/answer", "/response", "/as/curl"])
def test_a_request_can_be_looked_at_as_soon_as_it_is_answered(below: str, site: Site, session: dict[str, str]) -> None:
    exchange = site.ask("Hi", max_tokens=1)

    assert httpx.get(f"{site.url}/ui/requests/{exchange}{below}", headers=session).status_code == 200


def test_a_request_that_never_was_is_404_at_once(site: Site, session: dict[str, str]) -> None:
    never = "01a209b3-6c23-7932-a0c7-2495b49319a4"

    assert httpx.get(f"{site.url}/ui/requests/{never}", headers=session, timeout=5).status_code == 404


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/ui/models/load", {}, '\'model\' is missing from the body. Send {"model": "ai/smollm2"}'),
        ("/ui/models/load", {"model": 5}, '\'model\' must be a string that is not empty. Send {"model": "ai/smollm2"}'),
        ("/ui/models/unload", {"id": "x", "model": "y"}, "'model' is not known here"),
        ("/ui/models/unload", [], "the request body must be a JSON object"),
    ],
)
def test_a_bad_body_is_told_to_a_script(path: str, body: object, message: str, site: Site) -> None:
    answer = httpx.post(site.url + path, headers=headers_of(site), json=body)

    error = {"message": message, "type": "invalid_request_error"}
    assert (answer.status_code, answer.json()) == (422, {"error": error})


def test_a_filter_that_means_nothing_is_said_in_the_page(site: Site, session: dict[str, str]) -> None:
    answer = httpx.get(f"{site.url}/ui/requests?since=yesterday&grep=x", headers=session)

    assert answer.status_code == 400
    assert "since must be a time, not &#39;yesterday&#39;" in answer.text
    assert 'value="since:yesterday x"' in answer.text


def test_an_unknown_request_or_model_is_404(site: Site, session: dict[str, str]) -> None:
    for path in ("/ui/requests/0123456789", "/ui/models/ai/none", "/ui/logs/none", "/ui/requests/x/as/pdf"):
        assert httpx.get(site.url + path, headers=session).status_code == 404


def test_the_page_works_where_a_key_is_required(site: Site, smollm2: object) -> None:
    from tests.dmrc_command import temporary_dmrc

    with temporary_dmrc() as dmrc:
        dmrc.environment["DMRC_REQUIRE_KEY"] = "1"
        other = Site(dmrc, site.directory, "")
        headers = headers_of(other)

        assert httpx.get(f"{other.url}/ui/requests", headers=headers).status_code == 200
        assert httpx.get(f"{other.url}/ui/api/models", headers=headers).status_code == 200
        assert httpx.get(f"{other.url}/engines/v1/models").status_code == 401
