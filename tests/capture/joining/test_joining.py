"""Requests are joined to the conversation that they go on from, and to no other."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from dmrc.capture.joining.evidence import evidence_of
from dmrc.capture.writing import ReadExchange
from tests.capture.joining.talks import Talks, called, said, user

GREETING = "Hello! How can I help you today?"
FACT = "The blue whale is the largest animal that has ever lived on the earth. Its heart weighs as much as a small car."


@pytest.fixture
def talks(tmp_path) -> Iterator[Talks]:
    made = Talks(tmp_path / "exchanges.sqlite3")
    with closing(made.database):
        yield made


def test_a_turn_goes_on_from_the_answer_before_it(talks):
    messages = [{"role": "system", "content": "Be short."}, user("How large is a whale?")]
    first = talks.chat(messages, FACT)

    second = talks.chat([*messages, said(f" {FACT}\n"), user("And its tail?")], "Long.")
    third = talks.chat(
        [user("How large is a whale?"), said(FACT), user("And its tail?"), said("Long."), user("?")], "Y"
    )

    assert first == second == third
    assert talks.chat([user("How large is a whale?")], FACT) != first


def test_a_caller_that_names_its_conversation_is_believed(talks):
    one = talks.chat([user("hi")], GREETING, session_id="a")
    other = talks.chat([user("hi")], GREETING, session_id="b")

    assert one != other
    assert talks.chat([user("Something else")], "Yes.", session_id="a") == one
    assert talks.chat([user("hi"), said(GREETING), user("Bye")], "Yes.", session_id="b") == other
    assert talks.chat([user("hi"), said(GREETING), user("Bye")], "Yes.", session_id="c") not in (one, other)


def test_requests_of_one_trace_are_one_conversation(talks):
    trace = "0af7651916cd43dd8448eb211c80319c"
    first = talks.chat([user("hi")], GREETING, trace_id=trace)

    assert talks.chat([user("What is a whale?")], FACT, trace_id=trace, service="api") == first
    assert talks.chat([user("What is a whale?")], FACT, trace_id=trace[::-1]) != first
    assert talks.chat([user("What is a whale?")], FACT, trace_id=trace, project="other") != first


def test_the_result_of_a_tool_names_the_call(talks):
    call = called("call_9aB3kd82LmQ", city="Paris")
    first = talks.chat([user("Weather?")], call)
    other = talks.chat([user("Weather?")], called("call_7hY2mm10PqZ", city="Paris"))

    result = {"role": "tool", "tool_call_id": "call_9aB3kd82LmQ", "content": "18 degrees"}
    assert first != other
    assert talks.chat([user("A new way to say it"), call, result], "It is 18 degrees.") == first


def test_calls_that_a_server_numbers_are_told_by_what_was_said_before(talks):
    """Kimi's ids are `functions.find:0`, Ollama's `call_0_0`: everybody's are the same."""
    for user_text in ("Weather in Paris?", "Weather in Rome?"):
        messages = [user(user_text)]
        first = talks.chat(messages, called("functions.find:0", text=user_text))
        spaced = called("functions.find:0", text=user_text)
        spaced["tool_calls"][0]["function"]["arguments"] = f'{{ "text" : "{user_text}" }}'
        result = {"role": "tool", "tool_call_id": "functions.find:0", "content": "18 degrees"}

        assert talks.chat([*messages, spaced, result], "It is 18 degrees.") == first


def test_two_users_who_said_the_same_are_not_taken_for_each_other(talks):
    one, other = (talks.chat([user("hi")], GREETING) for _ in range(2))

    third = talks.chat([user("hi"), said(GREETING), user("What is a whale?")], FACT)

    assert len({one, other, third}) == 3
    assert talks.chat([user("hi"), said(GREETING), user("What is a whale?"), said(FACT), user("Oh")], "Yes") == third


