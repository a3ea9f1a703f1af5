"""Approval of a plan and the brake: what is signed, what no longer counts, and what outlasts a restart."""

import fcntl
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from client import brake
from client.approval import approval
from client.approval.approval import (
    Dependency,
    SignedApproval,
    approval_path,
    approve,
    approved_plan,
    check_approval,
    last_approved,
)
from client.approval.code_hash import code_hash
from client.approval.difference import difference
from client.config import SiteConfig, load_site
from client.refusals import CODES
from client.secure.keys import load_signing_key, make_keys
from common.errors import ConsiliumError, Refusal
from common.files import write_atomic
from common.plan import Plan
from common.secagg.json_view import to_json
from tests.client.conftest import make_site


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SiteConfig:
    monkeypatch.chdir(tmp_path)
    for name in ("north", "south"):
        make_site(name)
        make_keys(load_site(name), os.urandom)
    return load_site("north")


def _code(config: SiteConfig, plan: Plan) -> str:
    with pytest.raises(Refusal) as caught:
        check_approval(config, plan)
    assert caught.value.code in CODES and "\n" not in str(caught.value)
    return caught.value.code


def test_an_approval_is_of_one_plan_and_outlasts_the_process(config: SiteConfig, plan: Plan, make_plan) -> None:
    assert _code(config, plan) == "plan_not_approved" and last_approved(config) is None
    given = approve(config, plan)
    check_approval(config, plan)
    assert last_approved(config) == given and approved_plan(given) == plan
    assert (given.plan_hash, given.code_hash, given.number) == (plan.hash, code_hash(), 1)
    assert f"Plan hash: {plan.hash}" in given.words and "What leaves each site" in given.words
    assert approval_path(config, plan.hash).stat().st_mode & 0o777 == 0o600
    assert approval_path(config, plan.hash).parent.stat().st_mode & 0o777 == 0o700
    other = make_plan(training={"rounds": 4})
    assert _code(config, other) == "plan_not_approved"
    assert approve(config, other).number == 2
    check_approval(config, plan)
    assert last_approved(config).plan_hash == other.hash


def test_every_changed_byte_of_an_approval_is_found(config: SiteConfig, plan: Plan) -> None:
    approve(config, plan)
    path = approval_path(config, plan.hash)
    whole = path.read_bytes()
    places = {*range(0, len(whole), 197), *range(100), *range(len(whole) - 150, len(whole))}
    for place in sorted(places):
        for flip in (0x01, 0x20, 0x80):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ flip]) + whole[place + 1 :])
            assert _code(config, plan) == "approval_damaged", (place, flip)
    for data in (b"", whole[:-1], whole + b"\n", whole[:1000]):
        path.write_bytes(data)
        assert _code(config, plan) == "approval_damaged"
        assert last_approved(config) is None
    path.write_bytes(whole)
    check_approval(config, plan)


def test_an_approval_of_another_site_plan_or_key_does_not_count(config: SiteConfig, plan: Plan, make_plan) -> None:
    other, south = make_plan(training={"rounds": 4}), load_site("south")
    for site, approved in ((config, other), (south, plan)):
        approve(site, approved)
        data = approval_path(site, approved.hash).read_bytes()
        write_atomic(approval_path(config, plan.hash), data, private=True)
        assert _code(config, plan) == "approval_damaged"


def test_a_new_key_needs_new_approvals(config: SiteConfig, plan: Plan, make_plan) -> None:
    approve(config, plan)
    for name in ("signing.key", "approved.json"):
        (config.keys / name).unlink()
    make_keys(config, os.urandom)
    assert _code(config, plan) == "approval_damaged" and last_approved(config) is None
    assert approve(config, make_plan(training={"rounds": 4})).number == 1
    approve(config, plan)
    check_approval(config, plan)


def _sign(config: SiteConfig, changed: approval.Approval) -> None:
    """What this site's own operator could have signed at another time."""
    signed = SignedApproval(changed, load_signing_key(config).sign("plan", changed))
    write_atomic(approval_path(config, changed.plan_hash), to_json(signed), private=True)


