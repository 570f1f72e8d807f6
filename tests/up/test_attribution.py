"""Whose request it was, told by the container's address, and what of it is on record, through each door."""

from __future__ import annotations

import json

from tests.polling import eventually
from tests.up.compose_project import STAY, TINY, question, service
from tests.up.conftest import MakeProject

SECRET = "of-the-env-file-4711"


def test_the_container_is_named_and_without_a_key_its_service_too(project: MakeProject) -> None:
    shop = project("attributed")
    models = {"llm": {"model": TINY, "context_size": 256, "x-dmrc": {"parallel": 1}}}
    refused = question(key="not-required")
    asked = question().replace('"Hi"', f'"Hi {SECRET}"')
    web = service(f"{asked}; {refused}; {STAY}", models=["llm"], environment={"SHOP_TOKEN": SECRET})
    shop.write({"services": {"web": web}, "models": models})

    shop.up("--detach")

    done, without_key = eventually(lambda: len(found := shop.exchanges()) == 2 and found)
    id = shop.containers()["web"].id[:12]
    assert [(one["service"], one["container"]) for one in (done, without_key)] == [("web", id)] * 2
    assert (done["status"], without_key["status"]) == (200, 401)
    assert (without_key["key_id"], without_key["error_type"]) == (None, "authentication_error")
    shown = json.loads(shop.dmrc.ok("requests", "show", str(done["id"]), "--json"))
    assert json.loads(shown["request_body"])["messages"] == [{"role": "user", "content": "Hi [redacted]"}]
