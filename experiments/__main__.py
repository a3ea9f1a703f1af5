"""`python -m experiments` is the `consilium` command."""

from experiments.cli import main

main()
