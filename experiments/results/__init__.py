"""`make results`: the examples on public data beside the baselines, over seeds, as docs/results.md."""
