"""Warnings on the terminal: what is allowed and looks like a slip. They go to standard error, not into a result."""

from rich.console import Console


def warn(sentence: str) -> None:
    """Print one sentence, on one line however long it is."""
    errors = Console(stderr=True, soft_wrap=True)
    errors.print(f"warning: {sentence}", style="yellow", markup=False, highlight=False)
