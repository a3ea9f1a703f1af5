"""The impact assessment: made of a run's own files, open where only a person knows, deaf to a plan's markup."""

from collections.abc import Callable
from pathlib import Path

import pytest

from client.assessment.cli import assessment as command
from client.assessment.document import OPEN, Facts, assessment
from client.assessment.facts import gather
from client.config import find_sites, load_site
from common.errors import ConsiliumError
from common.files import read_plan
from common.plan import Plan
from experiments.simulate import simulate

_FACTS = Facts("north", "stroke", "ab" * 32, "cd" * 32, False, [], [], ["Nothing."], [], [], "", None)


@pytest.fixture
def site(make_plan: Callable[..., Plan], write_sites: Callable[..., Path], tmp_path: Path) -> Path:
    """A site of a finished run."""
    simulate(make_plan(training={"rounds": 1}), find_sites(write_sites()), tmp_path / "run")
    return sorted((tmp_path / "run" / "sites").glob("*/site.toml"))[0]


def test_it_tells_what_runs_what_left_and_what_the_policy_says(site: Path) -> None:
    config = load_site(site)
    assert config.plan is not None
    plan = read_plan(config.plan)
    text = assessment(gather(config, plan))
    assert plan.hash in text and "(approved at this site)" in text
    assert all(task.name in text for task in plan.tasks) and all(feature.name in text for feature in plan.features)
    assert "limits.max_rounds" in text and "Study" in text and "releases from" in text
    assert "### What never leaves" in text and OPEN in text


def test_the_command_never_writes_over_what_a_person_completed(site: Path, tmp_path: Path) -> None:
    out = tmp_path / "dpia.md"
    command(site, out)
    out.write_text("completed by hand")
    with pytest.raises(ConsiliumError, match="exists already"):
        command(site, out)
    assert out.read_text() == "completed by hand"


def test_a_site_without_a_plan_is_told_which_option_is_missing(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text('[site]\nname = "north"\n\n[data]\nfiles = ["patients.csv"]\n')
    with pytest.raises(ConsiliumError, match="names no plan; add --plan FILE"):
        command(tmp_path, tmp_path / "dpia.md")


def test_words_of_a_plan_stay_words() -> None:
    hostile = "<script>x</script> [link](https://example.org)\n# Heading"
    text = assessment(Facts(**vars(_FACTS) | {"plan": [(hostile, [hostile])]}))
    assert "<script" not in text.replace("\\<", "") and "\n# Heading" not in text
    assert "\\[link\\](" in text


def test_nothing_released_is_said_in_words() -> None:
    text = assessment(_FACTS)
    assert "Nothing has left this site." in text and "No roster was accepted yet." in text
