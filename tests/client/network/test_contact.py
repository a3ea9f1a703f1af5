"""Every answer of a gateway, and every way of getting none, has one meaning, in words that say what to do."""

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import httpx
import pytest

from client.network import contact
from common.errors import ConsiliumError

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def answer(status: int, content: object = "", **headers: str) -> httpx.Response:
    text = content if isinstance(content, str) else json.dumps(content)
    return httpx.Response(status, text=text, headers=headers)


@pytest.mark.parametrize(
    ("response", "code"),
    [
        (answer(200), contact.OK),
        (answer(400, {"code": 2003, "detail": "Invalid heartbeat interval."}), contact.OK),
        (answer(412, {"code": 2004, "detail": "x"}), contact.UNKNOWN),
        (answer(401, {"detail": "Invalid SuperNode authentication"}), contact.UNKNOWN),
        (answer(400, "<html>The SSL certificate error</html>"), contact.CERTIFICATE),
        (answer(403, "<html>403 Forbidden</html>"), contact.REFUSED),
        (answer(503), contact.BUSY),
        (answer(429), contact.BUSY),
        (answer(502), contact.BEHIND),
        (answer(504), contact.BEHIND),
        (answer(500, "[]"), contact.ODD),
    ],
)
def test_answers(response: httpx.Response, code: str) -> None:
    found = contact.of_response(response, now=NOW)
    assert (found.code, found.ok, found.clock_s) == (code, code == contact.OK, None)
    assert found.words.endswith(".")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("[Errno 111] Connection refused", contact.UNREACHABLE),
        ("timed out", contact.UNREACHABLE),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: unable to get issuer", contact.UNTRUSTED),
        ("[SSL: SSLV3_ALERT_CERTIFICATE_EXPIRED] sslv3 alert certificate expired", contact.CERTIFICATE),
    ],
)
def test_no_answer(text: str, code: str) -> None:
    found = contact.of_error(httpx.ConnectError(text), now=NOW)
    assert found.code == code and text in found.words


@pytest.mark.parametrize("off_s", [-600, -3, 0, 250])
def test_the_clock_is_this_machines_minus_the_gateways(off_s: int) -> None:
    there = format_datetime(NOW - timedelta(seconds=off_s), usegmt=True)
    assert contact.of_response(answer(403, date=there), now=NOW).clock_s == off_s


def test_the_last_contact_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert contact.read_contact(tmp_path) is None
    last = contact.of_response(answer(503), now=NOW)
    contact.write_contact(tmp_path, last)
    assert contact.read_contact(tmp_path) == last
    (tmp_path / contact.CONTACT).write_text("{}")
    with pytest.raises(ConsiliumError, match=r"contact\.json: is damaged"):
        contact.read_contact(tmp_path)
