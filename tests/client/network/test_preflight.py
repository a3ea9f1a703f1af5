"""The preflight names each fault in its own words, goes on to the next check, and has one exit status."""

import json
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from client.approval.before import already_spent
from client.comparison import UNLIKE
from client.ledger.ledger import LEDGER, Ledger
from client.ledger.opening import BEGUN
from client.network import preflight, reach
from client.network.contact import of_response
from client.network.home import Home
from client.network.keys import tls_key
from client.secure.keys import load_signing_key
from common.errors import ConsiliumError, Refusal
from common.files import read_plan
from common.network import certificates
from common.secagg.primitives import SigningKey
from tests.client.ledgers import receipt
from tests.client.network.conftest import Command, invite, make_site, site, write_plan


def found(consilium: Command, *more: object) -> dict[str, list[tuple[str, str]]]:
    """about -> (level, words) of each finding."""
    said = json.loads(consilium("site", "check", "north", "--json", *more, status=1))
    grouped: dict[str, list[tuple[str, str]]] = {}
    for each in said:
        grouped.setdefault(each["about"], []).append((each["level"], each["words"]))
    return grouped


@pytest.fixture
def joined(consilium: Command) -> Command:
    consilium("site", "join", "north", invite(consilium)["north"])
    return consilium


def test_at_a_new_site_every_check_says_what_is_missing(consilium: Command) -> None:
    make_site("north")
    findings = found(consilium)
    assert "consilium site init" in findings["signing key"][0][1]
    assert findings["plan"][0][0] == "error" and "invitation" in findings["plan"][0][1]
    assert "consilium site join" in findings["connection"][0][1]
    assert findings["disk"][0][0] in ("ok", "warning") and findings["device"][0][0] == "ok"


def test_after_joining_what_a_person_has_to_decide_is_open(joined: Command) -> None:
    findings = found(joined)
    assert {"plan", "roster"} <= {about for about, each in findings.items() if each[0][0] == "error"}
    assert findings["network keys"][0][0] == findings["data"][0][0] == findings["certificate"][0][0] == "ok"
    said = joined("site", "check", "north", status=1)
    steps = said.partition("Next, in this order:")[2]
    assert all(f"consilium site {word}" in steps for word in ("sign", "accept", "review", "approve"))


def test_tables_that_break_the_contract_are_named(joined: Command) -> None:
    Path("north/rows.csv").write_text("patient,age\n1,40\n")
    level, words = found(joined)["data"][0]
    assert level == "error" and "rows.csv" in words


def test_a_policy_that_is_not_complete_is_told_once(joined: Command) -> None:
    Path("north/policy.toml").write_text("[budget]\n")
    findings = found(joined)
    naming = [about for about, each in findings.items() for _, words in each if "allow_unnoised" in words]
    assert naming == ["policy"]


def test_an_open_key_file_is_named_with_its_remedy(joined: Command) -> None:
    Home.of(site()).tls_key.chmod(0o644)
    level, words = found(joined)["network keys"][0]
    assert level == "error" and "chmod 600" in words


def _certify(days: int, ago: int) -> None:
    """This hospital's certificate is one for `days` days that was made `ago` days ago."""
    home = Home.of(site())
    now = datetime.now(UTC) - timedelta(days=ago)
    authority_key, authority = certificates.new_authority("test", now=now)
    request = certificates.certificate_request("north", tls_key(site()))
    pem = certificates.site_certificate(authority_key, authority, request, site="north", now=now, days=days)
    home.authority.write_bytes(authority)
    home.certificate.write_bytes(pem)


def test_a_certificate_is_announced_before_its_end_and_refused_after_it(joined: Command) -> None:
    _certify(days=397, ago=377)
    findings = found(joined)
    assert findings["network keys"][0][0] == "ok" and findings["certificate"][0][0] == "warning"
    assert "in 19 days" in findings["certificate"][0][1] or "in 20 days" in findings["certificate"][0][1]
    _certify(days=30, ago=31)
    level, words = found(joined)["network keys"][0]
    assert level == "error" and "expired on" in words


def test_a_pause_and_a_missing_gpu_are_errors(joined: Command) -> None:
    joined("site", "pause", "north")
    path = Path("north/site.toml")
    path.write_text(path.read_text().replace("[site]\n", '[site]\ndevice = "cuda:7"\n'))
    findings = found(joined)
    assert "consilium site resume" in findings["brake"][0][1]
    assert findings["device"][0][0] == "error" and "cuda:7" in findings["device"][0][1]


