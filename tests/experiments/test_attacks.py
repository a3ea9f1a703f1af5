"""Every attack on the protocol is refused by its own check; without that check the outcome changes."""

import ast
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import client
import common.secagg
from experiments.attacks import document, limits, models, registry
from experiments.attacks.measure import noise, recovered
from experiments.attacks.registry import NOISE, Attack
from experiments.attacks.stage import Stage
from experiments.attacks.without import run_without, without
from experiments.cli import app

ATTACKS = registry.attacks()
each = pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name.replace(" ", "-"))

# Without its check each of these ends with the victim's values in the attacker's hands, or with a sum that had to be
# noisy: they are attacks, not noise.
DECISIVE = {
    "swapped keys",
    "same model again, with one site fewer",
    "label count from two survivor sets",
    "fewer than f + 2 contributors, by survivors",
    "a different survivor set to every member",
    "both secrets of one site",
    "one signature counted twice",
    "signer outside the committee",
    "a report's signature used as a cross-check",
    "two sums of one model in two sessions",
    "less noise than the plan's",
}
# Rules of a site's store rather than checks of a message.
STORE = {"session_erased"}
# No lie of another can bring these about: a site's own values, and what only the encoding can find.
WITHOUT_ATTACK = {"entry_out_of_range"}


@each
def test_refused_by_its_own_check(attack: Attack) -> None:
    outcome = registry.run(attack)
    assert outcome.refused, outcome.detail
    assert outcome.by == attack.guard


@each
def test_the_check_decides(attack: Attack) -> None:
    found = run_without(attack)
    if attack.guard == NOISE or attack.guard in STORE:
        assert found.kind == "kept"
    else:
        assert found.kind != "kept"
        assert found.by != attack.guard
    assert (found.kind == "succeeds" and "Recovered" in found.what) == (attack.name in DECISIVE), found.what


def test_every_check_has_an_attack() -> None:
    codes = set()
    for package in (common.secagg, client):
        for path in Path(package.__path__[0]).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "require":
                    codes.add(ast.literal_eval(node.args[1]))
    assert codes - WITHOUT_ATTACK == {attack.guard for attack in ATTACKS} - {NOISE} - STORE


def test_a_removed_check_comes_back() -> None:
    attack = next(attack for attack in ATTACKS if attack.name == "swapped keys")
    with without(attack.guard):
        assert not registry.run(attack).refused
    assert registry.run(attack).refused


def test_the_noise_measure_finds_an_honest_sum() -> None:
    assert not models.honest_sum(Stage()).worthless


def test_the_measures_can_say_both() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(-1000, 1000, 5000).astype(np.int32)
    masked = random.integers(0, 2**32, 5000, dtype=np.uint32)
    assert noise(masked, truth).worthless
    assert not noise(truth.view(np.uint32), truth).worthless  # not uniform
    assert not noise(masked, masked.view(np.int32)).worthless  # uniform, but it is the truth
    assert not recovered(truth.astype(np.int64), truth.astype(np.int64), "a site").worthless
    assert recovered(masked.astype(np.int64), truth.astype(np.int64), "a site").worthless


@pytest.mark.parametrize("limit", limits.LIMITS, ids=lambda limit: limit.__name__)
def test_a_known_limit_is_still_one(limit: object) -> None:
    assert not limit(Stage()).worthless


def test_the_document_is_that_of_a_fresh_run() -> None:
    written = Path(__file__).parents[2] / "docs" / "attacks.md"
    assert written.read_text() == document.text(), "run `python -m experiments.attacks docs/attacks.md`"


def test_the_command_lists_every_attack_and_says_whether_one_succeeds() -> None:
    result = CliRunner().invoke(app, ["attack", "coordinator", "--json"])
    rows = json.loads(result.stdout)
    assert result.exit_code == 0
    assert [row["attack"] for row in rows["consilium"]] == [attack.name for attack in ATTACKS]
    assert all(row["refused"] for row in rows["consilium"])
    assert all(row["succeeded"] for row in rows["flower_builtin"])
    assert {row["name"] for row in rows["flower_builtin"]} <= {attack.name for attack in ATTACKS}
    assert len(rows["limits"]) == len(limits.LIMITS)
    assert all("Recovered" in row["what"] for row in rows["limits"])


def test_the_terminal_shows_whole_codes_and_the_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    widest = [max(ATTACKS, key=lambda attack: len(getattr(attack, part))) for part in ("guard", "name")]
    codes = [attack.guard for attack in ATTACKS if attack.where == widest[0].where or attack.where == widest[1].where]
    chosen = tuple(attack for attack in ATTACKS if attack.guard in codes)
    monkeypatch.setattr(registry, "attacks", lambda: chosen)
    result = CliRunner().invoke(app, ["attack", "coordinator"], env={"COLUMNS": "80"})
    assert result.exit_code == 0
    assert all(code in result.stdout for code in codes)
    assert "alder is the victim" in " ".join(result.stdout.split())
    for each_limit in limits.played():
        assert each_limit.limit in " ".join(result.stdout.split())


def test_the_command_fails_where_an_attack_succeeds(monkeypatch: pytest.MonkeyPatch) -> None:
    few = tuple(attack for attack in ATTACKS if attack.name in ("swapped keys", "forged header"))
    monkeypatch.setattr(registry, "attacks", lambda: few)
    with without("card_not_signed"):
        result = CliRunner().invoke(app, ["attack", "coordinator"])
    assert result.exit_code == 1
    assert "SUCCEEDS" in result.stdout