def test_a_conversation_that_is_had_again_goes_on_from_the_newest_that_waits(talks):
    for _ in range(3):
        first = talks.chat([user("hi")], GREETING)
        second = talks.chat([user("hi"), said(GREETING), user("What is a whale?")], FACT)
        third = talks.chat([user("hi"), said(GREETING), user("What is a whale?"), said(FACT), user("Oh")], "Yes.")

        assert first == second == third


def test_one_that_was_left_long_ago_is_not_the_one(talks):
    talks.chat([user("hi")], GREETING)
    talks.now += 1200
    newest = talks.chat([user("hi")], GREETING)

    assert talks.chat([user("hi"), said(GREETING), user("What is a whale?")], FACT) == newest
    talks.now += 7200
    assert talks.chat([user("hi"), said(GREETING), user("What is that?")], FACT) != newest


def test_an_answer_that_was_not_complete_when_a_request_came_is_none_that_it_repeats(talks):
    first = talks.chat([user("How large is a whale?")], FACT, total_ms=60_000.0)

    assert talks.chat([user("How large is a whale?"), said(FACT), user("And its tail?")], "Long.") != first


def test_a_history_whose_beginning_was_left_out_is_known_by_its_last_turns(talks):
    turns = [user("hi"), said(GREETING), user("How large is a whale?"), said(FACT), user("And its tail?")]
    talks.chat(turns[:1], GREETING)
    first = talks.chat(turns[:3], FACT)

    assert talks.chat([user("Summary: we greeted each other."), *turns[2:]], "Long.") == first


def test_who_tries_again_after_an_error_goes_on(talks):
    first = talks.chat([user("How large is a whale?")], {"error": {"message": "busy"}}, status=503)

    second = talks.chat([user("How large is a whale?")], FACT)

    assert first == second
    assert talks.chat([user("How large is a whale?")], FACT) != first


@pytest.mark.parametrize("question", ["hi", "When is the shop in the harbour open, and may I bring my dog along?"])
def test_who_asks_the_same_while_nothing_is_answered_does_not_try_again(talks, question):
    def ask(text: str) -> str | None:
        talks.now += 61
        return talks.chat([user(text)], {"error": {"message": "busy"}}, status=503)

    assert len({ask(question) for _ in range(5)}) == 5


def test_long_prompts_that_differ_in_a_number_are_not_the_same(talks):
    def prompt(number: int) -> list[dict]:
        rules = "The rules are long, and the same for each of the tickets that are to be read. " * 50
        return [user(f"{rules} Ticket {number:05d}. {rules} Answer in one word. {rules}")]

    failed = [talks.chat(prompt(n), {"error": {"message": "busy"}}, status=503) for n in range(3)]

    assert len(set(failed)) == 3
    assert talks.chat(prompt(1), FACT) == failed[1]


def test_another_answer_to_the_same_question_is_of_the_same_conversation(talks):
    messages = [user("hi"), said(GREETING), user("How large is a whale?")]
    first = talks.chat(messages[:1], GREETING)

    assert talks.chat(messages, FACT) == talks.chat(messages, "Very large.") == first


def test_a_service_that_works_on_the_answer_of_another_joins_it(talks):
    first = talks.chat([user("How large is a whale?")], FACT, service="api")

    translated = talks.chat([user(f"Translate into French: {FACT}")], "La baleine bleue …", service="translator")

    assert translated == first
    assert talks.chat([user(f"Translate into French: {FACT}")], "La …", project="other") != first
    talks.now += 7200
    assert talks.chat([user(f"Translate into German: {FACT}")], "Der Blauwal …", service="translator") != first


def test_an_answer_that_is_kept_for_everybody_joins_nobody(talks):
    handbook = talks.chat([user("Summarise the handbook")], FACT)
    found = []
    for number in range(5):
        talks.now += 61
        found.append(talks.chat([user(f"Know that: {FACT} Question {number}?")], f"{number}"))

    assert len(set(found)) == 5
    assert handbook not in found[1:]


