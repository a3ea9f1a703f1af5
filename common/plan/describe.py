"""A plan in plain words: what will run, and what will leave each site."""

from common.associations import BINS, Associations
from common.layouts import survey_of
from common.model.layout import Layout
from common.plan.data import Feature
from common.plan.describe_privacy import describe_privacy
from common.plan.describe_sums import Described, describe_sums
from common.plan.plan import Plan

_PARTS = {"heads": "heads", "linear": "linear path"}


def describe(plan: Plan) -> list[Described]:
    """Headings with lines of text, in the order in which a reviewer asks."""
    parts = (_study, _tasks, _inputs, _training, _leaving, describe_sums, describe_privacy, _staying)
    return [part(plan) for part in parts]


def _study(plan: Plan) -> Described:
    split = plan.split
    parts = f"{split.train:.0%} train, {split.validation:.0%} validation, {split.test:.0%} test"
    how = f"by the column {split.split_column!r}" if split.split_column else f"by patient, with a keyed hash: {parts}"
    lines = [f"Plan hash: {plan.hash}", f"Rows are divided {how}."]
    if plan.data.keep_rows:
        lines.append(f"Only rows with {plan.data.keep_rows} take part.")
    return plan.federation.title or plan.federation.name, lines


def _tasks(plan: Plan) -> Described:
    lines = []
    for task in plan.tasks:
        positive = f", positive when {task.positive_when}" if task.positive_when else ""
        hidden = f"; does not see {', '.join(task.exclude)}" if task.exclude else ""
        words = f": {task.description}" if task.description else ""
        if task.event is not None:
            told = f"at each of {plan.hours} hours, whether {task.event} within the {task.within_h} hours after it"
        else:
            told = f"column {task.label}" + (f" at each of {plan.hours} hours" if task.hourly else "")
        lines.append(f"{task.name} ({task.kind}, {told}{positive}){words}{hidden}")
    if plan.hourly:
        lines.append("A prediction at an hour uses nothing that was measured after it.")
    return f"{len(plan.tasks)} task(s) are learnt together", lines


def _inputs(plan: Plan) -> Described:
    lines = [f"{feature.name}: {_allowed(feature)}" for feature in plan.features]
    if plan.sequence is not None:
        tables = f"of the hourly tables, hours 0 to {plan.hours - 1} by the column {plan.sequence.hour!r}"
        lines += [f"{feature.name}, {tables}: {_allowed(feature)}" for feature in plan.hour_features]
        if (later := max((task.within_h or 0 for task in plan.tasks), default=0)) > 0:
            lines.append(f"Hours up to {plan.hours + later - 1} are read for labels.")
    return f"{len(plan.inputs)} feature(s) are read at each site; other values are set to missing", lines


def _allowed(feature: Feature) -> str:
    if feature.range is not None:
        return f"{feature.range[0]:g} to {feature.range[1]:g} {feature.unit}"
    return "0 or 1" if feature.categories is None else ", ".join(_code(code) for code in feature.categories)


def _training(plan: Plan) -> Described:
    rules, sums = plan.training, plan.aggregation
    hidden = " and ".join(str(width) for width in plan.model.hidden)
    sequence = (
        f", beside it one of the hours ({plan.model.sequence_encoder}, {plan.model.layers} layer(s) of "
        f"{plan.model.width} units)"
        if plan.sequence is not None
        else ""
    )
    return "What runs", [
        f"{Layout(plan).parameters:,} parameters: a shared encoder of {hidden} units{sequence}"
        + (" with a linear path" if plan.model.linear_path else ""),
        f"{rules.rounds} rounds{_steps(plan)}, step size {rules.learning_rate:g} ({rules.schedule})."
        + (f" It ends sooner after {rules.patience} without a lower validation loss." if rules.patience else ""),
        *_balancing(plan),
        *_start(plan),
        *_own(plan),
        f"The step is applied by {sums.strategy}. A round needs {sums.least_sites} sites; a task or feature that "
        f"fewer than {sums.least_holders} sites hold is left out.",
    ]


def _balancing(plan: Plan) -> list[str]:
    rules = plan.training
    if rules.balancing == "plain":
        return []
    if rules.combines_gradients:
        return [f"The tasks' gradients at the encoder's output are combined by {rules.balancing} (package torchjd)."]
    return ["A task counts the less, the larger its loss is at a site; these weights stay at the site."]


