"""The terminal: a table that says what the result says, and progress that suits both a terminal and a log."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from server.terminal import Progress, result_table

SAMPLE = Path(__file__).with_name("sample_result.json")


@pytest.fixture
def result() -> dict[str, Any]:
    return json.loads(SAMPLE.read_text(encoding="utf-8"))


def console(*, terminal: bool = False, encoding: str = "utf-8") -> Console:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="")
    return Console(file=stream, force_terminal=terminal, width=100, color_system=None, _environ={})


def printed(to: Console) -> str:
    to.file.flush()
    return to.file.buffer.getvalue().decode(to.encoding)  # type: ignore[attr-defined]


def play(result: dict[str, Any], progress: Progress, *, rounds: int) -> None:
    progress({"event": "run_started", "federation": "ward", "sites": ["a", "b"], "rounds": rounds, "tasks": ["t"]})
    progress({"event": "left_out", **result["left_out"]})
    progress({"event": "survey", "rows": 8978})
    progress({"event": "something_new", "of": "a later version"})
    for index in range(1, rounds + 1):
        failed = {"west": "timeout"} if index == 2 else {}
        if failed:
            progress({"event": "site_failed", "site": "west", "round": index, "code": "timeout"})
        entry = {"round": index, "rounds": rounds, "sites": 2, "failed": failed, "seconds": 2.0}
        norms = {"norm_before_clip": 0.9, "norm_after_clip": 0.5}
        progress(
            {"event": "round", **entry, **norms, "tasks": {"x": {"auroc": 0.7}, "y": {"auroc": 0.8}, "z": {"mae": 2}}}
        )
    progress({"event": "evaluation"})
    progress({"event": "finished", "seconds": 12.3})


def test_table_shows_the_numbers_of_the_result(result: dict[str, Any]) -> None:
    to = console()
    to.print(result_table(result))
    lines = {line.split()[0]: line for line in printed(to).splitlines() if line.split()}
    for name, task in result["tasks"].items():
        mean, pooled = task["per_site_mean"], task["pooled"]
        if task["kind"] == "regression":
            values = [f"MAE {mean['mae']:.2f} d", f"{pooled['mae']:.2f} d", f"{task['oracle_mae']:.2f} d"]
        else:
            values = [f"AUROC {mean['auroc']:.3f}", f"{pooled['auroc']:.3f}", f"{task['oracle_auroc']:.3f}"]
        places = [lines[name].index(value) for value in [*values, f"{task['pooled']['n']:,}"]]
        assert places == sorted(places)
    reason = "1 site has labels; the plan asks for 2 (min_task_sites)"
    assert f"left out: readmission_30d ({reason})" in " ".join(printed(to).split())


@pytest.mark.parametrize(
    ("secure", "words"),
    [
        (True, "the coordinator saw only the hospitals' sum, never one hospital's update or tallies."),
        (False, "the coordinator saw each hospital's update and tallies."),
        (None, None),
    ],
)
def test_table_says_what_the_coordinator_saw(result: dict[str, Any], secure: bool | None, words: str | None) -> None:
    result["secure"] = secure
    to = console()
    to.print(result_table(result))
    text = " ".join(printed(to).split())
    assert words in text if words else "coordinator" not in text


@pytest.mark.parametrize(("secure", "words"), [(True, "sees sums only"), (False, "sees each site's vector")])
def test_progress_says_what_the_coordinator_sees(secure: bool, words: str) -> None:
    to = console()
    Progress(to)({"event": "run_started", "federation": "ward", "sites": ["a"], "rounds": 1, "secure": secure})
    assert words in printed(to).splitlines()[1]


def test_table_of_a_deployed_result_shows_what_is_unknown_as_a_hyphen(result: dict[str, Any]) -> None:
    result["tasks"] = {"sepsis": {"kind": "binary", "auroc_histogram": {"auroc": 0.8123, "bound": 0.0002, "bins": 256}}}
    to = console()
    to.print(result_table(result))
    (line,) = [line for line in printed(to).splitlines() if "sepsis" in line]
    assert line.split() == ["sepsis", "AUROC", "-", "0.812", "-", "-"]


def test_names_cannot_style_or_move_the_terminal(result: dict[str, Any]) -> None:
    result["title"] = "[red]x[/red]\x1b[2J"
    result["tasks"] = {"[bold]t[/bold]\n\x1b[1A": result["tasks"]["diabetes"]}
    to = console(terminal=True)
    to.print(result_table(result))
    assert "[red]x[/red]" in printed(to)
    assert "[bold]t[/bold]" in printed(to)
    assert "\x1b[2J" not in printed(to)
    assert "\x1b[1A" not in printed(to)


def test_ascii_terminals_get_ascii(result: dict[str, Any]) -> None:
    result["title"] = "Zürich"
    result["tasks"]["length_of_stay_days"]["unit"] = "µmol/l"
    to = console(encoding="ascii")
    to.print(result_table(result, encoding="ascii"))
    play(result, Progress(to), rounds=3)
    assert "Z?rich" in printed(to)
    assert "?mol/l" in printed(to)


def test_a_log_gets_one_line_per_phase_and_tenth_of_the_rounds(result: dict[str, Any]) -> None:
    to = console()
    play(result, Progress(to), rounds=100)
    lines = printed(to).splitlines()
    assert lines[0] == "ward: 2 sites, 1 task, 100 rounds"
    assert lines[1] == "left out: task readmission_30d (1 site has labels; the plan asks for 2 (min_task_sites))"
    assert lines[3] == "survey: 8,978 rows"
    rounds = [line for line in lines if line.startswith("round ") and "/" in line]
    assert [line.split("/")[0] for line in rounds] == [f"round {each}" for each in (1, *range(10, 101, 10))]
    assert rounds[1] == "round 10/100, 2 sites, mean AUROC 0.750, update norm 0.90 -> 0.50, ETA 3 min 00 s"
    assert lines[-2:] == ["evaluation", "finished in 12 seconds"]
    assert "\x1b" not in printed(to)


def test_a_failure_that_is_reported_twice_is_shown_once(result: dict[str, Any]) -> None:
    to = console()
    play(result, Progress(to), rounds=10)
    assert printed(to).count("round 2: west failed (timeout)") == 1


def test_a_terminal_gets_a_live_bar(result: dict[str, Any]) -> None:
    to = console(terminal=True)
    play(result, Progress(to), rounds=10)
    text = printed(to)
    assert "10/10" in text
    assert "mean AUROC 0.750" in text
    assert "finished in 12 seconds" in text
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")


def test_a_run_that_breaks_off_gives_the_cursor_back() -> None:
    to = console(terminal=True)
    with pytest.raises(RuntimeError), Progress(to) as progress:
        progress({"event": "round", "round": 1, "rounds": 5})
        raise RuntimeError
    assert "\x1b[?25h" in printed(to)


@pytest.mark.parametrize(
    "event", [{}, {"event": "round"}, {"event": "run_started"}, {"event": "left_out"}, {"event": "survey"}]
)
def test_an_event_without_details_does_no_harm(event: dict[str, Any]) -> None:
    Progress(console())(event)
