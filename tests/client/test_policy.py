"""policy.toml: what is read, what is refused, with the line on which it stands; and what a plan is refused for."""

import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from client.policy.policy import (
    SIMULATED,
    Policy,
    changed_on_disk,
    check_hours,
    check_plan,
    check_unchanged,
    load_policy,
    objections,
    write_policy,
    write_template,
)
from client.refusals import CODES
from common.errors import PlanError, Refusal
from common.plan import Plan
from common.privacy.events import UNNOISED_KINDS

LEAST = "[budget]\nallow_unnoised = []\n"
CODE = "c0de" * 16
SECURE = {"secure": True, "min_sites": 3, "clip_norm": 0.5}
PRIVATE = {"unit": "patient", "target_epsilon": 2.0}


@pytest.fixture
def read(tmp_path: Path) -> Callable[[str], Policy]:
    def load(text: str) -> Policy:
        (tmp_path / "policy.toml").write_bytes(text.encode())
        return load_policy(tmp_path / "policy.toml")

    return load


def _policy(**sections: dict[str, Any]) -> Policy:
    return Policy.model_validate({"budget": {"allow_unnoised": list(UNNOISED_KINDS)}} | sections)


def test_defaults_are_those_a_small_hospital_can_keep(read) -> None:
    policy = read(LEAST)
    assert policy.secure.required and policy.secure.min_cohort == 3 and policy.limits.min_patients == 10
    assert (policy.limits.max_clip_norm, policy.limits.max_grad_norm, policy.limits.max_rounds) == (1.0, 1.0, 200)
    assert (policy.budget.delta, policy.budget.epsilon_per_study, policy.budget.epsilon_per_year) == (1e-5, 4.0, 8.0)
    assert policy.limits.tasks is policy.limits.features is policy.limits.columns is policy.limits.hours is None
    assert policy.budget.allow_unnoised == ()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", ": required key 'budget' is missing: write 'allow_unnoised' in it; only this hospital can decide"),
        ("# a\n\n[budget]\n# b\n", ": line 3: required key 'budget.allow_unnoised' is missing: only this hospital"),
        (LEAST + "\n# x\n[limits]\nmax_round = 3\n", ": line 6: unknown key 'limits.max_round'; docs/policy.md lists"),
        ("hours = 1\n" + LEAST, ": line 1: unknown key 'hours'"),
        (LEAST + "[limit]\n", ": line 3: unknown key 'limit'"),
        (LEAST + "[secure]\nrequired = 1\n", ": line 4: 'secure.required' is 1, but has to be true or false"),
        (LEAST + "[secure]\nmin_cohort = 2\n", ": line 4: 'secure.min_cohort' is 2, but should be greater than"),
        (LEAST + "[secure]\ncolluding_sites = -1\n", ": line 4: 'secure.colluding_sites' is -1"),
        (LEAST + '[secure]\nblocked = ["A b"]\n', ": line 4: 'secure.blocked' is 'A b'"),
        (LEAST + "[secure]\nother_survivors = 2\n", ": line 4: 'secure.other_survivors': found 2; allowed is at most"),
        (LEAST + "[limits]\nmax_clip_norm = 0.0\n", ": line 4: 'limits.max_clip_norm' is 0.0"),
        (LEAST + "[limits]\nmax_grad_norm = inf\n", ": line 4: 'limits.max_grad_norm' is inf"),
        (LEAST + "[limits]\nmax_rounds = 3.0\n", ": line 4: 'limits.max_rounds' is 3.0, but has to be a whole number"),
        (LEAST + "[limits]\n\nmin_patients = 4\n", ": line 5: 'limits.min_patients' is 4"),
        (LEAST + "[limits]\ntasks = []\n", ": line 4: 'limits.tasks' is [], but"),
        (LEAST + "[limits]\ncolumns = []\n", ": line 4: 'limits.columns' is [], but"),
        (LEAST + "[limits]\nfeatures = 'a'\n", ": line 4: 'limits.features' is 'a', but has to be a list in [ ]"),
        (LEAST + "[limits]\nhours = '20-6'\n", ": line 4: 'limits.hours': found '20-6'; allowed are two different"),
        (LEAST + "[limits]\nhours = '24:00-06:00'\n", ": line 4: 'limits.hours': found '24:00-06:00'"),
        (LEAST + "[limits]\nhours = '06:00-06:00'\n", ": line 4: 'limits.hours': found '06:00-06:00'"),
        (
            LEAST + "[limits]\nhours = 20:00:00\n",
            ": line 4: 'limits.hours' is datetime.time(20, 0), but has to be text",
        ),
        (LEAST + "[limits]\napproved_plans = ['abc']\n", ": line 4: 'limits.approved_plans' is 'abc'"),
        (LEAST + "[limits]\napproved_code = [\n 'ABCDEF0123456789',\n]\n", ": line 4: 'limits.approved_code' is 'ABC"),
        (LEAST + "delta = 0.5\n", ": line 3: 'budget.delta' is 0.5"),
        (LEAST + "epsilon_per_year = nan\n", ": line 3: 'budget.epsilon_per_year' is nan, but should be a finite"),
        (LEAST + "epsilon_per_study = 9\n", ": line 3: 'budget.epsilon_per_study': found 9; allowed is at most eps"),
        (LEAST + "epsilon_per_year = 1.5\n", ": line 3: 'budget.epsilon_per_year': found 1.5; allowed is at least eps"),
        ("[budget]\nallow_unnoised = 'levels'\n", ": line 2: 'budget.allow_unnoised' is 'levels', but has to be a li"),
        ("[budget]\nallow_unnoised = ['loss']\n", ": line 2: 'budget.allow_unnoised': found 'loss'; allowed are 'lev"),
        (
            "[budget]\nallow_unnoised = ['levels', 'levels']\n",
            ": line 2: 'budget.allow_unnoised': found 'levels' twice",
        ),
        ("budget = 3\n", ": line 1: 'budget' is 3, but has to be a table with keys of its own"),
        ("budget.allow_unnoised = []\nbudget.delta = 1\n", ": line 2: 'budget.delta' is 1, but"),
        (
            "[budget]\nallow_unnoised = []\ndelta 3\n",
            ": not valid TOML: Expected '=' after a key in a key/value pair (at",
        ),
        (LEAST + "[budget]\n", ": not valid TOML: Cannot declare ('budget',) twice (at line 3"),
        ("x = " + "[" * 5000, ": not valid TOML: arrays or tables are nested too deeply."),
    ],
)
def test_every_mistake_names_file_line_and_key(text: str, sentence: str, read, tmp_path: Path) -> None:
    with pytest.raises(PlanError) as caught:
        read(text)
    assert str(caught.value).startswith(f"{tmp_path / 'policy.toml'}{sentence}")
    assert "\n" not in str(caught.value)


