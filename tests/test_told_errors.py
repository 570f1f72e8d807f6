"""Errors on their way from one process to another."""

from __future__ import annotations

import pytest

import dmrc.errors
from dmrc.cassettes.errors import CassetteError
from dmrc.errors import DaemonError, DmrcError, InputError
from dmrc.told_errors import error_document, told_error

KINDS = [each for each in vars(dmrc.errors).values() if isinstance(each, type) and issubclass(each, DmrcError)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_each_of_our_errors_arrives_in_its_own_words(kind: type[DmrcError]) -> None:
    """Some need more than words, as the format of a model: what is told of them must not become a mistake of ours."""
    error = told_error({"kind": kind.__name__, "message": "it is so", "remedy": "Do that", "log_tail": ["last"]})

    assert isinstance(error, DmrcError)
    assert issubclass(kind, type(error))
    assert (error.message, error.remedy, error.log_tail) == ("it is so", "Do that", ("last",))


def test_what_is_no_error_of_ours_is_the_tellers() -> None:
    assert isinstance(told_error({"kind": "Path", "message": "it is so"}), DaemonError)
    assert str(told_error("nothing", "host 'ssh://box'")).startswith("host 'ssh://box' answered with an error that")


def test_an_error_of_a_room_is_told_as_the_kind_above_it() -> None:
    """Its exit code depends on that: a broken cassette is a mistake in a file, and no failure of the daemon."""
    error = told_error(error_document(CassetteError("line 3 is broken")))

    assert type(error) is InputError
    assert str(error) == "line 3 is broken"
