"""What a dishonest coordinator can do: every attack is run for real, on Consilium's sites and on Flower's built-in mod.

`registry` holds the attacks on Consilium by name, each with the check that must refuse it; `flower_builtin` holds those
that Flower's SecAgg+ does not refuse; `table` puts them side by side. docs/attacks.md is written from here.
"""