def _own(plan: Plan) -> list[str]:
    lines, parts = [], " and ".join(_PARTS[part] for part in plan.model.local)
    if plan.model.scaling == "site":
        lines.append("Each site maps its numeric features onto the pooled scale by its own training rows' moments.")
    if parts:
        lines.append(f"Each site trains its own {parts}; of the shared model they stay as they began.")
    return lines


def _start(plan: Plan) -> list[str]:
    if plan.start is None:
        return []
    what = "only heads and linear path are trained" if plan.frozen else "the encoder is trained further"
    return [f"It goes on from an earlier model, whose values have the SHA-256 {plan.start.vector}; {what}."]


def _steps(plan: Plan) -> str:
    rules, privacy = plan.training, plan.privacy
    if privacy.pooled_steps:
        return (
            " of one step each: every site adds up the gradients of a random sample of its patients, about "
            f"{rules.batch_size} at all sites together"
        )
    batches = (
        f"random batches of about {rules.batch_size} patients"
        if privacy.per_patient
        else f"batches of {rules.batch_size}"
    )
    more = "" if privacy.per_patient else f", {rules.min_local_steps} steps or more,"
    return f"; in each, every site trains {rules.local_epochs} epoch(s) in {batches}{more} with {rules.optimizer}"


def _leaving(plan: Plan) -> Described:
    secure, noised = plan.aggregation.secure, plan.privacy.per_patient
    lines = [
        "Once: which tasks and features it can train, each with a weight of 1/8, 1/4, 1/2 or 1"
        + ("; all who take part can read these." if secure else "."),
        f"{'Once' if noised else 'Twice'}: {survey_of(plan).size:,} {'noised counts' if noised else 'sums'} over its "
        f"training rows ({'' if noised else 'counts, sums, '}histograms), for the pooled scaling.",
        *_compared(plan),
        _round(plan),
        "At the end: noised histograms and errors of the scores of its test rows."
        if noised
        else "At the end: histograms of the scores of its test rows, and its metrics as terms of the per-site mean.",
    ]
    if secure:
        lines.append(
            "All of these after the first leave masked. With them: public keys, encrypted shares of the masks."
        )
    return "What leaves each site", [*lines, "If something fails: a code and a fixed sentence."]


def _compared(plan: Plan) -> list[str]:
    if not plan.survey.compares or plan.privacy.per_patient:
        return []
    follows = "the run ends before round 1" if plan.survey.unlike == "stop" else "the run goes on"
    return [
        f"Once more: {Associations(plan).size:,} sums over these rows: of each feature and label its counts in {BINS} "
        "bins, or of its codes, and of each pair of them how they go together. What three sites or more hold goes back "
        "to every site, which learns the sum over the others (of three sites: of two) and holds its own columns "
        "against it.",
        "Then one word in the open: whether its data look unlike the others', unless its policy forbids it "
        f"(limits.tell_unlike). Which column it is stays there; {follows} (survey.unlike).",
    ]


def _round(plan: Plan) -> str:
    longest = f"L2 norm of at most {plan.aggregation.clip_norm:g}"
    parameters = f"{Layout(plan).parameters:,} parameters"
    if plan.privacy.pooled_steps:
        return (
            f"Each round: a sum of its patients' clipped gradients for {parameters}, {longest}, and its share of noise."
        )
    change = f"Each round: its change of {parameters}, scaled to an {longest}"
    if plan.privacy.per_patient:
        return f"{change}, made in noised steps, and its norms before and after scaling."
    if plan.privacy.noise_in_sum:
        return f"{change}, with its share of noise."
    return f"{change}, its norms before and after scaling, and histograms of the scores of its validation rows."


def _staying(plan: Plan) -> Described:
    counts = "the number of rows it has (only the sites' sum), " if plan.aggregation.secure else ""
    own = ["the moments by which it scales features"] if plan.model.scaling == "site" else []
    own += [f"its {_PARTS[part]}" for part in plan.model.local]
    further = "".join(f", {each}" for each in own)
    return "What never leaves", [f"Rows, identifiers, {counts}error texts, predictions for a patient{further}."]


def _code(code: float | str) -> str:
    return code if isinstance(code, str) else f"{code:g}"
