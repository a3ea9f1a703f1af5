"""docs/hourly.md: the study as tables."""

from collections.abc import Mapping, Sequence
from statistics import mean

from common.plan import Plan
from experiments.compare.gather import Runs
from experiments.hourly.study import ENCODERS, FEDERATED, LEARNERS, NETWORKS, POOLED
from experiments.results.cells import paired, spread, table
from experiments.results.study import overlap as overlap_of

Measures = Mapping[str, Sequence[str]]

_HEAD = """# Hour by hour: encoders of a sequence

Written by `make hourly DATA=FOLDER` (see [data.md](data.md) for the folder); do not edit by hand. {title}.

`examples/{plan}` with {changes}, {sites} sites, hours 0 to {last} as inputs, {rounds} rounds, sums in the open (the
same model as with secure sums to within their resolution, in less time), no noise.

All cells are **per-site means of the AUROC** on test patients, mean ± standard deviation over seeds; differences are
paired by seed, with a 95 % interval over splits in brackets, wider for the patients that these share
([baselines.md](baselines.md)). Seeds {first} to {end} are splits on which no default was chosen. **Stays**: the mean
over the {stays} tasks of the whole stay. {hourly} are asked at each hour, from what was known by then
([federation.md](federation.md#hours)); the hours of a stay count as one stay together.

**Pooled** is the same network on the rows of all sites as those of one. **mlp** has no memory: at each hour it gets of
each feature the mean, the least, the greatest and the last value so far, how often there was one, and when.

Runs of commit `{commit}`.
"""

_ARTICLE = """## The article's comparison

Seeds {first} to {end}, everything on the rows of all sites together. **single_task**: one network per task.
**multi_label**: one plain multi-label network. The others are fitted task by task on the row of a stay and the same
summaries of its hours, with the hour: for a task of the stay those of the last hour; for an hourly task each labelled
hour is a row with the summaries up to it, and counts as any other. The folds in which logistic_regression_tuned chooses
its penalty can part the hours of one stay. The support vectors learn from {svm:,} rows drawn at random where there are
more. See [baselines.md](baselines.md).
"""


def measures(plan: Plan) -> dict[str, tuple[str, ...]]:
    """Column -> the tasks that its mean is over: those of the stay that have an AUROC, then each hourly one."""
    stays = tuple(task.name for task in plan.tasks if not task.hourly and task.kind != "regression")
    return {"stays": stays, **{plan.tasks[index].name: (plan.tasks[index].name,) for index in plan.hourly}}


def values(runs: Runs, label: str, tasks: Sequence[str]) -> list[float]:
    """The mean over `tasks` of the per-site mean AUROC, for each seed."""
    return [mean(run["tasks"][task]["per_site_mean"]["auroc"] for task in tasks) for run in runs[label].values()]


def document(
    plan: Plan,
    main: Runs,
    article: Runs | None,
    *,
    plan_file: str,
    commit: str,
    svm: int,
    changes: Sequence[str] = (),
) -> str:
    """main: the runs of `study.encoders`. article: those of `study.article`, or None.

    changes: of the plan's defaults. svm: most rows from which support vectors learn.
    """
    columns, wide = measures(plan), overlap_of(plan)
    first = next(iter(main.values()))
    facts = {"first": min(first), "end": max(first)}
    hourly = " and ".join(plan.tasks[index].name for index in plan.hourly)
    head = _HEAD.format(
        title=plan.federation.title or plan.federation.name,
        plan=plan_file,
        changes=" ".join(f"`{change}`" for change in changes) or "its defaults",
        sites=next(iter(first.values()))["site_count"],
        last=plan.hours - 1,
        rounds=plan.training.rounds,
        stays=len(columns["stays"]),
        hourly=hourly[:1].upper() + hourly[1:],
        commit=commit,
        **facts,
    )
    parts = [
        head,
        "## Every encoder",
        _models(main, columns),
        "Federated minus pooled:",
        _against(main, columns, [(f"{encoder} {FEDERATED}", f"{encoder} {POOLED}") for encoder in ENCODERS], wide),
        "Against the MLP on summaries:",
        _against(
            main,
            columns,
            [(f"{e} {how}", f"mlp {how}") for how in (FEDERATED, POOLED) for e in ENCODERS if e != "mlp"],
            wide,
        ),
        "## By task, federated",
        _tasks(main, columns),
    ]
    if article is not None:
        seeds = next(iter(article.values()))
        own = [(f"{encoder} {POOLED}", f"{encoder} {method}") for encoder in ENCODERS for method in NETWORKS]
        best = f"{plan.model.sequence_encoder} {POOLED}"
        parts += [
            _ARTICLE.format(first=min(seeds), end=max(seeds), svm=svm),
            _models(article, columns),
            "Our network, pooled, minus each:",
            _against(article, columns, [*own, *((best, learner) for learner in LEARNERS)], wide),
        ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _models(runs: Runs, columns: Measures) -> str:
    rows = []
    for label, seeds in runs.items():
        size = f"{mean(run['parameters'] for run in seeds.values()):,.0f}"
        seconds = f"{mean(run['seconds'] for run in seeds.values()):.0f}"
        rows.append([label, *(spread(values(runs, label, tasks)) for tasks in columns.values()), size, seconds])
    return table(["model", *columns, "parameters", "s"], rows)


def _against(runs: Runs, columns: Measures, pairs: Sequence[tuple[str, str]], overlap: float) -> str:
    rows = [
        [
            f"{a} minus {b}",
            *(paired(values(runs, a, tasks), values(runs, b, tasks), overlap) for tasks in columns.values()),
        ]
        for a, b in pairs
    ]
    return table(["difference", *columns], rows)


def _tasks(runs: Runs, columns: Measures) -> str:
    names = [task for tasks in columns.values() for task in tasks]
    rows = [[name, *(spread(values(runs, f"{e} {FEDERATED}", [name])) for e in ENCODERS)] for name in names]
    return table(["task", *ENCODERS], rows)
