"""What `--help` says of a command's arguments: click 8.5 empties the text that typer 0.20 gives each of them."""

import inspect

import click
from typer.models import ArgumentInfo
from typer.utils import get_params_from_function


def with_argument_help(command: click.Command) -> click.Command:
    """`command`, of which every argument, and that of every command below it, has the text of its annotation again."""
    for below in command.commands.values() if isinstance(command, click.Group) else ():
        with_argument_help(below)
    if command.callback is not None:
        told = get_params_from_function(inspect.unwrap(command.callback))
        for parameter in command.params:
            info = told[parameter.name].default if parameter.name in told else None
            if isinstance(info, ArgumentInfo) and info.help:
                parameter.help = info.help  # type: ignore[attr-defined]
    return command
