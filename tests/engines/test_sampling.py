"""What holds for a parameter that a request leaves out, and who says so."""

from __future__ import annotations

from dmrc.engines.sampling import Default, defaults


def test_a_flag_comes_before_the_file_and_that_before_llama_cpp() -> None:
    header = {"general.sampling.temp": "0.6000000238418579", "general.sampling.top_k": "20"}

    found = defaults("llama-server", "llama.cpp", ("--temp", "0.2", "-n", "-1", "-s", "42"), header)

    assert found["temperature"] == Default("0.2", "runtime_flags")
    assert found["top_k"] == Default("20", "the model's file")
    assert found["top_p"] == Default("0.95", "llama.cpp")
    assert found["max_tokens"] == Default("no limit", "runtime_flags")
    assert found["seed"] == Default("42", "runtime_flags")
    assert defaults("llama-server", "llama.cpp", (), header)["temperature"] == Default("0.6", "the model's file")


def test_flags_that_no_runner_starts_with_leave_the_defaults() -> None:
    assert defaults("llama-server", "llama.cpp", ("--nonsense",))["temperature"] == Default("0.8", "llama.cpp")


def test_of_servers_that_are_not_ours_nothing_is_claimed() -> None:
    assert set(defaults("upstream", "upstream").values()) == {Default("", "its server")}
    assert set(defaults("other", "llama-cpp-python").values()) == {Default("", "llama-cpp-python")}
    assert defaults("vllm", "vllm")["temperature"].value == "1"