def test_who_asks_one_of_the_examples_of_every_prompt_is_joined_by_nobody(talks):
    examples = [user("Translate: the whale"), said("Der Wal, which is a masculine noun in German")]
    answers = {"Translate: the whale": examples[1]["content"], "Translate: the seal": "Die Robbe", "Bye": "Tschüs"}

    found = [talks.chat([*examples, user(asked)], answer) for asked, answer in [*answers.items(), *answers.items()]]

    assert len(set(found)) == 6


def test_a_history_in_one_message_is_known_by_its_sentences(talks):
    first = talks.chat([user("How large is a whale?")], FACT)

    text = f"Conversation so far:\nUser: How large is a whale?\nAssistant: {FACT}\nUser: And its tail?"
    assert talks.chat([user(text)], "Long.") == first


def test_what_two_said_and_what_stands_in_every_prompt_joins_nobody(talks):
    example = "Example: The parcel was delivered to the neighbour on Monday, so close the ticket."
    prompts = [{"role": "system", "content": example}]
    one = talks.chat([*prompts, user("A")], "The parcel was delivered to the neighbour on Monday, so close the ticket.")
    other = talks.chat(
        [*prompts, user("B")], "The parcel was delivered to the neighbour on Monday, so close the ticket."
    )
    twice = [talks.chat([user(f"Question {number}")], FACT) for number in range(2)]

    assert one != other
    assert talks.chat([user(f"Translate: {FACT}")], "La baleine …") not in twice


def test_workers_with_a_step_of_a_plan_each_and_who_puts_them_together_are_one_run(talks):
    steps = [f"{number}. Find out how {what} live in the {where} sea" for number, (what, where) in enumerate(
        (("blue whales", "northern"), ("grey seals", "southern"), ("sea otters", "eastern")), 1)]  # fmt: skip
    found = [f"All of the {what} were seen near the coast, said the report." for what in ("whales", "seals", "otters")]
    plan = talks.chat([user("Plan it")], "\n".join(["Here is what has to be done now:", *steps, "Tell me more!"]))

    workers = [talks.chat([user(step[3:])], text) for step, text in zip(steps, found, strict=True)]
    together = talks.chat([user("Put together:\n" + "\n".join(found))], "All live there.")

    assert {*workers, together} == {plan}


def test_a_fan_out_without_a_plan_is_one_run_once_it_is_put_together(talks):
    found = [f"All of the {what} were seen near the coast, said the report." for what in ("whales", "seals", "otters")]
    for number, text in enumerate(found):
        talks.chat([user(f"Part {number}")], text)

    talks.chat([user("Put together:\n" + "\n".join(found))], "All live there.")

    assert len(set(talks.conversations().values())) == 1


def test_an_agent_that_is_called_as_a_tool_is_part_of_the_run(talks):
    main = [user("Tell me about whales")]
    first = talks.chat(main, called("call_9aB3kd82LmQ", "ask_expert", input="Say it"))
    expert = talks.chat([user("Say it")], FACT)
    assert expert != first

    result = {"role": "tool", "tool_call_id": "call_9aB3kd82LmQ", "content": FACT}
    assert talks.chat([*main, called("call_9aB3kd82LmQ", "ask_expert", input="Say it"), result], "So it is.") == first
    assert len(set(talks.conversations().values())) == 1


def test_without_content_only_the_caller_tells(talks):
    empty = {"request_body": b"", "response_body": b""}

    assert talks.chat([], "", **empty) is None
    assert talks.chat([], "", **empty, session_id="a") == talks.chat([], "", **empty, session_id="a")


def test_what_is_deleted_joins_nobody(talks):
    first = talks.exchange({"messages": [user("How large is a whale?")]}, FACT)
    talks.join(first)
    talks.database.erase([first.id])

    following = talks.exchange({"messages": [user("How large is a whale?"), said(FACT), user("?")]}, "Yes.")
    talks.database.insert_read([ReadExchange(following, None, evidence_of(following))])
    assert talks.database.get(following.id).conversation_id == following.id