def test_what_was_unlike_the_others_is_told_again(joined: Command) -> None:
    plan, words = read_plan(Path("north/plan.json")), "age looks like mo; check its unit."
    content = {"plan_hash": plan.hash, "findings": [{"column": "age", "kind": "unit", "words": words}]}
    (site().folder / UNLIKE).write_text(json.dumps(content))
    assert ("warning", f"Unlike the other hospitals, when it was last compared: {words}") in found(joined)["data"]
    assert f"Unlike the other hospitals: {words}" in joined("site", "status", "north", status=3)
    assert json.loads(joined("site", "status", "north", "--json", status=3))["unlike"] == [words]


def test_a_ledger_that_was_put_back_from_a_copy_is_named(joined: Command) -> None:
    assert found(joined)["ledger"] == [("ok", "It begins with the first release.")]
    path, key = site().folder / LEDGER, load_signing_key(site())
    with Ledger(path, key) as ledger:
        ledger.write_receipt(receipt(1))
    assert found(joined)["ledger"][0][0] == "ok"
    copy = path.read_bytes()
    with Ledger(path, key) as ledger:
        ledger.write_receipt(receipt(2))
    path.unlink()
    path.write_bytes(copy)
    path.chmod(0o600)
    level, words = found(joined)["ledger"][0]
    assert level == "error" and "before the site starts" in words and "ledger.sqlite" in words


def _elsewhere(path: Path) -> None:
    """As after the folder was copied: the same file, in a place of which its last record knows nothing."""
    for place in path.parent.glob(f"{path.name}.place-*"):
        place.unlink()
        place.touch()


def _under_another_key(path: Path) -> None:
    _gone(path)
    (site().keys / BEGUN).unlink()
    Ledger(path, SigningKey.new(lambda size: bytes(size))).close()


def _ahead(path: Path) -> None:
    with Ledger(path, load_signing_key(site()), now=lambda: time.time() + 600) as ledger:
        ledger.write_receipt(receipt(2))


def _gone(path: Path) -> None:
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()


@pytest.mark.parametrize("happened", [_elsewhere, _under_another_key, _ahead, _gone])
def test_a_ledger_that_a_client_would_refuse_is_an_error(happened: Callable[[Path], None], joined: Command) -> None:
    path, key, begun = site().folder / LEDGER, load_signing_key(site()), site().keys / BEGUN
    with Ledger(path, key, begun=begun) as ledger:
        ledger.write_receipt(receipt(1))
    assert found(joined)["ledger"][0][0] == "ok"
    happened(path)
    with pytest.raises(Refusal) as caught, Ledger(path, key, begun=begun) as ledger:
        ledger.write_receipt(receipt(2))
    level, words = found(joined)["ledger"][0]
    told = str(caught.value).partition(":")[2].split(".")[0]
    assert level == "error" and told.split(" s behind")[-1] in words


def test_a_ledger_that_is_gone_does_not_make_a_plan_cheap(joined: Command) -> None:
    path = site().folder / LEDGER
    Ledger(path, load_signing_key(site()), begun=site().keys / BEGUN).close()
    already_spent(site(), read_plan(Path("north/plan.json")))
    _gone(path)
    with pytest.raises(Refusal, match=r"is not the ledger that was last written in this place"):
        already_spent(site(), read_plan(Path("north/plan.json")))


def test_a_stub_app_that_is_not_there_is_named(joined: Command) -> None:
    level, words = found(joined, "--app", "nowhere")["app"][0]
    assert level == "error" and words.startswith("nowhere: ")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_named(joined: Command) -> None:
    Path("north/keys").chmod(0o500)
    try:
        assert any(level == "error" for level, _ in found(joined)["disk"])
    finally:
        Path("north/keys").chmod(0o700)


@pytest.mark.parametrize(
    ("off_s", "level", "words"),
    [(1, "ok", "agrees"), (-20, "ok", "behind"), (100, "warning", "ahead of"), (-600, "error", "behind")],
)
def test_clocks(off_s: int, level: str, words: str) -> None:
    now = datetime(2026, 11, 23, tzinfo=UTC)
    date = format_datetime(now - timedelta(seconds=off_s), usegmt=True)
    (said,) = reach._clock(of_response(httpx.Response(401, headers={"date": date}), now=now))
    assert said[0] == level and said[1] == "clock" and words in said[2]


def test_a_full_disk(joined: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = preflight.shutil.disk_usage("/")
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda path: usage._replace(free=10 * 2**20))
    assert found(joined)["disk"][0][0] == "error"


def test_with_a_plan_only_the_tables_are_looked_at(consilium: Command) -> None:
    make_site("north")
    write_plan()
    report: dict[str, Any] = json.loads(consilium("site", "check", "north", "--plan", "federation.toml", "--json"))
    assert report["rows"] == 90
    assert "90 rows" in consilium("site", "check", "north/rows.csv", "--plan", "federation.toml")
    with pytest.raises(ConsiliumError, match=r"rows\.csv: a bare table has no connection .*--plan"):
        consilium("site", "check", "north/rows.csv")
