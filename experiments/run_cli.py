"""`consilium demo`, `simulate`, `synthetic`: federations in one process. Heavy imports wait until they are needed."""

from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

Out = Annotated[Path, typer.Option("--out", help="Folder for the result, the model and the report.")]
Seed = Annotated[int | None, typer.Option("--seed", min=0, help="Sets seeds.split and seeds.training.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="section.key=value", help="Change one setting of the plan.")
]
_DEMO_MARK = "DEMO"
Start = Annotated[
    Path | None, typer.Option("--start", metavar="MODEL", help="The model that a plan with [start] goes on from.")
]
Hours = Annotated[
    list[Path] | None,
    typer.Option("--hours", help="For a plan with [sequence]: hourly table(s) of all sites that are bare tables."),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on after the last finished round in --out.")]


def demo(
    out: Out = Path("runs/demo"), seed: Annotated[int, typer.Option("--seed", min=0)] = 0, settings: Settings = None
) -> None:
    """Three simulated hospitals train one model for six tasks; about a minute, then open the report."""
    from client.config import find_sites
    from client.data.synthetic import hospitals, write_hospitals
    from common.files import read_plan

    with as_file(files("experiments") / "demo.toml") as path:
        plan = read_plan(path, overrides=_overrides(settings, seed))
    data = _fresh_demo(out) / "hospitals"
    write_hospitals(data, hospitals(3), seed=seed)
    _run_and_show(plan, find_sites(data), out, resume=False)


def _fresh_demo(out: Path) -> Path:
    """`out`, empty but for the mark of a demo. Only what an earlier demo left there is removed, never anything else."""
    import shutil

    from common.errors import RunError
    from common.files import write_atomic

    if out.exists() and not out.is_dir():
        raise RunError(f"{out}: this is a file; choose another --out.")
    if out.is_dir() and any(out.iterdir()):
        if not (out / _DEMO_MARK).is_file():
            raise RunError(f"{out}: this folder is not empty and holds no earlier demo; choose another --out.")
        for path in out.iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    write_atomic(out / _DEMO_MARK, b"Made by `consilium demo`, which empties this folder when it runs again.\n")
    return out


def simulate(
    federation: Annotated[Path, typer.Argument(help="The plan, a federation.toml.")],
    sites: Annotated[Path, typer.Option("--sites", help="Folder with one table or one site.toml per site.")],
    out: Out = Path("runs/latest"),
    seed: Seed = None,
    settings: Settings = None,
    hours: Hours = None,
    resume: Resume = False,
    start: Start = None,
    benefit: Annotated[
        bool, typer.Option("--benefit", help="Afterwards `site benefit` for each site: was it worth joining?")
    ] = False,
) -> None:
    """Run a federation over the tables in a folder, each as one virtual site."""
    from common.files import read_plan

    plan = read_plan(federation, overrides=_overrides(settings, seed))
    found = _sites(federation, plan, sites, hours)
    _run_and_show(plan, found, out, resume=resume, start=start, benefit=benefit)


def prepare(
    federation: Annotated[Path, typer.Argument(help="The plan, a federation.toml.")],
    sites: Annotated[Path, typer.Option("--sites", help="Folder with one table or one site.toml per site.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for plan.json, roster.json and sites/NAME/.")],
    seed: Seed = None,
    settings: Settings = None,
    hours: Hours = None,
) -> None:
    """Write the plan, one virtual site per table, their keys and a roster, for `flwr run` over many cores."""
    from common.errors import RunError
    from common.files import read_plan, write_atomic
    from experiments.enrolment import check_rules, enrol_virtual
    from experiments.simulate import prepare_sites
    from server.journal import PLAN

    plan = read_plan(federation, overrides=_overrides(settings, seed))
    configs = _sites(federation, plan, sites, hours)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunError(f"{out}: this is no empty folder; choose another --out.")
    if plan.aggregation.secure:
        check_rules(plan, configs)
    write_atomic(out / PLAN, plan.canonical)
    prepared = prepare_sites(plan, configs, out)
    enrolled = ""
    if plan.aggregation.secure:
        roster = enrol_virtual(plan, prepared, out).roster
        enrolled = f", enrolled for secure sums (roster {roster.number})"
    Console().print(
        f"{len(prepared)} sites under plan {plan.hash[:16]} in {out}{enrolled}; docs/deployment.md shows the flwr run."
    )


def synthetic(
    out: Annotated[Path, typer.Option("--out", help="Folder for the hospitals, one sub-folder each.")],
    sites: Annotated[int, typer.Option("--sites", min=1, help="How many hospitals.")] = 3,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    patients: Annotated[int | None, typer.Option("--patients", min=1, help="Patients at each hospital.")] = None,
    hourly: Annotated[bool, typer.Option("--hourly", help="Also write hourly sequences.")] = False,
) -> None:
    """Write synthetic hospitals with known true risks (see docs/synthetic.md), and the plan that fits them."""
    from client.data.synthetic import hospitals, write_hospitals
    from common.errors import RunError
    from common.files import write_atomic

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunError(f"{out}: this is no empty folder; choose another --out.")
    write_hospitals(out, hospitals(sites, seed, patients=patients), seed=seed, hourly=hourly)
    write_atomic(out / "federation.toml", (files("experiments") / "demo.toml").read_bytes())
    words = f"{sites} hospitals in {out}; try: consilium simulate {out}/federation.toml --sites {out}"
    Console().print(words, soft_wrap=True, highlight=False)


def _overrides(settings: list[str] | None, seed: int | None) -> tuple[str, ...]:
    seeds = () if seed is None else (f"seeds.split={seed}", f"seeds.training={seed}")
    return (*seeds, *(settings or ()))


def _sites(federation: Path, plan: Any, folder: Path, hours: list[Path] | None) -> Any:
    """The sites in `folder`, those that are bare tables with the hourly tables `hours`. Raises PlanError."""
    from client.config import find_sites, with_hours
    from common.errors import PlanError

    if hours and plan.sequence is None:
        raise PlanError(f"{federation}: has no [sequence], so that no hour of --hours would be read; leave it out.")
    return with_hours(find_sites(folder), hours or ())


def _run_and_show(
    plan: Any, sites: Any, out: Path, *, resume: bool, start: Path | None = None, benefit: bool = False
) -> None:
    from client.warn import warn
    from experiments.simulate import simulate as run
    from server.terminal import Progress, result_table

    console = Console()
    with Progress(console) as progress:
        result = run(plan, sites, out, resume=resume, listeners=(progress,), start=start, warn=warn)
    console.print(result_table(result))
    for what, name in (("Report", "report.html"), ("Result", "result.json"), ("Model ", "model.safetensors")):
        console.print(f"{what}  {out / name}", soft_wrap=True, highlight=False)
    if benefit:
        from experiments.benefit import benefit_of_sites, benefit_table

        console.print(benefit_table(benefit_of_sites(out, sorted(result["sites"]))))
        console.print(f"Each hospital's own report: {out / 'sites' / 'NAME' / 'benefit.html'}", soft_wrap=True)
