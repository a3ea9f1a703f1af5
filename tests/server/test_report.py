"""The report page: complete, escaped, offline, and robust to missing parts."""

import json
from base64 import b64encode
from copy import deepcopy
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest

from server.dashboard.charts import Charts
from server.dashboard.report import page

SAMPLE = Path(__file__).with_name("sample_result.json")


class Parsed(HTMLParser):
    """What a browser would see: attributes by tag, and visible text outside scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside not in ("script", "style"):
            self.text.append(data)

    def visible(self) -> str:
        return " ".join(self.text)


def widened(sample: dict[str, Any], *, sites: list[str], tasks: int) -> dict[str, Any]:
    """The sample with `sites` instead of its three, and `tasks` tasks, by repeating what it holds."""
    result = deepcopy(sample)
    known, kinds = list(sample["sites"].values()), list(sample["tasks"].items())
    result["sites"] = {name: deepcopy(known[index % len(known)]) for index, name in enumerate(sites)}
    result["site_count"], result["tasks"] = len(sites), {}
    for index in range(tasks):
        name, task = deepcopy(kinds[index % len(kinds)])
        entries = list(task["per_site"].values())
        task["per_site"] = {
            site: entries[each % len(entries)] | {"counted": each != 3} for each, site in enumerate(sites)
        }
        result["tasks"][name if index < len(kinds) else f"{name}_{index}"] = task
    for entry in result["history"]:
        entry["failed"] = {sites[-1]: "timeout"} if entry["round"] in (4, 5, 9) else {}
    return result


@pytest.fixture
def small() -> dict[str, Any]:
    """The stored sample: three sites, six tasks."""
    return json.loads(SAMPLE.read_text(encoding="utf-8"))


@pytest.fixture
def large(small: dict[str, Any]) -> dict[str, Any]:
    """Eighteen sites, nine tasks, one long name."""
    names = [f"hospital_{index:02d}" for index in range(1, 18)]
    return widened(small, sites=[*names, "Regional hospital of the northern lakes"], tasks=9)


@pytest.fixture
def deployed(small: dict[str, Any]) -> dict[str, Any]:
    """What a deployed coordinator knows: sums, and nothing of single sites."""
    small["sites"], small["secure"] = {}, True
    for task in small["tasks"].values():
        task["per_site"] = {}
        for key in ("oracle_auroc", "oracle_mae"):
            task.pop(key, None)
    return small


def figures_of(text: str) -> dict[str, Any]:
    body = text.split('<script type="application/json" id="figures">')[1].split("</script>")[0]
    return json.loads(body)


def painted(node: Any) -> Any:
    """What page.js does: a colour in place of each "--name"."""
    if isinstance(node, dict):
        return {key: painted(value) for key, value in node.items()}
    if isinstance(node, list):
        return [painted(value) for value in node]
    return "#123456" if isinstance(node, str) and node.startswith("--") else node


@pytest.mark.parametrize("which", ["small", "large"])
def test_page_shows_every_task_and_every_site(which: str, request: pytest.FixtureRequest) -> None:
    result = request.getfixturevalue(which)
    visible = Parsed(page(result)).visible()
    for name in [*result["tasks"], *result["sites"], *result["left_out"]["tasks"], *result["left_out"]["features"]]:
        assert name in visible
    assert result["left_out"]["tasks"]["readmission_30d"] in visible
    assert result["plan_hash"] in visible


def test_numbers_of_the_results_table_are_those_of_the_result(small: dict[str, Any]) -> None:
    table = page(small).split('<table class="results">')[1].split("</table>")[0]
    found = [float(attributes["value"] or "") for tag, attributes in Parsed(table).tags if tag == "data"]
    expected = []
    for task in small["tasks"].values():
        measure = "mae" if task["kind"] == "regression" else "auroc"
        expected += [task["per_site_mean"][measure], task["pooled"][measure], task[f"oracle_{measure}"]]
    assert found == expected
    assert Parsed(table).visible().count(f"{small['tasks']['diabetes']['pooled']['n']:,}") == 6


def test_every_site_of_every_task_is_drawn_with_its_own_value(small: dict[str, Any]) -> None:
    bars = [
        trace for figure in figures_of(page(small)).values() for trace in figure["data"]
        if trace.get("orientation") == "h" and "customdata" in trace
    ]  # fmt: skip
    assert len(bars) == len(small["tasks"])
    for trace, task in zip(bars, small["tasks"].values(), strict=True):
        ends = [trace["base"] + length for length in trace["x"]]
        assert ends == pytest.approx(
            [site["mae" if task["kind"] == "regression" else "auroc"] for site in task["per_site"].values()]
        )


@pytest.mark.parametrize("which", ["small", "large", "deployed"])
def test_nothing_is_loaded_from_outside_the_page(which: str, request: pytest.FixtureRequest) -> None:
    text = page(request.getfixturevalue(which))
    parsed = Parsed(text)
    for tag, attributes in parsed.tags:
        for name in ("src", "href", "srcset", "data", "action", "poster", "xlink:href"):
            assert (attributes.get(name) or "#").startswith("#"), (tag, attributes)
        assert tag not in ("link", "iframe", "object", "embed", "base")
    style = text.split("<style>")[1].split("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style


def test_policy_allows_exactly_the_two_scripts_of_the_page_and_no_connection(small: dict[str, Any]) -> None:
    text = page(small)
    metas = [found for tag, found in Parsed(text).tags if tag == "meta" and found.get("http-equiv")]
    policy = dict(rule.strip().split(" ", 1) for rule in str(metas[0]["content"]).split(";"))
    assert policy["default-src"] == policy["connect-src"] == "'none'"
    scripts = [part.split("</script>")[0] for part in text.split("<script>")[1:]]
    hashes = [b64encode(sha256(script.encode()).digest()).decode() for script in scripts]
    assert policy["script-src"].split() == [f"'sha256-{each}'" for each in hashes]
    assert len(scripts) == 2


def test_text_of_the_result_stays_text(small: dict[str, Any]) -> None:
    evil = '</script><script>alert("1")</script><img src=x onerror=alert(2)>&"\''
    small["title"] = small["federation"] = small["strategy"] = small["plan_hash"] = evil
    small["sites"][evil] = small["sites"].pop("north")
    small["missing"][evil] = 0.5
    small["left_out"] = {"tasks": {evil: evil}, "features": {evil: evil}}
    small["history"][0]["failed"] = {evil: evil}
    for task in small["tasks"].values():
        task |= {"description": evil, "unit": evil}
        task["per_site"][evil] = task["per_site"].pop("north")
    small["tasks"][evil] = small["tasks"].pop("diabetes")
    text = page(small)
    parsed = Parsed(text)
    assert [tag for tag, _ in parsed.tags].count("script") == 3
    assert not [found for tag, found in parsed.tags if tag == "img" or "onerror" in found]
    assert evil in parsed.visible()
    # plotly reads HTML in labels: there, too, a name may only arrive as entities.
    assert "<img" not in json.dumps(figures_of(text))
    assert "&lt;img" in json.dumps(figures_of(text))


def test_a_deployed_result_has_no_site_panels_and_says_what_the_coordinator_saw(deployed: dict[str, Any]) -> None:
    text = page(deployed)
    visible = Parsed(text).visible()
    assert "Every hospital in numbers" not in visible
    assert "Best possible" not in visible
    assert "Deployed federation" in visible
    assert "the coordinator saw only the hospitals' sum" in visible
    assert "saw each hospital's update" not in visible
    assert "could read each hospital's numbers" not in visible
    curves = [figure for figure in figures_of(text).values() if figure["layout"]["yaxis"].get("title")]
    assert len(curves) >= len(deployed["tasks"])


@pytest.mark.parametrize(
    "missing", ["history", "tasks", "sites", "missing", "left_out", "clip_norm", "rounds", "seeds", "title"]
)
def test_a_part_that_is_absent_is_left_out_of_the_page(missing: str, small: dict[str, Any]) -> None:
    del small[missing]
    assert "</html>" in page(small)


def test_schema_alone_makes_a_page() -> None:
    assert "No task and no feature of the plan was left out." in page({"schema": "consilium/result/1"})


@pytest.mark.parametrize(("sites", "tasks"), [(1, 1), (2, 12), (40, 9)])
def test_every_figure_is_one_that_plotly_accepts(sites: int, tasks: int, small: dict[str, Any]) -> None:
    result = widened(small, sites=[f"{2000 + index}" for index in range(sites)], tasks=tasks)
    result["tasks"]["hypertension"]["per_site"]["2000"]["auroc"] = 0.41
    figures = figures_of(page(result))
    assert len(figures) >= tasks * 2 + 3
    for figure in figures.values():
        go.Figure(painted(figure))


def test_figures_cannot_end_their_script_element() -> None:
    charts = Charts()
    charts.place({"data": [{"text": "</script>"}], "layout": {"height": 1}}, title="")
    assert "<" not in charts.as_json()
    assert json.loads(charts.as_json())["chart-1"]["data"] == [{"text": "</script>"}]
