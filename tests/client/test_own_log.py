"""What is said of an error in a site's log: our own sentences whole; of any other error never its text."""

import io
import logging

import pytest

from client.own_log import OwnFormatter, safe_story, story
from common.errors import DataError, Refusal

SECRET = "patient-Ada-Lovelace-4711"


def _raised(error: BaseException, cause: BaseException | None = None) -> BaseException:
    try:
        raise error from cause
    except BaseException as caught:  # noqa: BLE001  also those that end a process
        return caught


def _nested() -> BaseException:
    def inner() -> None:
        {}[SECRET]

    try:
        try:
            inner()
        except KeyError as error:
            raise ValueError(SECRET) from error
    except ValueError as caught:
        return caught


def test_a_foreign_error_is_told_by_class_and_places_with_its_causes() -> None:
    told = safe_story(_nested())
    assert told.startswith("ValueError at test_own_log.py:") and " _nested, after KeyError at " in told
    assert "inner < test_own_log.py:" in told and SECRET not in told and "\n" not in told


@pytest.mark.parametrize("error", [ValueError, KeyError, MemoryError, UnicodeError, AssertionError, KeyboardInterrupt])
def test_no_text_of_a_foreign_error_is_told(error: type) -> None:
    caught = _raised(error(SECRET), RuntimeError(SECRET))
    caught.add_note(SECRET)
    assert SECRET not in story(caught) and error.__name__ in story(caught) and "RuntimeError" in story(caught)


@pytest.mark.parametrize("error", [DataError("a.csv: column 'x' is missing."), Refusal("site_error", "no room.")])
def test_our_own_sentences_are_told_whole_without_what_caused_them(error: Exception) -> None:
    assert story(_raised(error, ValueError(SECRET))) == str(error)


def test_a_circle_of_errors_ends() -> None:
    one, other = ValueError(SECRET), KeyError(SECRET)
    one.__cause__, other.__cause__ = other, one
    assert story(one) == "ValueError, after KeyError"


@pytest.mark.parametrize(
    "log",
    [
        lambda logger, error: logger.error("failed: %s", error),
        lambda logger, error: logger.error("failed: %r, %s", error, "twice"),
        lambda logger, error: logger.error("failed", exc_info=error),
        lambda logger, error: logger.error("failed: %s", error, exc_info=error),
        lambda logger, error: logger.error("failed", exc_info=(type(error), error, error.__traceback__)),
        lambda logger, error: logger.error("failed", stack_info=False, exc_info=_nested()),
    ],
)
def test_a_log_that_is_given_the_error_shows_its_story(log, monkeypatch: pytest.MonkeyPatch) -> None:
    stream, logger = io.StringIO(), logging.Logger("apart")
    first, second = logging.StreamHandler(stream), logging.StreamHandler(stream)
    for handler in (first, second):
        handler.setFormatter(OwnFormatter())
        logger.addHandler(handler)
    log(logger, _nested())
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2 and all("ValueError" in line and "failed" in line for line in lines)
    assert SECRET not in stream.getvalue()


def test_nobody_can_begin_a_line_of_his_own() -> None:
    record = logging.LogRecord("n", logging.ERROR, "p", 1, "a\nforged %s", ("\nline",), None)
    assert OwnFormatter().format(record).endswith("ERROR a | forged  | line")
