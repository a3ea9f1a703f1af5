"""The plan: canonical, hashed, strict; and documented to the last key."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.config import SiteConfig
from common.errors import PlanError
from common.plan import Plan, load_plan, plan_from_canonical, plan_from_dict
from common.plan.condition import parse_condition
from experiments.reference import sections, with_reference
from tests.conftest import small_content, small_plan
from tests.laws.asserts import assert_roundtrip

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "federation.md"


def _examples() -> list[str]:
    return re.findall(r"```toml\n(.*?)```", DOCUMENT.read_text(), flags=re.DOTALL)


@pytest.mark.parametrize("name", ["federation.md", "policy.md"])
def test_reference_is_what_the_models_say(name: str) -> None:
    assert (ROOT / "docs" / name).read_text() == with_reference(ROOT / "docs" / name)


@pytest.mark.parametrize("document", ["federation.md", "policy.md"])
def test_every_key_has_a_description_and_stands_in_the_document(document: str) -> None:
    text = (ROOT / "docs" / document).read_text()
    for heading, model in sections(document):
        part = text.split(f"### {heading}\n", 1)[1].split("\n### ", 1)[0]
        for name, field in model.model_fields.items():
            nested = heading == "site.toml" and name in ("site", "data", "at_rest")
            assert nested or (field.description and f"| `{name}` |" in part), f"{heading} {name}"


def test_stop_needs_exact_sums() -> None:
    noise = {"unit": "patient", "noise": "local", "noise_multiplier": 1.0}
    with pytest.raises(PlanError, match=r"survey\.unlike = 'stop' needs exact sums"):
        small_plan(survey={"unlike": "stop"}, privacy=noise)
    assert not small_plan(survey={"unlike": "off"}).survey.compares
    with pytest.raises(PlanError, match=r"survey\.unlike"):
        small_plan(survey={"unlike": "ask"})


def test_documented_example_is_complete_and_valid() -> None:
    plan_text, site_text = _examples()
    plan = load_plan(plan_text, source="example")
    SiteConfig.model_validate(tomllib.loads(site_text))
    for heading, model in sections():
        text = (plan_text if heading.startswith("federation") else site_text).replace("# ", "")
        for name in model.model_fields:
            assert re.search(rf"(?m)^\[?\[?{name}\b", text), f"{heading}: {name} is not in the example"
    assert len(plan.tasks) == 5


def test_canonical_bytes_are_stable(plan: Plan) -> None:
    assert_roundtrip(plan, lambda p: p.canonical, lambda data: plan_from_canonical(data, source="x"))
    assert plan.hash == plan_from_dict(small_content(), source="y").hash
    reordered = dict(reversed(small_content().items()))
    assert plan_from_dict(reordered, source="z").hash == plan.hash


def test_bytes_that_are_not_canonical_are_refused(plan: Plan) -> None:
    with pytest.raises(PlanError, match="not in canonical form"):
        plan_from_canonical(plan.canonical + b"\n", source="x")


@pytest.mark.parametrize("setting", ["training.rounds=4", "seeds.split=1", "evaluation.round_bins=17"])
def test_every_setting_changes_the_hash(plan: Plan, setting: str) -> None:
    import tomli_w

    text = tomli_w.dumps(small_content())
    assert load_plan(text, source="x", overrides=(setting,)).hash != plan.hash


@pytest.mark.parametrize("setting", ["rounds=4", "training.=4", "training", "features.x=1"])
def test_malformed_setting_is_named(setting: str) -> None:
    with pytest.raises(PlanError, match=re.escape(f"--set {setting}")):
        load_plan("[training]\nrounds = 3\n[[features]]\nname='x'\n", source="x", overrides=(setting,))


def test_sums_are_secure_unless_the_plan_says_otherwise() -> None:
    content = small_content()
    del content["aggregation"]
    rules = plan_from_dict(content, source="x").aggregation
    assert rules.secure and rules.colluding_sites == 0 and rules.absent_members is None
    assert (rules.least_sites, rules.least_holders) == (3, 2)


@pytest.mark.parametrize(
    ("rules", "sites", "holders"),
    [
        ({"secure": False}, 2, 2),
        ({"secure": False, "min_sites": 5, "min_task_sites": 1}, 5, 1),
        ({"secure": True, "min_sites": 1, "min_task_sites": 1}, 3, 2),
        ({"secure": True, "colluding_sites": 1}, 3, 3),
        ({"secure": True, "colluding_sites": 4}, 6, 6),
        ({"secure": True, "colluding_sites": 1, "min_sites": 7, "min_task_sites": 5}, 7, 5),
    ],
)
def test_a_secure_sum_has_two_sites_more_than_may_collude(make_plan, rules, sites: int, holders: int) -> None:
    found = make_plan(aggregation=rules).aggregation
    assert (found.least_sites, found.least_holders) == (sites, holders)
    asked = found.min_task_sites == holders
    expected = (
        f"the plan asks for {holders} (min_task_sites)"
        if asked
        else f"a secure sum needs {holders} (colluding_sites + 2)"
    )
    assert found.holders_rule == expected


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ({"colluding_sites": 1}, "aggregation: colluding_sites = 1 contradicts secure = false"),
        ({"absent_members": 0}, "aggregation: absent_members belongs to secure sums"),
        ({"secure": True, "colluding_sites": -1}, "'aggregation.colluding_sites' is -1"),
        ({"secure": True, "absent_members": -1}, "'aggregation.absent_members' is -1"),
        ({"secure": True, "strategy": "krum"}, "'krum' needs each site's own update, which secure = true"),
        ({"secure": True, "strategy": "fedmedian"}, "choose secure = false or one of fedavg, "),
        ({"secure": True, "strategy": "fedtrimmedavg"}, "'fedtrimmedavg' needs each site's own update"),
        ({"secure": True, "clip_norm": 1e30}, "aggregation: a clip norm of 1e+30"),
        ({"secure": True, "clip_norm": 1e-30}, "aggregation: a clip norm of 1e-30"),
        ({"secure": True, "min_sites": 10_000}, "aggregation: 10000 sites"),
        ({"min_sites": 1}, "no task could be trained"),
    ],
)
def test_contradictions_about_sums_are_one_sentence(make_plan, rules, words: str) -> None:
    with pytest.raises(PlanError, match=re.escape(words)):
        make_plan(aggregation=rules)


@given(st.sampled_from([">=", "<=", "==", "!=", ">", "<"]), st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_condition_means_what_it_says(op: str, bound: float, value: float) -> None:
    condition = parse_condition(f"{op} {bound!r}", key="k", with_column=False)
    assert condition.holds(value) == eval(f"{value!r} {op} {bound!r}")


@given(st.text(max_size=30))
def test_condition_never_fails_otherwise_than_with_a_sentence(text: str) -> None:
    try:
        parse_condition(text, key="k", with_column=True)
    except ValueError as error:
        assert str(error).startswith("'k' is ")


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("tasks", 0, "name"), "Death!", "has to be of lower-case letters, digits and '_', beginning with a letter"),
        (("federation", "name"), "a" * 65, "at most 64 characters."),
        (("federation", "name"), "ward\n", "has to be of lower-case letters"),
        (("start",), {"vector": "abc"}, "'start.vector' is 'abc', but has to be of 64 digits and letters from a to f."),
        (("model", "hidden"), 5, "'model.hidden' is 5, but has to be a list in [ ]."),
        (("tasks", 0), 3, "'tasks.0' is 3, but has to be a table with keys of its own."),
        (("features", 0, "range"), [1], "'features.age.range' is [1], but has too few entries."),
        (("features", 0, "range"), [1, 2, 3], "but has more than 2 entries."),
        (("data", "patient"), "", "'data.patient' is '', but should have at least 1 character."),
    ],
)
def test_what_is_allowed_is_told_in_words(path: tuple[str | int, ...], value: Any, words: str) -> None:
    content = small_content()
    place: Any = content
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(PlanError) as caught:
        plan_from_dict(content, source="federation.toml")
    text = str(caught.value)
    assert words in text and not any(code in text for code in ("^", "tuple", "Tuple", "dictionary", "pattern"))
