"""The chapter "Was it worth joining?": the federation beside the baselines, by task and by hospital.

It is there when result.json has `baselines` (docs/result.md).
"""

from collections.abc import Mapping
from typing import Any

from server.dashboard.hospitals import hospitals
from server.dashboard.joining import ALONE, SMALLEST
from server.dashboard.markup import Markup, el
from server.dashboard.methods import mean, mean_of, methods
from server.dashboard.scores import Score, mapping, score_of
from server.dashboard.wording import counted, fraction

_COMPARED = {ALONE: "alone", "pooled": "with all records in one place"}


def worth(result: Mapping[str, Any]) -> Markup | None:
    """The chapter, or None where the result has no baselines."""
    baselines = {name: each for name, each in mapping(result, "baselines").items() if isinstance(each, Mapping)}
    scores = {name: score_of(task) for name, task in mapping(result, "tasks").items()}
    if not baselines or not scores:
        return None
    return el(
        "section",
        el("h2", "Was it worth joining?"),
        el("p", _reading(scores, baselines), class_="text"),
        methods(scores, baselines),
        *hospitals(result, scores),
        id="worth",
    )


def _reading(scores: Mapping[str, Score], baselines: Mapping[str, Any]) -> str:
    sentences = ["Other models, fitted on the very same training patients and judged on the same test patients."]
    ranked = [name for name, score in scores.items() if score.measure == "auroc"]
    ours = mean([scores[name].per_site_mean for name in ranked])
    others = [(words, mean_of(baselines.get(name), scores, ranked)) for name, words in _COMPARED.items()]
    known = [f"{fraction(value)} {words}" for words, value in others if value is not None]
    if ours is not None and known:
        place = f"mean AUROC over {counted(len(ranked), 'task')}" if len(ranked) > 1 else "AUROC"
        sentences.append(
            f"The same network at a hospital: {fraction(ours)} with the federation, {' and '.join(known)} ({place})."
        )
    errors = any(score.measure == "mae" for score in scores.values())
    smallest = f"{SMALLEST:g} of AUROC" + (f" or {100 * SMALLEST:g} % of an error" if errors else "")
    sentences.append(f"Differences under {smallest} say little, and so does any single split of the patients.")
    return " ".join(sentences)
