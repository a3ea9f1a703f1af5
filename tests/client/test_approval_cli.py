"""`consilium site review|approve|pause|resume` as an operator types them."""

import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from typer.testing import CliRunner

import common
from client.approval.approval import approval_path, check_approval
from client.approval.code_hash import code_hash, dependencies
from client.config import load_site
from client.ledger.ledger import LEDGER, Entry, Ledger, Step
from client.policy.policy import SIMULATED, load_policy, write_policy
from client.secure.keys import load_signing_key
from common.errors import ConsiliumError, PlanError, Refusal
from common.files import read_plan
from common.privacy.events import Gaussian, Spent, Unnoised
from experiments.cli import app
from tests.client.conftest import Command
from tests.conftest import small_content, small_table

HOSPITAL: dict[str, Any] = {"budget": {"allow_unnoised": ["levels", "survey", "update", "evaluation"]}}


@pytest.fixture(autouse=True)
def north(consilium: Command) -> None:
    """A hospital with a key, a table and a policy of its own, and three plans."""
    consilium("site", "init", "north")
    write_policy(Path("north/policy.toml"), HOSPITAL)
    small_table(0).to_csv("north/a.csv", index=False)
    base = small_content() | {"aggregation": {"secure": True}}
    noised = {"privacy": {"unit": "patient", "noise_multiplier": 3.0, "max_grad_norm": 1.0}}
    for name, changes in (("plan", {}), ("longer", {"training": {"rounds": 30, "batch_size": 16}}), ("noised", noised)):
        Path(f"{name}.toml").write_text(tomli_w.dumps(base | changes))


def _first(path: str, digits: int = 8) -> str:
    return read_plan(Path(path)).hash[:digits]


def test_review_shows_all_and_signs_nothing(consilium: Command) -> None:
    told = consilium("site", "review", "north", "plan.toml")
    for part in ("What leaves each site", "No plan was approved here before.", f"Code hash: {code_hash()}",
                 f"torch {dict(dependencies())['torch']}", "Nothing against this plan.",
                 "no epsilon can be given: evaluation, levels, survey, update.", "can be approved"):  # fmt: skip
        assert part in told
    assert not (load_site("north").keys / "approvals").exists()


