"""The text of a policy.toml: the line on which a mistake stands, and the template for a hospital that has none."""

import tomllib
from typing import Any

from pydantic import ValidationError

from client.policy.rules import KINDS_IN_WORDS, Contradiction

DOCUMENT = "docs/policy.md"
_KINDS = ", ".join(f"'{kind}' ({words})" for kind, words in KINDS_IN_WORDS.items())
_DECIDE = f"only this hospital can decide what may leave without noise: [] for nothing, or a list of {_KINDS}"
_MISSING = {"budget.allow_unnoised": _DECIDE, "budget": f"write 'allow_unnoised' in it; {_DECIDE}"}
_ALLOWED = {
    "tuple_type": "has to be a list in [ ]",
    "model_type": "has to be a table with keys of its own",
    "string_type": "has to be text in quotes",
    "bool_type": "has to be true or false",
    "int_type": "has to be a whole number",
    "float_type": "has to be a number",
}


def first_mistake(error: ValidationError, text: str) -> str:
    """The first of pydantic's findings as one sentence: line, key, what was found, what is allowed."""
    detail = error.errors(include_url=False)[0]
    location = [step for step in detail["loc"] if isinstance(step, str)]
    cause = (detail.get("ctx") or {}).get("error")
    if isinstance(cause, Contradiction):
        location.append(cause.key)
    key, kind = ".".join(location), detail["type"]
    line = line_of(text, location)
    where = f"line {line}: " if line else ""
    if kind == "extra_forbidden":
        return f"{where}unknown key '{key}'; {DOCUMENT} lists the keys that are allowed."
    if kind == "missing":
        return f"{where}required key '{key}' is missing: {_MISSING[key]}."
    message = _ALLOWED.get(kind, detail["msg"].removeprefix("Value error, ").removeprefix("Input "))
    if kind == "value_error":
        return f"{where}'{key}': {message}."
    found = repr(detail["input"])
    return f"{where}'{key}' is {found if len(found) <= 60 else found[:57] + '...'}, but {message}."


def line_of(text: str, location: list[str]) -> int | None:
    """Number of the line, from 1, on which the key at `location` begins, or else the closest table around it.

    None where not even the first step stands in `text`, which is valid TOML. The lines are read one more at a time:
    the key is on the first with which it appears, or after the last with which the text made sense.
    """
    lines, begins = text.split("\n"), dict[int, int]()
    last_whole = 0
    for number in range(1, len(lines) + 1):
        if not lines[number - 1].strip() and number < len(lines):
            continue
        try:
            content: Any = tomllib.loads("\n".join(lines[:number]))
        except tomllib.TOMLDecodeError:
            continue  # in the middle of a list or of a text over several lines
        for depth, step in enumerate(location, start=1):
            if not isinstance(content, dict) or step not in content:
                break
            content = content[step]
            if depth not in begins:
                begins[depth] = _first_of(lines, last_whole, number)
        if len(begins) == len(location):
            break
        last_whole = number
    return begins[max(begins)] if begins else None


def _first_of(lines: list[str], before: int, number: int) -> int:
    """The first of the lines `before` + 1 to `number` that is more than a comment or empty."""
    return next(n for n in range(before + 1, number + 1) if lines[n - 1].strip() and lines[n - 1].strip()[0] != "#")


TEMPLATE = """\
# This hospital's own rules. Only its site reads them, and no coordinator can change or lower them. docs/policy.md
# explains every key. What is commented out has the value that is shown; take away the '#' to change it.

[secure]
# required = true               # plans in which the coordinator sees this hospital's own numbers are refused
# min_cohort = 3                # no sum over fewer hospitals
# colluding_sites = 0           # hospitals that may side with the coordinator without harm to this one
# retries = 1                   # further sums on a model for which one was opened
# other_survivors = 0           # how many of them over other hospitals; 0 is the only private choice
# blocked = []                  # hospitals with which this one takes part in no sum

[limits]
# max_clip_norm = 1.0           # largest L2 norm of an update
# max_grad_norm = 1.0           # largest L2 norm of one patient's gradient
# max_rounds = 200              # rounds of one study; with another question about a round, it counts again
# min_patients = 10             # patients behind any released count
# tell_unlike = true            # the coordinator is told if these data look unlike the others', as one code
# tasks = ["hospital_death"]    # without it: all that an approved plan names
# features = ["age_years"]      # the same
# columns = ["pid", "age"]      # of this hospital's tables, by their names there: all that a plan may read, also
#                               # identifiers, labels, and the columns by which rows are chosen or divided. It protects
#                               # what else is in the tables: a plan can choose its rows by any column that it names.
# hours = "20:00-06:00"         # when training may run, local time; without it at any time
# approved_plans = []           # first 16 or more digits of plan hashes; []: every plan approved here
# approved_code = []            # the same for the code; []: the code with which the plan was approved

[budget]
# delta = 1e-5                  # well below 1 / patients
# epsilon_per_study = 4.0
# epsilon_per_year = 8.0        # calendar year, all studies together
#
# A person has to decide this one; until then nothing runs here. What may leave WITHOUT noise?
#   "levels"      per task and feature a weight of 1/8, 1/4, 1/2 or 1
#   "survey"      sums and histograms over the training rows
#   "update"      the model's change, with tallies of the validation rows
#   "evaluation"  histograms and metrics of the test rows
# A study with noise for patients (privacy.unit = "patient") needs "levels"; one without noise needs all four, and no
# epsilon can be given for it. Nothing at all: allow_unnoised = []
# allow_unnoised = ["levels"]
"""