def test_the_four_kinds_are_explained_to_whoever_has_to_decide(read) -> None:
    with pytest.raises(PlanError) as caught:
        read("[budget]\n")
    assert all(f"'{kind}' (" in str(caught.value) for kind in UNNOISED_KINDS)


def test_a_policy_that_is_missing_binary_or_a_folder_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    with pytest.raises(PlanError, match=r"policy\.toml: no such file; `consilium site init` writes one"):
        load_policy(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PlanError, match=r"policy\.toml: not valid TOML"):
        load_policy(path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(PlanError, match=r"folder: cannot be read: Is a directory"):
        load_policy(tmp_path / "folder")


def test_the_template_waits_for_a_person_and_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    assert write_template(path) and not write_template(path)
    with pytest.raises(PlanError, match=r"required key 'budget\.allow_unnoised' is missing"):
        load_policy(path)
    assert path.stat().st_mode & 0o077 == 0
    template = path.read_text()
    path.write_text(template.replace("# allow_unnoised", "allow_unnoised"))
    least = _policy(budget={"allow_unnoised": ["levels"]})
    assert load_policy(path).model_dump() == least.model_dump()
    path.write_text("\n".join(re.sub(r"^# (\w+ = )", r"\1", line) for line in template.splitlines()))
    shown = load_policy(path).model_dump()
    assert {key for key in shown["limits"] if shown["limits"][key] is None} == set(), "the template shows every key"
    shown["limits"] |= {"tasks": None, "features": None, "columns": None, "hours": None}  # examples, not defaults
    assert shown == least.model_dump()


def test_an_edited_policy_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    policy = write_policy(path, SIMULATED)
    check_unchanged(path, policy)
    path.write_bytes(path.read_bytes() + b"#\n")
    assert load_policy(path).model_dump() == policy.model_dump() and load_policy(path).digest != policy.digest
    for change in (path.touch, path.unlink):
        change()
        assert changed_on_disk(path, policy)
        with pytest.raises(Refusal) as caught:
            check_unchanged(path, policy)
        assert caught.value.code == "policy_changed"


def _refusals(policy: Policy, plan: Plan, unnoised: tuple[str, ...] = ()) -> list[str]:
    return [refusal.code for refusal in objections(policy, plan, columns=(), unnoised=unnoised, code=CODE)]


PAIRS = [
    ("plain_sums_refused", {}, {"aggregation": {"secure": False}}),
    ("clip_norm_too_large", {}, {"aggregation": SECURE | {"clip_norm": 1.01}}),
    ("clip_norm_too_large", {"limits": {"max_clip_norm": 0.49}}, {}),
    ("grad_norm_too_large", {}, {"privacy": PRIVATE | {"max_grad_norm": 1.01}}),
    ("grad_norm_too_large", {"limits": {"max_grad_norm": 0.99}}, {"privacy": PRIVATE}),
    ("cohort_below_policy", {"secure": {"min_cohort": 4}}, {}),
    ("collusion_below_policy", {"secure": {"colluding_sites": 1}}, {}),
    ("task_not_allowed", {"limits": {"tasks": ["death", "stay", "pressure"]}}, {}),
    ("feature_not_allowed", {"limits": {"features": ["age", "sbp", "ward"]}}, {}),
    ("too_many_rounds", {"limits": {"max_rounds": 2}}, {}),
    ("too_many_rounds", {}, {"training": {"rounds": 201}}),
    ("plan_not_listed", {"limits": {"approved_plans": ["0" * 16]}}, {}),
    ("code_not_listed", {"limits": {"approved_code": ["0" * 16]}}, {}),
]


@pytest.mark.parametrize(("code", "rules", "changes"), PAIRS)
def test_a_plan_or_policy_that_differs_in_one_thing_is_refused_for_it(code, rules, changes, make_plan) -> None:
    base = make_plan(aggregation=SECURE)
    assert _refusals(_policy(), base) == [] and code in CODES
    plan = make_plan(**{"aggregation": SECURE} | changes)
    policy = _policy(**rules)
    assert _refusals(policy, plan) == [code]
    with pytest.raises(Refusal) as caught:
        check_plan(policy, plan, columns=(), unnoised=(), code=CODE)
    assert caught.value.code == code


def test_what_is_listed_or_exactly_at_a_limit_may_run(make_plan) -> None:
    plan = make_plan(aggregation=SECURE | {"colluding_sites": 1, "clip_norm": 1.0}, privacy=PRIVATE)
    names = {"tasks": [t.name for t in plan.tasks], "features": [f.name for f in plan.features] + ["more"]}
    lists = {"approved_plans": ["0" * 16, plan.hash[:16]], "approved_code": [CODE]}
    policy = _policy(secure={"colluding_sites": 1}, limits=names | lists | {"max_rounds": 3})
    assert _refusals(policy, plan) == []


def test_a_plan_is_not_held_to_rules_for_what_it_does_not_do(plan: Plan, make_plan) -> None:
    assert _refusals(_policy(limits={"max_grad_norm": 0.5}), make_plan(aggregation=SECURE)) == []
    assert _refusals(_policy(secure={"required": False, "min_cohort": 9, "colluding_sites": 1}), plan) == []


@pytest.mark.parametrize("kind", UNNOISED_KINDS)
def test_each_kind_without_noise_has_to_be_allowed(kind: str, make_plan) -> None:
    plan = make_plan(aggregation=SECURE)
    others = [each for each in UNNOISED_KINDS if each != kind]
    assert _refusals(_policy(budget={"allow_unnoised": others}), plan, (kind,)) == ["unnoised_not_allowed"]
    assert _refusals(_policy(budget={"allow_unnoised": [kind]}), plan, (kind,)) == []
    assert _refusals(_policy(budget={"allow_unnoised": []}), plan) == []


@pytest.mark.parametrize(
    ("hours", "at", "allowed"),
    [
        (None, "12:00", True),
        ("20:00-06:00", "20:00", True),
        ("20:00-06:00", "05:59", True),
        ("20:00-06:00", "06:00", False),
        ("20:00-06:00", "19:59", False),
        ("08:30-17:00", "08:30", True),
        ("08:30-17:00", "17:00", False),
        ("08:30-17:00", "00:00", False),
        ("22:00-00:00", "23:59", True),
        ("22:00-00:00", "00:00", False),
    ],
)
def test_hours_may_go_over_midnight(hours: str | None, at: str, allowed: bool) -> None:
    policy = _policy(limits={} if hours is None else {"hours": hours})
    moment = datetime.fromisoformat(f"2026-11-22 {at}:59")
    if allowed:
        check_hours(policy, moment)
    else:
        with pytest.raises(Refusal) as caught:
            check_hours(policy, moment)
        assert caught.value.code == "outside_hours"


def test_the_larger_cohort_counts_in_secure_sums() -> None:
    rules = _policy(secure={"min_cohort": 4, "retries": 2, "blocked": ["x"]}).secure
    assert [rules.in_sums(least).min_cohort for least in (3, 4, 5)] == [4, 4, 5]
    assert (rules.in_sums(3).retries, rules.in_sums(3).blocked) == (2, ("x",))
