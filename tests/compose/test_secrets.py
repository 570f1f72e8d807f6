import json
import os
from pathlib import Path

import pytest

from dmrc.compose.secrets import project_secrets, secrets_in

RANDOM = "aG9wZWZ1bGx5UmFuZG9tMTIzNDU2Nzg5"
KEY = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0\nBAQEFAASCBKcwggSjAgEAAo\n-----END PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("API_TOKEN", "words-are-fine"),
        ("dbPassword", "correct horse"),
        ("OPENAI_API_KEY", "sk-proj-0123456789abcdef"),
        ("ACCESSKEY", "12345678a"),
        ("SMTP_PASS", "hunter2hunter2"),
        ("DB_PASSWORD", "hunter2"),
        ("MYTOKEN", "s3cr3t-in-env"),
        ("PGPASSWORD", "correct horse"),
        ("ANYTHING", "ghp_0123456789abcdefghijABCDEFGHIJ"),
        ("ANYTHING", "AKIAIOSFODNN7EXAMPLE"),
        ("ANYTHING", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl"),
        ("ANYTHING", RANDOM),
        ("ANYTHING", "0123456789abcdef0123456789abcdef"),
    ],
)
def test_what_a_name_or_a_look_calls_secret_is_one(name, value):
    assert secrets_in(name, f" {value}\n") == [value]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DEBUG_TOKEN", "true"),
        ("KEY", "8080"),
        ("SECRET_PORTS", "8080,9090,10000"),
        ("API_KEY", "not-required"),
        ("API_KEY", "1234567"),
        ("API_KEY", "secret"),
        ("key", "OPENAI_API_KEY"),
        ("TOKENIZERS_PARALLELISM", "whatever-it-is"),
        ("KEYCLOAK_REALM", "production"),
        ("TOKEN_URL", "https://auth.example/token"),
        ("SECRET_FILE", "/run/secrets/database"),
        ("PUBLIC_KEY", "ssh-ed25519 AAAA"),
        ("GREETING", "hello everyone out there"),
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin"),
        ("OPENAI_MODEL", "docker.io/ai/smollm2:135M-Q4_K_M"),
        ("DATABASE_URL", "postgres://db:5432/shop"),
        ("DATABASE_URL", "postgres://user:short@db/shop"),
    ],
)
def test_what_is_harmless_is_left_alone(name, value):
    assert secrets_in(name, value) == []


def test_of_a_url_the_password_is_the_secret():
    assert secrets_in("DATABASE_URL", "postgres://user:p%40ssw0rd!@db:5432/x") == ["p%40ssw0rd!", "p@ssw0rd!"]


def test_of_a_url_a_parameter_and_a_token_in_place_of_a_user_are_secrets():
    assert secrets_in("HOOK", "https://hooks.example/x?room=1&token=abc%2Ddef-ghi") == ["abc%2Ddef-ghi", "abc-def-ghi"]
    assert secrets_in("REPO", "https://glpat-abcdef@git.example/x") == ["glpat-abcdef"]


def test_the_secrets_of_a_project_come_from_files_variables_and_environments(tmp_path: Path):
    (tmp_path / "one.txt").write_text("ab12\n")
    (tmp_path / "key.pem").write_text(KEY)
    (tmp_path / "account.json").write_text(
        json.dumps({"type": "service_account", "private_key": KEY, "api_key": RANDOM})
    )
    (tmp_path / "binary").write_bytes(b"\xff\xfe" * 10)
    document = {
        "services": {
            "a": {"environment": {"TOKEN": "token-of-a-service", "MODE": "production", "EMPTY": None}},
            "b": {"environment": None},
        },
        "secrets": {
            "one": {"file": "./one.txt"},
            "key": {"file": str(tmp_path / "key.pem")},
            "account": {"file": "account.json"},
            "gone": {"file": "gone.txt"},
            "binary": {"file": "binary"},
            "env": {"environment": "FROM_ENV"},
            "unset": {"environment": "UNSET"},
            "external": {"external": True},
        },
    }

    found = project_secrets(
        document, tmp_path, {"FROM_ENV": "true-ish"}, {"SMTP_PASSWORD": "of-dot-env", "NAME": "shop"}
    )

    assert set(found) >= {
        "ab12",
        KEY,
        "MIIEvQIBADANBgkqhkiG9w0",
        RANDOM,
        "true-ish",
        "of-dot-env",
        "token-of-a-service",
    }
    assert not {"production", "shop", "", "service_account"} & set(found)
    assert len(found) == len(set(found))


