"""`consilium server doctor` and `renew`: what is wrong is said before it hurts, with the command that mends it."""

import json
import os
import shutil
from pathlib import Path

import pytest

from common.secagg.key_pem import key_to_pem
from common.secagg.primitives import SigningKey
from tests.server.network.conftest import NAMES, Command, doctor, found, hospitals, init, tree, write_plan


def test_a_federation_that_is_ready(consilium: Command) -> None:
    found(consilium, *NAMES)
    before = tree()
    said = doctor(consilium, "ok", "roster 1, north, south, west")
    after = tree()
    after.pop("home/state/gateway/nginx.pid")  # empty: nginx looks whether it could write it
    assert "0 error(s)" in said and after == before
    for words in ("gateway.crt", "authority.crt", "nginx", "port 19443", "port 19092", "GB free", "clock", "3 rounds"):
        assert any(line.startswith("ok") and words in line for line in said.splitlines()), words


def test_before_anybody_is_enrolled(consilium: Command) -> None:
    init(consilium)
    said = doctor(consilium, "error", "no roster yet: `consilium server enrol")
    assert "no plan yet" in said and "No hospital is enrolled" in said


def test_a_roster_that_waits_for_signatures(consilium: Command) -> None:
    init(consilium)
    those = hospitals(*NAMES)
    requests = [each.request() for each in those.values()]
    consilium("server", "enrol", "home", *requests, "--plan", write_plan())
    consilium("server", "collect", "home", those["north"].sign("home/proposal.json"))
    doctor(consilium, "error", "roster 1 waits for signatures of south, west")
    consilium("server", "collect", "home", *(those[n].sign("home/proposal.json") for n in ("south", "west")))
    consilium("server", "enrol", "home", hospitals("east")["east"].request())
    doctor(consilium, "warning", "roster 2 waits for signatures of north, south, west")


@pytest.mark.parametrize("name", ["authority.key", "coordinator.key", "gateway.key", "link.key", "superexec.secret"])
def test_keys_that_others_may_read_or_that_are_missing(name: str, consilium: Command) -> None:
    found(consilium, *NAMES)
    path = Path("home/keys", name)
    path.chmod(0o640)
    doctor(consilium, "error", f"{name}: has mode 640")
    path.unlink()
    doctor(consilium, "error", f"{name}: cannot be read")


def test_a_folder_that_others_may_enter(consilium: Command) -> None:
    init(consilium)
    Path("home").chmod(0o755)
    doctor(consilium, "error", "home: has mode 755")


def test_files_that_do_not_fit_each_other(consilium: Command) -> None:
    found(consilium, *NAMES)
    shutil.copytree("home", "whole")

    def restored() -> Path:
        shutil.rmtree("home")
        shutil.copytree("whole", "home")
        return Path("home")

    write_plan("home/federation.toml", rounds=9)
    doctor(consilium, "warning", "federation.toml: differs from the plan in use")
    home = restored()
    (home / "keys/gateway.key").write_bytes((home / "keys/link.key").read_bytes())
    doctor(consilium, "error", "gateway.crt: belongs to another key")
    home = restored()
    (home / "plan.json").write_bytes(b"{}")
    doctor(consilium, "error", "plan.json")
    home = restored()
    (home / "gateway/sites.map").write_bytes(b"")
    doctor(consilium, "error", "sites.map: does not list the enrolled hospitals")
    home = restored()
    (home / "gateway/nginx.conf").write_bytes(b"server {")
    doctor(consilium, "error", "nginx refuses it")
    home = restored()
    (home / "invitations/north.invitation.json").unlink()
    doctor(consilium, "warning", "invitation of north: older than plan, roster or certificates")
    home = restored()
    roster = json.loads((home / "roster.json").read_text())
    roster["signatures"][0] = roster["signatures"][1]
    (home / "roster.json").write_text(json.dumps(roster))
    doctor(consilium, "error", "roster.json: the signature was not made with the key of north")
    roster["signers"], roster["signatures"] = roster["signers"][1:], roster["signatures"][1:]
    (home / "roster.json").write_text(json.dumps(roster))
    doctor(consilium, "error", "roster.json: is not signed by enough hospitals; north did not sign")
    home = restored()
    (home / "keys/coordinator.key").write_bytes(key_to_pem(SigningKey.new(os.urandom)))
    doctor(consilium, "error", "coordinator.key: is not the key that")
    home = restored()
    (home / "roster.json").write_bytes(b"")
    doctor(consilium, "error", "roster.json: not JSON text")
    (home / "coordinator.toml").write_bytes(b"?")
    doctor(consilium, "error", "coordinator.toml: not valid TOML")


def test_a_hospital_of_the_roster_that_left(consilium: Command) -> None:
    found(consilium, *NAMES, "east")
    consilium("server", "enrol", "home", "--leaves", "east")
    doctor(consilium, "warning", "east: in roster 1 but not enrolled any more; the other 3 are enough for a sum")
    consilium("server", "enrol", "home", "--revoke", "west")
    doctor(consilium, "error", "west: in roster 1 but not enrolled any more; 2 are left, a sum takes 3")


DAMAGES = {"empty": b"", "garbage": b"\xff\x00garbage{", "cut": None, "other": b"{}", "words": b"Of north:\n"}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["sites/north.crt", "certificates/authority.crt"])
def test_a_damaged_certificate_is_named_and_everything_else_is_said(name: str, damage: str, consilium: Command) -> None:
    found(consilium, *NAMES)
    (Path("home") / "invitations/south.invitation.json").unlink()
    path = Path("home") / name
    whole, new = path.read_bytes(), DAMAGES[damage]
    path.write_bytes(whole[: len(whole) // 2] if new is None else new + whole if damage == "words" else new)
    said = doctor(consilium, "error", f"{path.name}: not one certificate in PEM form")
    assert "ok       keys: all there" in said and "free; the SuperLink is not running" in said and "GB free" in said
    assert ("invitation of south: older" in said) == (name == "sites/north.crt")
