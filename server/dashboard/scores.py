"""`Score`: the one figure by which a task of result.json is judged, read the same way by the page and the terminal."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from server.dashboard.wording import amount, fraction, number

NAMES = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "brier": "Brier score",
    "accuracy": "Accuracy",
    "kappa": "Kappa",
    "mae": "MAE",
}


@dataclass(frozen=True)
class Score:
    """AUROC where a task has classes, otherwise the mean absolute error; None is "not known".

    pooled: over all rows of all sites; from the merged histogram where it could not be computed from rows.
    best: what the true risk behind synthetic data would score.
    rows: labelled test rows of all sites.
    noise: by how much `pooled` may be off, with 95 % probability, for the noise that protects patients.
    """

    measure: str
    unit: str
    per_site_mean: float | None
    pooled: float | None
    best: float | None
    rows: float | None
    noise: float | None = None

    @property
    def name(self) -> str:
        return NAMES[self.measure]

    def text(self, value: object) -> str:
        """`value` in this measure's own format, with the unit for an error; a dash where there is none."""
        return fraction(value) if self.measure == "auroc" else amount(value, self.unit)

    def pooled_text(self, sign: str = "\u00b1") -> str:
        """The pooled value with its noise, "0.842 \u00b1 0.030"; sign: what stands between the two."""
        shown = self.text(self.pooled)
        if self.pooled is None or self.noise is None:
            return shown
        if self.measure == "auroc":
            return f"{shown} {sign} {fraction(self.noise)}"
        value, noise = amount(self.pooled), amount(self.noise, like=self.pooled)
        return f"{value} {sign} {noise} {self.unit}".rstrip()


def score_of(task: Mapping[str, Any]) -> Score:
    """The headline score of one entry of `tasks`."""
    measure = "mae" if task.get("kind") == "regression" else "auroc"
    pooled, mean = mapping(task, "pooled"), mapping(task, "per_site_mean")
    merged = number(pooled.get(measure))
    if merged is None and measure == "auroc":
        merged = number(mapping(task, "auroc_histogram").get("auroc"))
    return Score(
        measure=measure,
        unit=_unit(task) if measure == "mae" else "",
        per_site_mean=number(mean.get(measure)),
        pooled=merged,
        best=number(task.get(f"oracle_{measure}")),
        rows=number(pooled.get("n")) if "n" in pooled else number(mean.get("n")),
        noise=number(mapping(task, "noise").get(measure)),
    )


def _unit(task: Mapping[str, Any]) -> str:
    # "1" is UCUM's name for no unit.
    return "" if task.get("unit") in (None, "1") else str(task["unit"])


def mean_auroc(tasks: Mapping[str, Mapping[str, Any]], key: str = "per_site_mean") -> tuple[float, int] | None:
    """The mean over tasks of one AUROC column, and over how many tasks; None where no task has one."""
    scores = [score_of(task) for task in tasks.values()]
    values = [getattr(score, key) for score in scores if score.measure == "auroc"]
    known = [value for value in values if value is not None]
    return (sum(known) / len(known), len(known)) if known else None


def mapping(parent: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """`parent[key]` if it is an object, otherwise an empty one: every part of a result may be absent."""
    value = parent.get(key)
    return value if isinstance(value, Mapping) else {}


def history_of(result: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The entries of `history` that say which round they are of."""
    return [entry for entry in result.get("history") or [] if number(entry.get("round")) is not None]


def history_rows(result: Mapping[str, Any]) -> str:
    """The rows that `history` is of, in a word: training where the plan keeps none for validation."""
    return "training" if result.get("history_rows") == "training" else "validation"
