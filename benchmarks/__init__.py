"""Benchmarks: each prints a ratio of two things measured in one run, interleaved, and writes JSON. `make bench`."""
