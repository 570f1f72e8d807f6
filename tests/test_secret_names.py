import pytest

from dmrc.secret_names import _is_secret, is_secret_name, secrets_in_urls


@pytest.mark.parametrize(
    "name",
    [
        *("authorization", "Proxy-Authorization", "cookie", "Set-Cookie", "x-api-key", "api-key", "x-goog-api-key"),
        *("x-auth-token", "x-litellm-api-key", "private-token", "x-amz-security-token", "ocp-apim-subscription-key"),
        *(
            "x-vault-token",
            "X-Amz-Signature",
            "x-csrf-token",
            "cf-access-client-secret",
            "x-amz-credential",
            "dpop-jwt",
        ),
        *("authorization_token", "api_key", "apiKey", "APIKEY", "accessKey", "client_secret", "refresh_tokens"),
        *("MYTOKEN", "PGPASSWORD", "MYSQL_PWD", "DBPASS", "SMTP_PASS", "SESSIONSECRET", "AWS_SECRET_ACCESS_KEY"),
        *(
            "sessionid",
            "PHPSESSION",
            "JSESSIONID2SESSION",
            "webhook",
            "SENTRY_DSN",
            "sig",
            "token",
            "auth",
            "BasicAuth",
        ),
        *(
            "API_KEY_2",
            "OPENAI_KEY_PROD",
            "SECRET_KEY_BASE",
            "connection_string",
            "SLACK_WEBHOOK_URL",
            "recovery_codes",
        ),
        *("X_Api_Key", "x.token", "auth-header", "seed_phrase", "mfa_code", "_authToken", "HUGGING_FACE_HUB_TOKEN"),
        *("x-passcode", "DB_PW", "MY_CREDS", "GITHUB_PAT", "WIFI_PSK", "client_assertion", "PHPSESSID", "sid", "dpop"),
    ],
)
def test_a_name_says_that_it_holds_a_secret(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    [
        *("max_tokens", "prompt_tokens", "completion_tokens_details", "tokens", "max_completion_tokens", "tokenize"),
        *("x-ratelimit-remaining-tokens", "thinking_budget_tokens", "tokenizer", "token_type", "token_count"),
        *("author", "authors", "authority", "keep-alive", "keep_alive", "keyword", "keyboard", "KEYCLOAK_REALM"),
        *("monkey", "x-session-id", "session_id", "AWS_ACCESS_KEY_ID", "PUBLIC_KEY", "TOKEN_URL", "SECRET_FILE"),
        *("prompt_cache_key", "idempotency-key", "key", "eos_token", "PWD", "OLDPWD", "accept", "content-type", ""),
        *(
            "key_value",
            "past_key_values",
            "num_key_value_heads",
            "key_bindings",
            "hotkeys",
            "partitionKey",
            "pin_memory",
        ),
        *("sessions", "signatures", "secretary", "authentic", "unauthorized", "trespass", "salt_bridge", "cls_token"),
        *("auth_type", "token_index", "prompt_per_token_ms", "SESSION_DOMAIN", "cookie_policy", "password_required"),
        *("TOKENIZERS_PARALLELISM", "passage", "compass", "traceparent", "user-agent", "temperature", "stop"),
    ],
)
def test_a_name_that_only_looks_like_one_does_not(name: str) -> None:
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    ("text", "secrets"),
    [
        ("see https://bob:hunter2@db.example/x", ["bob:hunter2"]),
        ("git clone https://ghp_abc@github.com/x", ["ghp_abc"]),
        ("https://h/x?model=a&api_key=abc%20d&x=1#top", ["abc%20d"]),
        ("https://h/x?key=AIzaX, https://s3/x?X-Amz-Signature=ff00&X-Amz-Date=2026", ["AIzaX,", "ff00"]),
        ("postgres://bob:hun@ter2@db/x", ["bob:hun@ter2"]),
        ("https://h/callback#access_token=abc&x=1", ["abc"]),
        ("a?token=b in words", []),
        ("ssh://git@h/x and ssh://bob:hunter2@h", ["bob:hunter2"]),
        ("https://h/x?max_tokens=5&q=auth", []),
    ],
)
def test_the_secret_parts_of_a_url_are_found(text: str, secrets: list[str]) -> None:
    assert [text[start:end] for start, end in secrets_in_urls(text)] == secrets


def test_of_a_long_name_the_end_counts_and_no_more_is_kept() -> None:
    """A caller's keys of 16 MB each would have stayed in the daemon, 4,096 of them."""
    assert is_secret_name("x" * 1000 + "_token")
    before = _is_secret.cache_info().currsize

    assert is_secret_name("other" + "x" * 16_000_000 + "_token")
    assert _is_secret.cache_info().currsize == before
