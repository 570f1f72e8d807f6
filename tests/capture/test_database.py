import sqlite3
import time
from contextlib import closing
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dmrc.capture.database import ExchangeDatabase
from dmrc.capture.queries import ExchangeFilter, is_shown, page_statement
from dmrc.capture.reading import complete
from dmrc.capture.rows import WRITTEN_COLUMNS, to_rows
from dmrc.capture.schema import MIGRATIONS
from dmrc.errors import InputError, NotFoundError
from dmrc.exchange import id_at, new_exchange_id
from tests.capture.recorded import ALL, asked, many, recorded


def test_an_exchange_comes_back_as_it_was(database):
    exchange = complete(
        asked(
            "hi",
            project="facts",
            stream=True,
            client_disconnected=True,
            request_headers={"user-agent": "x"},
            chunk_offsets=((1.25, 0), (2.5, 300)),
            request_truncated=True,
            annotations={"dmrc": [1, None, {"a": "\ud800"}]},
        )
    )

    database.insert_many([exchange])

    assert database.get(exchange.id) == exchange
    assert database.latest() == exchange


def test_pages_follow_each_other_without_gaps_and_without_content(database):
    exchanges = many(25)
    database.insert_many(exchanges)

    ids, before = [], None
    while page := database.page(ALL, 10, before):
        assert all(one.response_body == b"" for one in page)
        ids += [one.id for one in page]
        before = page[-1].id

    assert ids == [one.id for one in reversed(exchanges)]


def test_filters_hold_together(database):
    def placed(number):
        return {"node": f"n{number % 7}", "replica": f"r{number % 7}"} if number % 7 else {}

    exchanges = [
        replace(
            one,
            project=f"p{number % 2}",
            service=f"s{number % 3}",
            operation="embedding" if number % 6 == 0 else "chat",
            client_disconnected=number % 11 == 0,
            model_key=f"m{number % 5}",
            status=status,
            **placed(number),
        )
        for number, one in enumerate(many(60))
        for status in (500 if number % 4 == 0 else 200,)
    ]
    exchanges[7] = replace(exchanges[7], error_type="server_error")
    exchanges[8] = replace(exchanges[8], error_type="cancelled")
    database.insert_many(exchanges)

    def ids(**conditions):
        return [int(one.id[-12:], 16) for one in database.page(ExchangeFilter(**conditions), 100)]

    numbers = range(59, -1, -1)
    assert ids(project="p1") == [n for n in numbers if n % 2 == 1]
    assert ids(project="p1", service="s2") == [n for n in numbers if n % 2 == 1 and n % 3 == 2]
    assert ids(model="m3") == [n for n in numbers if n % 5 == 3]
    assert ids(model="m3", project="p0") == [n for n in numbers if n % 5 == 3 and n % 2 == 0]
    assert ids(failed=True) == [n for n in numbers if n % 4 == 0 or n == 7]
    assert ids(failed=True, model="m0", service="s0") == [0, 60][:1]
    assert ids(node="n1") == [n for n in numbers if n % 7 == 1]
    assert ids(node="n1", model="m3") == [n for n in numbers if n % 7 == 1 and n % 5 == 3]
    assert ids(node="n1", project="p1", text="planet") == [n for n in numbers if n % 7 == 1 and n % 2 == 1]
    assert ids(project="none") == ids(node="none") == []
    assert ids(operation="embedding") == [n for n in numbers if n % 6 == 0]
    assert ids(operation="embedding", project="p0", model="m0") == [30, 0]
    assert ids(cancelled=True) == [n for n in numbers if n % 11 == 0 or n == 8]
    assert ids(cancelled=True, failed=True) == [n for n in numbers if n % 44 == 0 or n == 8]


def test_what_joins_requests_is_a_filter_beside_others(database):
    exchanges = [
        replace(
            one, conversation_id=f"c{n % 2}", session_id=f"s{n % 3}", trace_id=f"t{n % 5}", status=200 + n % 2 * 300
        )
        for n, one in enumerate(many(30))
    ]
    database.insert_many(exchanges)

    def ids(**conditions):
        return [int(one.id[-12:], 16) for one in database.page(ExchangeFilter(**conditions), 100)]

    numbers = range(29, -1, -1)
    assert ids(conversation="c1") == [n for n in numbers if n % 2]
    assert ids(conversation="c0", failed=True) == []
    assert ids(conversation="c1", failed=True, session="s2") == [n for n in numbers if n % 2 and n % 3 == 2]
    assert ids(trace="t4", text="planet") == [n for n in numbers if n % 5 == 4]
    assert ids(session="none") == []


