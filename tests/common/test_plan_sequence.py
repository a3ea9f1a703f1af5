"""[sequence] in a plan: what is refused, in words; and a plan without one is to the last byte what it was."""

import json
from typing import Any

import pytest

from client.approval.difference import difference
from common.errors import PlanError
from common.plan import plan_from_canonical, plan_from_dict
from common.plan.describe import describe
from tests.conftest import small_plan
from tests.hourly import hourly_content, hourly_plan
from tests.laws.asserts import assert_roundtrip

# SHA-256 of the canonical bytes of the small plan, from before there were sequences.
BEFORE = "c0aef51f415a80e9bd26c0703f603afd205ace2d4a3292e7587ca4a89ae30c55"


def test_a_plan_without_a_sequence_has_the_hash_that_it_always_had() -> None:
    before = small_plan(training={"rounds": 3, "batch_size": 16, "min_local_steps": 1})
    assert before.hash == BEFORE != small_plan().hash
    assert b"min_local_steps" not in before.canonical  # what it does not say is as it was: no step beyond the epochs
    assert plan_from_canonical(before.canonical, source="old").training.min_local_steps == 1
    assert plan_from_canonical(small_plan().canonical, source="new").training.min_local_steps == 10
    content = json.loads(small_plan().canonical)
    assert "sequence" not in content and "encoder" not in content["model"] and "event" not in content["tasks"][0]


def test_canonical_bytes_of_a_sequence_come_back() -> None:
    for plan in (hourly_plan(), hourly_plan(encoder="lstm", sequence_layers=2)):
        assert_roundtrip(plan, lambda p: p.canonical, lambda data: plan_from_canonical(data, source="x"))
    assert len({hourly_plan(encoder=encoder).hash for encoder in ("tcn", "lstm", "gru", "attention", "mlp")}) == 5


def _shock(**changes: Any) -> dict[str, Any]:
    return {"name": "shock", "kind": "hourly", "event": "map < 65", "within_h": 3, **changes}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sequence": None}, "model.sequence_width says nothing without"),
        ({"sequence": None, "model": {}}, "task 'shock' is hourly, which needs"),
        ({"tasks": [_shock(event=None)]}, "'event' and 'within_h' belong together"),
        ({"tasks": [_shock(event=None, within_h=None)]}, "needs either 'label' or 'event', and not both"),
        ({"tasks": [_shock(label="x")]}, "needs either 'label' or 'event', and not both"),
        ({"tasks": [_shock(event="age < 65")]}, "compares 'age', which is no feature of"),
        ({"tasks": [_shock(event="map low")]}, "allowed is one comparison"),
        ({"tasks": [_shock(event="map == 'low'")]}, "are compared with a number"),
        ({"tasks": [_shock(kind="binary")]}, "'event' and 'within_h' belong to hourly tasks, this one is binary"),
        ({"tasks": [{"name": "death"}]}, "task 'death': required key 'label' is missing"),
        ({"tasks": [_shock(exclude=["sbp"])]}, "'exclude' names 'sbp', which is no feature"),
        ({"model": {"encoder": "rnn"}}, "'model.encoder' is 'rnn'"),
        ({"model": {"encoder": "attention", "sequence_width": 10}}, "multiple of its 4 heads"),
        ({"features": [{"name": "map", "range": [1, 2]}]}, "feature 'map' is defined twice"),
    ],
)
def test_what_does_not_fit_is_one_sentence(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        plan_from_dict({**hourly_content(), **changes}, source="x")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hours": 0}, "'sequence.hours' is 0"),
        ({"hour": "stay"}, "sequence.hour is 'stay', the patient or row column"),
        ({"features": [{"name": "map", "kind": "binary"}]}, "features of a sequence are numeric"),
        ({"features": [{"name": "hour", "range": [0, 9]}]}, "feature 'hour' is the column of the hour"),
    ],
)
def test_a_sequence_that_does_not_fit_is_one_sentence(changes: dict[str, Any], message: str) -> None:
    content = hourly_content()
    with pytest.raises(PlanError, match=message):
        plan_from_dict({**content, "sequence": {**content["sequence"], **changes}}, source="x")


def test_a_reviewer_reads_what_is_read_and_how_far() -> None:
    text = "\n".join(line for heading, lines in describe(hourly_plan()) for line in (heading, *lines))
    assert "at each of 6 hours, whether map < 65 within the 3 hours after it" in text
    assert "worse (hourly, column worsens at each of 6 hours); does not see age, map" in text
    assert "map, of the hourly tables, hours 0 to 5 by the column 'hour': 20 to 250 mm[Hg]" in text
    assert "Hours up to 8 are read for labels." in text and "tcn, 4 layer(s) of 8 units" in text


def test_a_difference_of_hours_is_told() -> None:
    content = hourly_content()
    content["sequence"]["hours"] = 12
    content["sequence"]["features"][1]["range"] = [30, 45]
    lines = difference(hourly_plan(), plan_from_dict(content, source="x"))
    assert "sequence.hours: 6 -> 12" in lines and "sequence.features.temp.range: [25.0, 45.0] -> [30.0, 45.0]" in lines
    assert any(line.startswith("sequence: is new") for line in difference(small_plan(), hourly_plan()))
    assert "sequence: is gone" in difference(hourly_plan(), small_plan())
