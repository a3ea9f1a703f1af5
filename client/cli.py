"""`consilium predict` and `consilium site …`: what a hospital does with its own data and the shared model."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from client import network_cli
from client.approval import cli as approval_cli
from client.assessment import cli as assessment_cli
from client.at_rest import cli as at_rest_cli
from client.benefit import cli as benefit_cli
from client.ledger import cli as ledger_cli
from client.secure import cli as enrol_cli
from client.warn import warn

site_app = typer.Typer(help="Work at one hospital.", no_args_is_help=True)
site_app.command("init")(enrol_cli.init)
site_app.command("join")(network_cli.join)
site_app.command("sign")(enrol_cli.sign)
site_app.command("accept")(enrol_cli.accept)
site_app.command("roster")(enrol_cli.show)
site_app.command("review")(approval_cli.review)
site_app.command("approve")(approval_cli.approve)
site_app.command("check")(network_cli.check)
site_app.command("start")(network_cli.start)
site_app.command("status")(network_cli.status)
site_app.command("stop")(network_cli.stop)
site_app.command("leave")(network_cli.leave)
site_app.command("pause")(approval_cli.pause)
site_app.command("resume")(approval_cli.resume)
site_app.command("ledger")(ledger_cli.ledger)
site_app.add_typer(ledger_cli.receipts_app, name="receipts")
site_app.command("model")(at_rest_cli.model)
site_app.command("benefit")(benefit_cli.benefit)
site_app.command("assessment")(assessment_cli.assessment)


def predict(
    model: Annotated[Path, typer.Argument(help="A model.safetensors, or the encrypted one in a site's folder.")],
    table: Annotated[Path, typer.Argument(help="Patients: CSV, Parquet, or a site.toml that maps columns and units.")],
    out: Annotated[Path, typer.Option("--out", help="Where to write the predictions, a CSV file.")],
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Also one column per class of multiclass and ordinal tasks.")
    ] = False,
    hourly: Annotated[bool, typer.Option("--hourly", help="Also one column per hour of hourly tasks.")] = False,
) -> None:
    """Predict every task for every row of a table, under the contract that the model was trained with."""
    from client.predict import predict_file

    console = Console()

    def tell(sentence: str) -> None:
        console.print(sentence, soft_wrap=True, markup=False, highlight=False)

    rows = predict_file(model, table, out, probabilities=probabilities, hourly=hourly, warn=warn, tell=tell)
    console.print(f"{rows} rows -> {out}")