@pytest.mark.parametrize(
    "written",
    [
        {"configs": {"c": {"content": "[db]\npassword = zorkmid-77\n"}}},
        {"configs": {"c": {"content": "url: postgres://u:zorkmid-77@h/x"}}},
        {"configs": {"c": {"environment": "C_TOKEN"}}},
        {"configs": {"c": {"file": "./c.ini"}}},
        {"volumes": {"v": {"driver_opts": {"o": "username=bob,password=zorkmid-77,rw"}}}},
        {"networks": {"n": {"driver_opts": {"auth_token": "zorkmid-77"}}}},
        {"x-common": {"token": "zorkmid-77"}},
        {"services": {"a": {"build": {"args": {"NPM_TOKEN": "zorkmid-77"}}}}},
        {"services": {"a": {"labels": ["my.token=zorkmid-77"]}}},
        {"services": {"a": {"logging": {"options": {"splunk-token": "zorkmid-77"}}}}},
        {"services": {"a": {"command": "run -H 'Authorization: Bearer zorkmid-77'"}}},
        {"services": {"a": {"command": ["run", "--header", "X-Api-Key:zorkmid-77"]}}},
        {"services": {"a": {"healthcheck": {"test": ["CMD-SHELL", "curl -u bob:zorkmid-77 http://h"]}}}},
        {"services": {"a": {"entrypoint": "mysqladmin -pzorkmid-77 ping"}}},
        {"services": {"a": {"provider": {"type": "dmrc", "options": {"api-key": ["zorkmid-77"]}}}}},
        {"services": {"a": {"post_start": [{"command": ["x"], "environment": ["PS_TOKEN=zorkmid-77"]}]}}},
    ],
)
def test_a_secret_is_found_wherever_the_file_has_it(tmp_path: Path, written):
    """Compose leaves some of it out of what it prints, and our own reader all that models do not concern."""
    (tmp_path / "c.ini").write_text("api_key: zorkmid-77\n")

    for document, files in ((written, ()), ({}, (written,))):
        assert "zorkmid-77" in project_secrets(document, tmp_path, {"C_TOKEN": "zorkmid-77"}, {}, files)


def test_a_variable_that_holds_several_secrets_gives_each():
    document = {"services": {"a": {"environment": {"CONFIG": '{"db": {"password": "zorkmid-77"}}', "TLS_KEY": KEY}}}}

    assert {"zorkmid-77", "MIIEvQIBADANBgkqhkiG9w0"} <= set(project_secrets(document, Path(), {}, {}))


def test_the_key_of_an_upstream_is_a_secret_of_the_project():
    """It is sent to that server only, whose errors may quote it."""
    models = {"far": {"x-dmrc": {"upstream": {"url": "http://h/v1", "key": "UP"}}}, "near": {"model": "ai/x"}}
    several = {
        "x-dmrc": {"upstream": ["http://a/v1", {"url": "http://b/v1", "key": "B"}, {"url": "http://c", "key": "C"}]}
    }

    assert project_secrets({"models": models}, Path(), {"UP": "zorkmid-77"}, {}) == ("zorkmid-77",)
    keys = {"B": "zorkmid-77", "C": "frobozz-88"}
    assert project_secrets({"models": {"far": several}}, Path(), keys, {}) == ("zorkmid-77", "frobozz-88")


def test_a_pipe_as_a_secret_is_not_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")

    assert project_secrets({"secrets": {"a": {"file": "./pipe"}}}, tmp_path, {}, {}) == ()
