"""What the hospitals' own reports say on data that anybody can have: `python -m experiments.benefit_study DATA`."""
