"""The `consilium` command. Every error a person can cause ends here as one sentence and exit status 2."""

import os
import sys

# Before Flower or Ray is imported: a hospital's machine calls no telemetry or update host.
os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
os.environ.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import click
import typer
from rich.console import Console

from client.adapt.cli import adapt
from client.cli import predict, site_app
from common.errors import ConsiliumError
from experiments.attack_cli import attack_app
from experiments.command_help import with_argument_help
from experiments.public_data import data_app
from experiments.run_cli import demo, prepare, simulate, synthetic
from experiments.study_cli import baselines, compare
from experiments.sweep_cli import experiment_app
from server.cli import plan_app, server_app

app = typer.Typer(
    help="Hospitals train one multi-task model together; no patient record leaves a hospital.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",  # in the other one [start] is markup and is not shown
)
app.command()(demo)
app.command()(simulate)
app.command()(prepare)
app.command()(predict)
app.command()(adapt)
app.command()(synthetic)
app.command()(baselines)
app.command()(compare)
app.add_typer(plan_app, name="plan")
app.add_typer(site_app, name="site")
app.add_typer(server_app, name="server")
app.add_typer(data_app, name="data")
app.add_typer(attack_app, name="attack")
app.add_typer(experiment_app, name="experiment")

_INTERRUPTED = 130


def main() -> None:
    """Entry point of the `consilium` command."""
    errors = Console(stderr=True)
    try:
        _run()
    except ConsiliumError as error:
        errors.print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(2)
    except OSError as error:
        _drop_output()
        if not isinstance(error, BrokenPipeError):  # the reader wanted no more
            text = f"{error.filename or 'The output'}: {error.strerror or error}."
            errors.print(text, style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(2)
    except SystemExit as end:
        if end.code == _INTERRUPTED:
            again = " A run that had begun can go on with --resume." if sys.argv[1:2] == [simulate.__name__] else ""
            errors.print(f"Stopped.{again}", style="yellow")
        raise


def command() -> click.Command:
    """All that `consilium` does, as what is run: with the texts of the arguments, which `app` by itself has lost."""
    return with_argument_help(typer.main.get_command(app))


def _run() -> None:
    try:
        command()()
    finally:
        sys.stdout.flush()  # here a full disk is one sentence; when Python ends it would be a traceback


def _drop_output() -> None:
    """What could not be written is not tried again when Python ends."""
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
