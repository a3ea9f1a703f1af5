"""What a person sees in the terminal: the table of results, and `Progress`, which listens to a run's events.

Everything written here is plain ASCII; names from a plan are shown as they are where the terminal can, otherwise with
question marks in place of what it cannot.
"""

import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from server.dashboard.noise import counted_once
from server.dashboard.privacy import noise_line
from server.dashboard.rounds import rounds_line, stopped_line
from server.dashboard.scores import Score, mapping, score_of
from server.dashboard.start import start_line
from server.dashboard.sums import seen
from server.dashboard.wording import count, duration, number


def result_table(result: Mapping[str, Any], *, encoding: str | None = None) -> Table:
    """One row per task: per-site mean, pooled, best possible and test rows.

    Below it what was left out, with the reason, whether the coordinator saw sums only, what the run went on from, how
    fast it learnt and whether it ended early.

    encoding: of the stream that the table is printed to; standard output's by default.
    """
    encoding = encoding or sys.stdout.encoding or "ascii"
    omitted = mapping(mapping(result, "left_out"), "tasks")
    notes = [f"left out: {name} ({reason})" for name, reason in omitted.items()]
    if (sums := seen(result)) is not None:
        notes.append(sums)
    if (hidden := noise_line(result)) is not None:
        notes.append(hidden)
    if (once := counted_once(result)) is not None:
        notes.append(once)
    notes += [line for told in (start_line, stopped_line, rounds_line) if (line := told(result))]
    table = Table(
        title=Text(_plain(str(result.get("title") or result.get("federation") or "Result"), encoding), style="bold"),
        caption=Text("\n".join(_plain(note, encoding) for note in notes)),
        title_justify="left",
        caption_justify="left",
        box=SIMPLE_HEAD,
    )
    # Folded, never cut: an ellipsis is not ASCII, and two long names could look the same.
    table.add_column("Task", overflow="fold")
    for column in ("Per-site mean", "Pooled", "Best possible", "n"):
        table.add_column(column, justify="right", overflow="fold")
    for name, task in mapping(result, "tasks").items():
        score = score_of(task)
        mean, best = (_value(score, value) for value in (score.per_site_mean, score.best))
        pooled = "-" if score.pooled is None else score.pooled_text("+-")
        cells = (name, f"{score.name} {mean}", pooled, best, "-" if score.rows is None else count(score.rows))
        table.add_row(*(Text(_plain(cell, encoding)) for cell in cells))
    return table