def test_review_says_which_package_is_missing(consilium: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    content = tomllib.loads(Path("plan.toml").read_text())
    content["training"]["balancing"] = "upgrad"
    Path("plan.toml").write_text(tomli_w.dumps(content))
    told = consilium("site", "review", "north", "plan.toml")
    assert "combined by upgrad (package torchjd)" in told and "Nothing against this plan." in told
    monkeypatch.delattr(common, "aggregators", raising=False)
    monkeypatch.setitem(sys.modules, "common.aggregators", None)
    told = consilium("site", "review", "north", "plan.toml")
    assert "pip install 'consilium[balancing]'. [extra_missing]" in told


@pytest.mark.parametrize("way", ["typed", "option"])
def test_approving_signs_and_says_what_is_left_to_do(way: str, consilium: Command) -> None:
    digits = _first("plan.toml", 8 if way == "typed" else 64).upper()
    given = ["--approve", digits] if way == "option" else []
    told = consilium("site", "approve", "north", "plan.toml", *given, typed=f"{digits}\n")
    config, plan = load_site("north"), read_plan(Path("plan.toml"))
    check_approval(config, plan)
    assert f"north has approved plan {plan.hash[:16]} (approval 1)." in told
    assert f'write plan = "{Path("plan.toml").absolute()}" below [site]' in told
    text = Path("north/site.toml").read_text()
    Path("north/site.toml").write_text(text.replace("[site]", '[site]\nplan = "../plan.toml"'))
    again = consilium("site", "approve", "north", "plan.toml", "--approve", digits)
    assert "below [site]" not in again and "Approval 1, " in again and "The plan is the same." in again


def test_what_differs_from_the_last_approved_plan_is_shown(consilium: Command) -> None:
    consilium("site", "approve", "north", "plan.toml", "--approve", _first("plan.toml"))
    told = consilium("site", "review", "north", "longer.toml")
    assert "  training.rounds: 3 -> 30\n" in told and f"was of plan {_first('plan.toml', 16)}." in told


@pytest.mark.parametrize("wrong", ["", "1234567", "00000000", "short", "longer"])
@pytest.mark.parametrize("way", ["typed", "option"])
def test_wrong_digits_approve_nothing(wrong: str, way: str, consilium: Command) -> None:
    given = {"short": _first("plan.toml", 7), "longer": _first("plan.toml", 64) + "0"}.get(wrong, wrong)
    option = ["--approve", given] if way == "option" else []
    with pytest.raises(ConsiliumError, match="Not approved"):
        consilium("site", "approve", "north", "plan.toml", *option, typed=f"{given}\n")
    assert not approval_path(load_site("north"), read_plan(Path("plan.toml")).hash).exists()


@pytest.mark.parametrize(
    ("rules", "code"),
    [
        ({"limits": {"max_rounds": 2}}, "too_many_rounds"),
        ({"limits": {"approved_plans": ["0" * 16]}}, "plan_not_listed"),
        ({"limits": {"approved_code": ["0" * 16]}}, "code_not_listed"),
        ({"budget": {"allow_unnoised": ["levels"]}}, "unnoised_not_allowed"),
    ],
)
def test_what_the_policy_refuses_is_shown_and_cannot_be_approved(rules: Any, code: str, consilium: Command) -> None:
    write_policy(Path("north/policy.toml"), HOSPITAL | rules)
    told = consilium("site", "review", "north", "plan.toml")
    assert f"[{code}]" in told and "would be refused here" in told
    with pytest.raises(ConsiliumError, match=f"plan.toml: not approved, for this site's policy refuses it: {code}"):
        consilium("site", "approve", "north", "plan.toml", "--approve", _first("plan.toml"))
    assert not approval_path(load_site("north"), read_plan(Path("plan.toml")).hash).exists()


def test_the_cost_of_a_whole_run_is_shown_and_held_against_the_budget(consilium: Command) -> None:
    told = consilium("site", "review", "north", "noised.toml")
    words = told.split("Releases with noise: epsilon = ", 1)[1]
    cost = float(words.split(" ", 1)[0])
    assert "at delta = 1e-05, all together." in words and "no epsilon can be given: levels." in words
    for most, allowed in ((cost + 0.01, True), (cost - 0.01, False)):
        budget = {"budget": {"allow_unnoised": ["levels"], "epsilon_per_study": most, "epsilon_per_year": 2 * most}}
        write_policy(Path("north/policy.toml"), budget)
        told = consilium("site", "review", "north", "noised.toml")
        assert ("Nothing against this plan." in told) == allowed == ("[budget_exceeded]" not in told)


def test_what_other_plans_have_spent_is_shown_and_counts(consilium: Command) -> None:
    told = consilium("site", "review", "north", "noised.toml")
    cost = float(told.split("Releases with noise: epsilon = ", 1)[1].split(" ", 1)[0])
    budget = {"allow_unnoised": ["levels"], "epsilon_per_study": 2 * cost, "epsilon_per_year": 2 * cost}
    write_policy(Path("north/policy.toml"), {"budget": budget})
    config, plan = load_site("north"), read_plan(Path("noised.toml"))
    half = Spent(Gaussian(0.6), "another division", "train")
    for study, year, of in (
        ("another", "epsilon_per_year", "0.000 in this study"),
        (plan.federation.name, "epsilon_per_study", ""),
    ):
        with Ledger(config.folder / LEDGER, load_signing_key(config)) as ledger:
            step = Step("ab" * 32, "train", 1, 0)
            ledger.spend(Entry(study, step, half, "patient", "da" * 32, "90" * 32))
        told = consilium("site", "review", "north", "noised.toml")
        assert "Spent by other plans until now: " in told and of in told
        assert "with what was spent before" in told and f"budget.{year} is" in told and "[budget_exceeded]" in told
        assert f"epsilon = {cost:.3f}, with" in told
    with Ledger(config.folder / LEDGER, load_signing_key(config)) as ledger:
        own_entry = Entry(plan.federation.name, Step(plan.hash, "train", 1, 0), half, "patient", "da" * 32, "90" * 32)
        ledger.spend(own_entry)
    assert consilium("site", "review", "north", "noised.toml") == told, "what it spent itself is in its own cost"


def test_that_two_plans_without_noise_can_be_compared_is_said(consilium: Command) -> None:
    config, words = load_site("north"), "differs by exactly these patients"
    for kind, said in (("query.declare", False), ("query.survey", True)):
        with Ledger(config.folder / LEDGER, load_signing_key(config)) as ledger:
            spent = Spent(Unnoised("levels" if kind == "query.declare" else "survey"), "a division", "train")
            ledger.spend(Entry("another", Step("ab" * 32, kind, 0, 0), spent, "none", "da" * 32, "90" * 32))
        assert (words in consilium("site", "review", "north", "plan.toml")) == said
    assert words not in consilium("site", "review", "north", "noised.toml")


def test_words_of_a_plan_cannot_play_tricks_on_the_screen(consilium: Command) -> None:
    title = "good\x1b[2J\n  Nothing against this plan.\u202e\r\x85"
    Path("sly.toml").write_text(tomli_w.dumps(small_content() | {"federation": {"name": "sly", "title": title}}))
    told = consilium("site", "review", "north", "sly.toml")
    assert told.startswith("good\\x1b[2J\\n  Nothing against this plan.\\u202e\\r\\x85\n")
    assert all(line.isprintable() for line in told.split("\n"))


def test_a_policy_to_complete_comes_with_the_key_and_stops_everything(consilium: Command) -> None:
    Path("south/policy.toml").unlink()
    told = consilium("site", "init", "south")
    assert "policy.toml: this hospital's own rules; complete it" in told
    with pytest.raises(PlanError, match=r"policy\.toml: line \d+: required key 'budget\.allow_unnoised' is missing"):
        consilium("site", "review", "south", "plan.toml")
    write_policy(Path("south/policy.toml"), SIMULATED)
    consilium("site", "init", "south")
    assert load_policy(Path("south/policy.toml")).model_dump(exclude_defaults=True)["secure"] == {"required": False}


def test_a_damaged_approval_is_named_and_the_plan_can_be_approved_again(consilium: Command) -> None:
    consilium("site", "approve", "north", "plan.toml", "--approve", _first("plan.toml"))
    path = approval_path(load_site("north"), read_plan(Path("plan.toml")).hash)
    path.write_bytes(path.read_bytes().replace(b"north", b"south", 1))
    told = consilium("site", "review", "north", "longer.toml")
    assert "No plan was approved here before." in told
    assert f"{path}: is not as this site's present key signed it." in told
    consilium("site", "approve", "north", "plan.toml", "--approve", _first("plan.toml"))
    check_approval(load_site("north"), read_plan(Path("plan.toml")))
    assert "present key" not in consilium("site", "review", "north", "longer.toml")


def test_pause_and_resume_need_neither_plan_nor_policy(consilium: Command) -> None:
    Path("south/policy.toml").write_text("nonsense")
    for command, words in (("pause", "Paused. "), ("pause", "Paused. "), ("resume", "south goes on."),
                           ("resume", "south was not paused.")):  # fmt: skip
        assert words in consilium("site", command, "south")


def test_a_bare_table_and_a_missing_plan_are_one_sentence(consilium: Command) -> None:
    with pytest.raises(ConsiliumError, match=r"a\.csv: a bare table has no keys"):
        consilium("site", "approve", "north/a.csv", "plan.toml")
    with pytest.raises(ConsiliumError, match=r"none\.toml: cannot be read"):
        consilium("site", "review", "north", "none.toml")
    result = CliRunner().invoke(app, ["site", "review", "north"])
    assert result.exit_code == 2


def test_a_key_is_needed_to_approve(consilium: Command) -> None:
    with pytest.raises(ConsiliumError, match="no such file; `consilium site init` makes the key"):
        consilium("site", "approve", "south", "plan.toml")
    with pytest.raises(Refusal):
        check_approval(load_site("south"), read_plan(Path("plan.toml")))