def test_a_model_is_found_by_any_of_its_names_once(database):
    keys = many(3)
    exchanges = [
        replace(keys[0], model_key="m"),
        replace(keys[1], model_requested="m", model_reference="m", model_key="m"),
        replace(keys[2], model_reference="m"),
    ]
    database.insert_many(exchanges)

    assert [one.id for one in database.page(ExchangeFilter(model="m"), 2)] == [keys[2].id, keys[1].id]


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (ALL, "sqlite_autoindex_exchanges_1"),
        (ExchangeFilter(project="p"), "exchanges_project"),
        (ExchangeFilter(service="s"), "exchanges_service"),
        (ExchangeFilter(project="p", service="s"), "exchanges_project_service"),
        (ExchangeFilter(model="m"), "exchanges_model_reference"),
        (ExchangeFilter(project="p", model="m"), "exchanges_project_model_key"),
        (ExchangeFilter(node="n"), "exchanges_node"),
        (ExchangeFilter(node="n", service="s"), "exchanges_service"),
        (ExchangeFilter(node="n", model="m"), "exchanges_model_reference"),
        (ExchangeFilter(node="n", failed=True), "exchanges_failed"),
        (ExchangeFilter(failed=True), "exchanges_failed"),
        (ExchangeFilter(failed=True, project="p", model="m"), "exchanges_failed"),
        (ExchangeFilter(status=(404, 404), service="s"), "exchanges_failed"),
        (ExchangeFilter(status=(200, 299)), "sqlite_autoindex_exchanges_1"),
        (ExchangeFilter(slower_ms=7000, project="p"), "exchanges_slow"),
        (ExchangeFilter(slower_ms=100, project="p"), "exchanges_project"),
        (ExchangeFilter(since=5, before=9), "sqlite_autoindex_exchanges_1"),
        (ExchangeFilter(operation="embedding"), "exchanges_operation"),
        (ExchangeFilter(operation="embedding", project="p"), "exchanges_project"),
        (ExchangeFilter(cancelled=True, service="s"), "exchanges_cancelled"),
        (ExchangeFilter(conversation="0190"), "exchanges_conversation"),
        (ExchangeFilter(conversation="0190", model="m", project="p"), "exchanges_conversation"),
        (ExchangeFilter(conversation="0190", failed=True), "exchanges_conversation"),
        (ExchangeFilter(session="s", project="p"), "exchanges_session"),
        (ExchangeFilter(trace="t", slower_ms=7000), "exchanges_trace"),
    ],
)
@pytest.mark.parametrize("before", [None, "0190"])
def test_a_page_walks_an_index_and_neither_scans_nor_sorts(database, query, index, before):
    database.insert_many([])

    with closing(sqlite3.connect(database.path)) as connection:
        statement, values = page_statement(query, 50, before)
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", values)]

    text = "\n".join(plan)
    assert index in text
    assert "TEMP B-TREE" not in text, text
    assert all("INDEX" in step for step in plan if step.startswith(("SCAN exchanges", "SEARCH exchanges"))), text


def test_the_excerpt_stands_in_for_the_content(database):
    exchange = asked("Tell me " + "more " * 200)
    database.insert_many([exchange])

    (excerpt,) = database.excerpts(database.page(ALL, 10)).values()

    assert excerpt.startswith("Tell me more")
    assert len(excerpt) == 200


def test_words_are_found_in_prompt_and_answer_until_they_are_deleted(database):
    first, second = asked("Where is Zürich?"), asked("Where is Paris?")
    database.insert_many([first, second])

    def found(text):
        return [one.id for one in database.page(ExchangeFilter(text=text), 10)]

    assert found("zurich") == [first.id]
    assert found("kepler where") == [second.id, first.id]
    assert found('"') == found("NOT (") == []

    assert database.erase([first.id, "unknown"]) == 1
    assert found("zurich") == []
    assert found("paris") == [second.id]
    with closing(sqlite3.connect(database.path)) as connection:
        connection.execute("INSERT INTO words (words) VALUES ('integrity-check')")
        assert connection.execute("SELECT count(*) FROM content").fetchone() == (1,)


def test_one_is_found_by_beginning_or_last_digits(database):
    exchanges = many(3)
    database.insert_many(exchanges)

    assert database.get(exchanges[1].id.upper()).id == exchanges[1].id
    assert database.get("00000002").id == exchanges[2].id
    assert database.get(exchanges[2].id[:-1] + "2").id == exchanges[2].id
    with pytest.raises(InputError, match="several requests begin with '0190'"):
        database.get("0190")
    for unknown in ("ffff", "zz%", "", "0190~"):
        with pytest.raises(NotFoundError, match=f"no request '{unknown}' is recorded"):
            database.get(unknown)


def test_a_database_that_is_not_there_is_empty_and_stays_away(database):
    assert database.page(ALL, 10) == []
    assert database.count() == database.size_bytes() == 0
    assert database.latest() is None
    with pytest.raises(NotFoundError):
        database.get("0190")

    assert not database.path.exists()


def test_the_same_exchange_twice_is_kept_once(database):
    exchange = asked("hi")

    database.insert_many([exchange, exchange])
    database.insert_many([exchange])

    assert database.count() == 1


def test_a_transaction_is_all_or_nothing(database):
    good = asked("hi")

    with pytest.raises(sqlite3.Error):
        database.insert_many([good, replace(good, id="other", status={})])

    assert database.count() == 0
    database.insert_many([good])
    assert database.count() == 1


