"""docs/benefit-results.md from the outcomes: tables of counts and means over sites and seeds."""

from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import mean
from typing import Any

from client.benefit.words import HELPED, HURT, SAME, UNKNOWN
from experiments.benefit_study.study import Outcome

MODELS = ("local", "federated", "fine-tuned")
Entry = dict[str, Any]


def section(title: str, outcomes: Sequence[Outcome]) -> str:
    """All tables of one federation."""
    seeds, sites = sorted({each.seed for each in outcomes}), list(dict.fromkeys(each.site for each in outcomes))
    tasks = list(dict.fromkeys(task for each in outcomes for task in each.report["tasks"]))
    parts = [
        f"## {title}\n",
        f"{len(sites)} hospitals, seeds {', '.join(map(str, seeds))}: {len(outcomes)} reports.\n",
        _table(
            ("task", HELPED, SAME, HURT, UNKNOWN, *MODELS, "chosen", "chosen: local / federated / fine-tuned"),
            (_task(task, [entry for each in outcomes if (entry := each.report["tasks"].get(task))]) for task in tasks),
        ),
        _table(
            (
                "hospital",
                "calibrated",
                "ECE before",
                "after",
                "if perfect",
                "Brier before",
                "after",
                "covered before",
                "after",
                "cannot say",
                "error",
                "of the rest",
            ),
            (
                _site(site, [e for each in outcomes if each.site == site for e in each.report["tasks"].values()])
                for site in sites
            ),
        ),
        _table(("test rows", "unlike the training rows", "too many gaps"), _shifts(outcomes)),
    ]
    return "\n".join(parts)


def _task(name: str, entries: Sequence[Entry]) -> tuple[str, ...]:
    verdicts = Counter(entry["joining"]["verdict"] for entry in entries)
    choices = Counter(entry["choice"]["model"] for entry in entries)
    key = "mae" if entries[0]["kind"] == "regression" else "auroc"
    whole = [entry for entry in entries if all(key in entry["models"].get(model, {}) for model in MODELS)]
    values = [_mean(entry["models"][model][key] for entry in whole) for model in MODELS]
    values.append(_mean(entry["models"][entry["choice"]["model"]][key] for entry in whole))
    counts = (str(verdicts[each]) for each in (HELPED, SAME, HURT, UNKNOWN))
    return (f"{name} ({key.upper()})", *counts, *values, " / ".join(str(choices[model]) for model in MODELS))


def _site(name: str, entries: Sequence[Entry]) -> tuple[str, ...]:
    """Means over tasks and seeds; coverage over all test patients of all tasks; classes only, but for coverage."""
    judged = [e for e in entries if "after" in e["calibration"]]
    fitted = sum(e["calibration"]["kind"] != "none" for e in judged)
    cells = [
        _mean(e["calibration"][when][what] for e in judged)
        for what, when in (
            ("ece", "before"),
            ("ece", "after"),
            ("ece_if_perfect", "after"),
            ("brier", "before"),
            ("brier", "after"),
        )
    ]
    sets = [e["conformal"] for e in entries if "covered" in e["conformal"]]
    of_classes = [e for e in sets if "covered_before" in e]
    before, covered = _covered(of_classes, "covered_before"), _covered(sets, "covered")
    of_shares = [e["cannot_say"] for e in entries if e["kind"] not in ("regression", "ordinal")]
    both = [each for each in of_shares if "error_of_the_rest" in each]
    share = mean(e["cannot_say"]["share"] for e in entries if "share" in e["cannot_say"])
    errors = [_mean(e[key] for e in both) for key in ("error_of_all", "error_of_the_rest")]
    return (name, f"{fitted} of {len(judged)}", *cells, before, covered, f"{share:.0%}", *errors)


def _covered(sets: Sequence[Entry], key: str) -> str:
    """Over all patients."""
    patients = sum(e["patients"] for e in sets)
    return f"{sum(e[key] * e['patients'] for e in sets) / patients:.1%}" if patients else "-"


def _shifts(outcomes: Sequence[Outcome]) -> Iterable[tuple[str, ...]]:
    for name in outcomes[0].shifts:
        strange, empty = (mean(each.shifts[name][at] for each in outcomes) for at in (0, 1))
        yield name, f"{strange:.1%}", f"{empty:.1%}"


def _mean(values: Iterable[float]) -> str:
    listed = list(values)
    return f"{mean(listed):.3f}" if listed else "-"


def _table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"
