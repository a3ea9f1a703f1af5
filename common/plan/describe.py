"""A plan in plain words: what will run, and what will leave each site."""

from common.model.layout import Layout
from common.plan.plan import Plan
from common.survey import Survey

Section = tuple[str, list[str]]


def describe(plan: Plan) -> list[Section]:
    """Headings with lines of text, in the order in which a reviewer asks."""
    return [_study(plan), _tasks(plan), _inputs(plan), _training(plan), _leaving(plan), _staying(plan)]


def _study(plan: Plan) -> Section:
    split = plan.split
    parts = f"{split.train:.0%} train, {split.validation:.0%} validation, {split.test:.0%} test"
    how = f"by the column {split.split_column!r}" if split.split_column else f"by patient, with a keyed hash: {parts}"
    lines = [f"Plan hash: {plan.hash}", f"Rows are divided {how}."]
    if plan.data.keep_rows:
        lines.append(f"Only rows with {plan.data.keep_rows} take part.")
    return plan.federation.title or plan.federation.name, lines


def _tasks(plan: Plan) -> Section:
    lines = []
    for task in plan.tasks:
        positive = f", positive when {task.positive_when}" if task.positive_when else ""
        hidden = f"; does not see {', '.join(task.exclude)}" if task.exclude else ""
        words = f": {task.description}" if task.description else ""
        lines.append(f"{task.name} ({task.kind}, column {task.label}{positive}){words}{hidden}")
    return f"{len(plan.tasks)} task(s) are learnt together", lines


def _inputs(plan: Plan) -> Section:
    lines = []
    for feature in plan.features:
        if feature.range is not None:
            allowed = f"{feature.range[0]:g} to {feature.range[1]:g} {feature.unit}"
        else:
            allowed = "0 or 1" if feature.categories is None else ", ".join(_code(c) for c in feature.categories)
        lines.append(f"{feature.name}: {allowed}")
    return f"{len(plan.features)} feature(s) are read at each site; other values are set to missing", lines


def _training(plan: Plan) -> Section:
    rules, sums = plan.training, plan.aggregation
    hidden = " and ".join(str(width) for width in plan.model.hidden)
    return "What runs", [
        f"{Layout(plan).parameters:,} parameters: a shared encoder of {hidden} units"
        + (" with a linear path" if plan.model.linear_path else ""),
        f"{rules.rounds} rounds; in each, every site trains {rules.local_epochs} epoch(s) in batches of "
        f"{rules.batch_size} with {rules.optimizer}, step size {rules.learning_rate:g} ({rules.schedule}).",
        f"The step is applied by {sums.strategy}. A round needs {sums.min_sites} sites; a task or feature that fewer "
        f"than {sums.min_task_sites} sites hold is left out.",
    ]


def _leaving(plan: Plan) -> Section:
    update = Layout(plan).parameters
    seen = (
        "the coordinator learns their sum only"
        if plan.aggregation.secure
        else ("sums are plain: the coordinator sees each site's vector")
    )
    return "What leaves each site", [
        "Once: which tasks and features it can train, each with a weight of 1/8, 1/4, 1/2 or 1 .",
        f"Twice: {Survey(plan).size:,} sums over its training rows (counts, sums, histograms), for the pooled scaling.",
        f"Each round: its change of {update:,} parameters, scaled to an L2 norm of at most {_norm(plan)}, "
        "and histograms of the scores of its validation rows.",
        "At the end: histograms of the scores of its test rows, and its metrics as terms of the per-site mean.",
        f"All of these are vectors that are added over sites; {seen}.",
        "If something fails: a code and a fixed sentence.",
    ]


def _norm(plan: Plan) -> str:
    return f"{plan.aggregation.clip_norm:g}"


def _staying(plan: Plan) -> Section:
    counts = "the number of rows it has, " if plan.aggregation.secure else ""
    return "What never leaves", [f"Rows, identifiers, {counts}error texts, predictions for a patient."]


def _code(code: float | str) -> str:
    return code if isinstance(code, str) else f"{code:g}"