class Progress:
    """Listens to a run's events: a live bar on a terminal, one plain line per phase and tenth of the rounds elsewhere.

    Events that it does not know are ignored. Use it as a context manager, or call `close`, so that a run that ends
    early leaves the terminal as it was.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)
        self._bar: Bar | None = None
        self._bar_task = TaskID(0)
        self._last_tenth = -1
        self._seconds: list[float] = []
        self._failed: set[tuple[str, object]] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Show one event, a dictionary whose "event" names its kind."""
        show = {
            "run_started": self._run_started,
            "warning": self._warning,
            "left_out": self._left_out,
            "survey": self._survey,
            "site_unlike": self._site_unlike,
            "round": self._round,
            "site_failed": self._site_failed,
            "stopped_early": self._stopped_early,
            "evaluation": self._evaluation,
            "finished": self._finished,
        }.get(str(event.get("event")))
        if show is not None:
            show(event)

    def close(self) -> None:
        """Stop the live bar, if there is one; what was printed stays."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _run_started(self, event: Mapping[str, Any]) -> None:
        self.close()
        self._last_tenth, self._seconds, self._failed = -1, [], set()
        counts = (
            _many(len(event.get("sites") or []), "site"),
            _many(len(event.get("tasks") or []), "task"),
            _many(int(number(event.get("rounds")) or 0), "round"),
        )
        self._line(f"{event.get('federation', 'run')}: {', '.join(counts)}")
        if isinstance(secure := event.get("secure"), bool):
            shown = (
                "secure: the coordinator sees sums only" if secure else "plain: the coordinator sees each site's vector"
            )
            self._line(f"sums are {shown}")

    def _warning(self, event: Mapping[str, Any]) -> None:
        self._line(f"warning: {event.get('text')}")

    def _left_out(self, event: Mapping[str, Any]) -> None:
        for kind, key in (("task", "tasks"), ("feature", "features")):
            for name, reason in mapping(event, key).items():
                self._line(f"left out: {kind} {name} ({reason})")

    def _survey(self, event: Mapping[str, Any]) -> None:
        rows = number(event.get("rows"))
        self._line("survey" if rows is None else f"survey: {_many(int(rows), 'row')}")

    def _site_unlike(self, event: Mapping[str, Any]) -> None:
        said = f"says that its data are unlike the others' ({event.get('code')}); its own log says how"
        self._line(f"warning: {event.get('site')} {said}")

    def _round(self, event: Mapping[str, Any]) -> None:
        done, rounds = int(number(event.get("round")) or 0), int(number(event.get("rounds")) or 0)
        for site, code in mapping(event, "failed").items():
            self._site_failed({"site": site, "round": done, "code": code})
        self._seconds.append(number(event.get("seconds")) or 0.0)
        remaining = sum(self._seconds) / len(self._seconds) * max(0, rounds - done)
        eta = f"ETA {duration(remaining)}" if remaining >= 1 else ""
        auroc = _mean_auroc(event)
        if self._console.is_terminal:
            self._advance(done, rounds, auroc, eta)
            return
        tenth = 10 * done // rounds if rounds else done
        if tenth > self._last_tenth:
            self._last_tenth = tenth
            parts = [f"round {done}/{rounds}", _many(int(number(event.get("sites")) or 0), "site")]
            self._line(", ".join([*parts, *filter(None, (auroc, _norms(event), eta))]))

    def _site_failed(self, event: Mapping[str, Any]) -> None:
        site, when = str(event.get("site")), event.get("round")
        # A run may report a failure twice: by itself, and in the entry of its round.
        if (site, when) not in self._failed:
            self._failed.add((site, when))
            self._line(f"round {when}: {site} failed ({event.get('code')})")

    def _stopped_early(self, event: Mapping[str, Any]) -> None:
        self.close()
        done, best = event.get("round"), mapping(event, "best").get("round")
        self._line(
            f"stopped after round {done}: the validation loss falls no more; the model after round {best} is kept"
        )

    def _evaluation(self, event: Mapping[str, Any]) -> None:
        self.close()
        self._line("evaluation")

    def _finished(self, event: Mapping[str, Any]) -> None:
        self.close()
        seconds = number(event.get("seconds"))
        self._line("finished" if seconds is None else f"finished in {duration(seconds)}")

    def _advance(self, done: int, rounds: int, auroc: str, eta: str) -> None:
        if self._bar is None:
            columns = (TextColumn("round {task.completed:.0f}/{task.total:.0f}"), BarColumn())
            self._bar = Bar(*columns, TextColumn("{task.description}", markup=False), console=self._console)
            self._bar_task = self._bar.add_task("", total=rounds)
            self._bar.start()
        self._bar.update(self._bar_task, completed=done, description="  ".join(filter(None, (auroc, eta))))

    def _line(self, text: str) -> None:
        self._console.print(Text(_plain(text, self._console.encoding)), soft_wrap=True)


def _mean_auroc(event: Mapping[str, Any]) -> str:
    values = [number(scores.get("auroc")) for scores in mapping(event, "tasks").values() if isinstance(scores, Mapping)]
    known = [value for value in values if value is not None]
    return f"mean AUROC {sum(known) / len(known):.3f}" if known else ""


def _norms(event: Mapping[str, Any]) -> str:
    before, after = number(event.get("norm_before_clip")), number(event.get("norm_after_clip"))
    return "" if before is None or after is None else f"update norm {before:.2f} -> {after:.2f}"


def _value(score: Score, value: float | None) -> str:
    return "-" if value is None else score.text(value)


def _many(amount: int, noun: str) -> str:
    return f"{amount:,} {noun}" if amount == 1 else f"{amount:,} {noun}s"


def _plain(text: str, encoding: str) -> str:
    """`text` as `encoding` can hold it, on one line and without control characters, which could move the cursor."""
    visible = "".join(letter if letter.isprintable() else " " for letter in text)
    return visible.encode(encoding, errors="replace").decode(encoding)
