"""What a command of the coordinator prints: lines as they are, however long, and what comes next."""

from rich.console import Console


def say_next(*lines: str) -> None:
    """What the operator does now."""
    first, *others = lines
    say(f"Next: {first}", *others)


def say(*lines: str) -> None:
    """Print lines as they are; empty ones are left out."""
    console = Console(soft_wrap=True)
    for line in lines:
        if line:
            console.print(line, markup=False, highlight=False)