def test_other_code_or_another_package_needs_a_new_approval(config: SiteConfig, plan: Plan) -> None:
    given = approve(config, plan)
    first = given.dependencies[0]
    cases = {
        "the code is": replace(given, code_hash="0" * 64),
        f"{first.name} is {first.version}, not 0.0.1": replace(
            given, dependencies=(Dependency(first.name, "0.0.1"), *given.dependencies[1:])
        ),
        f"{first.name} is {first.version}, not absent": replace(given, dependencies=given.dependencies[1:]),
        "zzz is not installed, not 1": replace(given, dependencies=(*given.dependencies, Dependency("zzz", "1"))),
    }
    for words, changed in cases.items():
        _sign(config, changed)
        with pytest.raises(Refusal, match=words) as caught:
            check_approval(config, plan)
        assert caught.value.code == "code_changed"
    approve(config, plan)
    check_approval(config, plan)


def test_without_a_key_nothing_is_approved(config: SiteConfig, plan: Plan) -> None:
    (config.keys / "signing.key").unlink()
    with pytest.raises(ConsiliumError, match=r"signing\.key: no such file; `consilium site init` makes the key"):
        approve(config, plan)
    assert not approval_path(config, plan.hash).exists()


def test_differences_are_told_key_by_key(plan: Plan, make_plan) -> None:
    assert difference(plan, plan) == []
    assert difference(plan, make_plan(training={"rounds": 300})) == ["training.rounds: 3 -> 300"]
    content = json.loads(plan.canonical)
    tasks = [*content["tasks"][1:], content["tasks"][0] | {"name": "dead", "label": "dead"}]
    features = [content["features"][0] | {"range": [0, 130]}, *reversed(content["features"][1:])]
    assert difference(plan, make_plan(tasks=tasks, features=features, aggregation={"secure": True})) == [
        "features.age.range: [0.0, 120.0] -> [0.0, 130.0]",
        "tasks.death: is gone",
        "aggregation.secure: false -> true",
        "tasks.dead: is new, name = dead, kind = binary, label = dead, unit = 1",
        "features: the same in another order, age, ward, smoker, sbp",
    ]


def test_a_pause_outlasts_the_process_and_is_asked_for_anew(config: SiteConfig) -> None:
    brake.check(config)
    assert not brake.resume(config)
    pause = "from client import brake, config; brake.pause(config.load_site('north'))"
    root = Path(approval.__file__).parents[1]
    busy = os.open(config.keys, os.O_RDONLY)
    fcntl.flock(busy, fcntl.LOCK_EX)  # another command is in the middle of something
    subprocess.run([sys.executable, "-c", pause], check=True, timeout=60, env=os.environ | {"PYTHONPATH": str(root)})
    os.close(busy)
    for _ in range(2):
        with pytest.raises(Refusal) as caught:
            brake.check(load_site("north"))
        assert caught.value.code == "paused" in CODES
        assert brake.pause(config) == config.keys / "PAUSED"
    assert (config.keys / "PAUSED").stat().st_mode & 0o777 == 0o600
    (config.keys / "RESUMED").mkdir()
    with pytest.raises(ConsiliumError, match=r"PAUSED: cannot be moved to RESUMED: "):
        brake.resume(config)
    (config.keys / "RESUMED").rmdir()
    assert brake.resume(config) and not brake.resume(config)
    brake.check(config)
    brake.check(load_site("south"))


def test_whatever_stands_in_the_place_of_the_brake_holds(config: SiteConfig) -> None:
    path = config.keys / "PAUSED"
    path.symlink_to("nowhere")
    assert brake.is_paused(config)
    path.unlink()
    path.mkdir()
    assert brake.is_paused(config)
    path.rmdir()
    assert not brake.is_paused(config)


def test_a_site_without_keys_can_be_paused(tmp_path: Path) -> None:
    make_site(str(tmp_path / "west"))
    path = tmp_path / "west" / "site.toml"
    path.write_text(path.read_text().replace(str(tmp_path / "west"), "west"))
    config = load_site(path)
    brake.pause(config)
    assert brake.is_paused(config) and config.keys.stat().st_mode & 0o777 == 0o700
    make_keys(config, os.urandom)
    assert brake.is_paused(config)