def test_a_reader_sees_what_another_connection_has_just_written(database):
    database.insert_many(many(1))
    reader = ExchangeDatabase(database.path)

    assert reader.count() == 1
    database.insert_many([asked("hi")])
    assert reader.count() == 2


def test_a_file_moved_away_under_the_writer_is_begun_anew(database):
    database.insert_many(many(2))
    for path in list(database.path.parent.iterdir()):
        path.rename(path.with_name("old-" + path.name))

    database.insert_many([asked("hi")])

    assert database.count() == 1


texts = st.text(st.characters(codec=None), max_size=20)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
@given(user_agent=texts, body=st.binary(max_size=50), header=texts, note=texts, word=texts)
def test_any_text_can_be_stored_and_searched(database, user_agent, body, header, note, word):
    exchange = asked(word, id=new_exchange_id(), user_agent=user_agent, response_body=body)
    exchange = replace(exchange, request_headers={header: header}, annotations={note: note})

    database.insert_many([exchange])

    kept = database.get(exchange.id)
    assert (kept.request_headers, kept.annotations) == (exchange.request_headers, exchange.annotations)
    assert kept.response_body == body
    database.page(ExchangeFilter(text=word, project=word), 10)


def test_filters_by_status_time_and_slowness(database):
    now = time.time()
    exchanges = [
        recorded("chat.json", id=f"{id_at(now - 1000 + number)}-7000-8000-{number:012x}", status=status, total_ms=ms)
        for number, (status, ms) in enumerate([(200, 10.0), (404, 6000.0), (500, 20.0), (200, 9000.0), (403, 1.0)])
    ]
    database.insert_many(exchanges)

    def ids(**conditions):
        page = database.page(ExchangeFilter(**conditions), 100)
        assert all(is_shown(one, ExchangeFilter(**conditions)) for one in page)
        return [exchanges.index(next(each for each in exchanges if each.id == one.id)) for one in page]

    assert ids(status=(404, 404)) == [1]
    assert ids(status=(400, 499)) == [4, 1]
    assert ids(status=(200, 200), model="x") == []
    assert ids(slower_ms=5000) == [3, 1]
    assert ids(slower_ms=15) == [3, 2, 1]
    assert ids(slower_ms=5000, failed=True) == [1]
    assert ids(since=now - 998) == [4, 3, 2]
    assert ids(since=now - 999, before=now - 997) == [2, 1]
    assert ids(text="planet", failed=True) == [4, 2, 1]
    assert ids(text="planet", slower_ms=5000, before=now - 998) == [1]
    assert database.ids(ExchangeFilter()) == [one.id for one in reversed(exchanges)]


def test_pages_of_a_search_follow_each_other(database):
    exchanges = [asked(f"hello {number}") for number in range(25)]
    database.insert_many(exchanges)

    ids, before = [], None
    while page := database.page(ExchangeFilter(text="hello"), 10, before):
        ids += [one.id for one in page]
        before = page[-1].id

    assert ids == [one.id for one in reversed(exchanges)]


def test_a_database_of_version_1_gets_what_came_later(database):
    database.insert_many([])
    with closing(sqlite3.connect(database.path)) as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            if not name.startswith(("sqlite_", "words_")):
                connection.execute(f"DROP TABLE {name}")
        for statement in MIGRATIONS[0]:
            connection.execute(statement)
        connection.execute("PRAGMA user_version = 1")
    database.close()

    database.insert_many(many(2))

    assert database.count() == 2
    assert database.page(ExchangeFilter(slower_ms=5000), 5) == []


def test_a_record_of_version_2_keeps_its_requests_and_can_then_say_who_answered(database):
    old = asked("hi", model_key="m")
    with closing(sqlite3.connect(database.path)) as connection:
        for statement in (*MIGRATIONS[0], *MIGRATIONS[1]):
            connection.execute(statement)
        rows = to_rows(old)
        known = dict(zip((*WRITTEN_COLUMNS, "excerpt"), rows.scalars, strict=True))
        del known["replica"], known["node"]
        marks = ", ".join("?" * len(known))
        connection.execute(f"INSERT INTO exchanges ({', '.join(known)}) VALUES ({marks})", list(known.values()))
        connection.execute("INSERT INTO content VALUES (1, ?, ?, ?, ?, ?)", rows.content[:5])
        connection.execute("PRAGMA user_version = 2")
        connection.execute(f"PRAGMA application_id = {0x646D7263}")
        connection.commit()
    reader = ExchangeDatabase(database.path)

    assert reader.get(old.id) == old
    new = asked("hello", model_key="m", node="node-b", replica="r2")
    database.insert_many([new])

    assert [one.id for one in reader.page(ExchangeFilter(model="m"), 5)] == [new.id, old.id]
    assert [one.replica for one in reader.page(ExchangeFilter(node="node-b"), 5)] == ["r2"]
