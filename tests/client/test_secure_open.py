"""Sessions at a site: each with secrets of its own, and not without end."""

from pathlib import Path

import pytest

from client.secure import answers as secure
from client.secure.answers import SecureSite
from client.secure.store import MemoryVault
from client.sessions import close_sessions
from common.errors import Refusal
from common.secagg.encoding import decode, encode
from common.secagg.messages import OpenSession, SignedCard
from common.secagg.primitives import digest
from tests.secure import build


@pytest.fixture
def site(tmp_path: Path) -> tuple[SecureSite, list[float], list[bytes]]:
    """A site, the levels that it declares, and three requests for sessions."""
    federation = build(tmp_path, 3)
    session = federation.session("south")
    site, plan = session.secure, bytes.fromhex(federation.plan.hash)
    requests = [encode(OpenSession(bytes([n]) * 32, digest(site.party.roster), plan)) for n in range(3)]
    levels = list(session.levels.values())
    close_sessions()
    return SecureSite(site.plan, site.party, MemoryVault()), levels, requests


def test_two_sessions_share_no_secret_and_one_has_one_card(site) -> None:
    opened, levels, requests = site
    first, second = (decode(SignedCard, opened.open(request, levels)).card for request in requests[:2])
    assert first.exchange_key != second.exchange_key and first.levels == second.levels
    assert decode(SignedCard, opened.open(requests[0], levels)).card == first


def test_sessions_are_bounded(site, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, levels, requests = site
    monkeypatch.setattr(secure, "MOST_SESSIONS", 2)
    for request in requests[:2]:
        opened.open(request, levels)
    with pytest.raises(Refusal) as refusal:
        opened.open(requests[2], levels)
    assert refusal.value.code == "too_many_sessions"
    assert opened.open(requests[0], levels), "one that is open is not refused"
