"""docs/wrong-site.md: how many faults are caught, and what clean hospitals say."""

from collections import Counter
from dataclasses import dataclass
from math import sqrt

from common.unlike import Finding
from experiments.wrong_site.faults import KINDS, LEAST_KNOWN
from experiments.wrong_site.study import Tried

_HEAD = """# A hospital whose data are wrong

Written by `make wrong-site DATA=FOLDER`; do not edit by hand. Commit `{commit}`.

Before round 1 each hospital holds its columns against the sum of the others' (`[survey]` in
[federation.md](federation.md), [protocol.md](protocol.md)). Here one hospital is given a fault of one column, drawn at
random, and asked what it finds; sites run their own code on their own tables. A column is drawn among those with
{least} values there or more that three hospitals hold, whether or not it goes together with anything: what nothing goes
together with cannot be missed by looking at associations either.

- **unit**: a numeric column in another unit that can become the plan's, and site.toml does not say so.
- **factor 10**: ten times too large or too small. **shift**: moved by 1.5 to 4 of its standard deviations.
- **mirrored**: a numeric scale the other way round. **reversed code**: 0 for 1 and 1 for 0.
- **permuted**: the column's values in another order, so that they belong to other patients.

**How the limits were set.** Chance alone makes a site whose columns are right name one as reversed once in a hundred
comparisons at most, and as unrelated once in a thousand. What counts as an ordinary difference between hospitals, and
the limits for units and shifts, were set with a margin after looking at clean splits with seeds 0 to 4. A first rule
without the family-wise limit raised a flag at seed 114; with once in a thousand for both, Cleveland's raw code was
missed in 5 of 20 splits from seed 200 on, and with once in a hundred for both, splits of heart from seed 400 on had
three columns called unrelated that are right. The tables below are of splits from seed {first} on. Splits of one
federation share its patients: {seeds} of them are far from {seeds} federations. Another one may differ more by nature,
and then a flag is a question, not a verdict.

## Caught

Share of faults that the faulty hospital names by the column, with the 95 % interval (Wilson 1927).

{caught}

## Who else says so

The sum of the others holds the faulty hospital's part. Of up to three other hospitals that were asked for each fault,
so many found something that they do not find without it. With three or four hospitals one that is large can make the
others look wrong; which of those flagged it is, people have to find out.

{innocent}

## Clean hospitals

{clean}

## Cleveland's own code

`history_of_hypertension_as_coded` is Cleveland's raw code, which runs the other way than at the other three hospitals.
With it in place of the corrected one, on {seeds} splits:

{cleveland}

## A hospital in degrees Fahrenheit

Each eICU hospital in turn writes all its temperatures in °F, which its site.toml does not say:
{warm} (a hospital and a split each).
They lie outside the plan's plausible range, and the finding says that they would fit as °F.
"""


@dataclass(frozen=True)
class Federation:
    """flags: (site, finding) of all clean splits. tried: kind of fault -> what came of each."""

    name: str
    sites: int
    seeds: int
    flags: list[tuple[str, Finding]]
    tried: dict[str, list[Tried]]


def document(
    federations: list[Federation],
    cleveland: dict[str, tuple[int, int, int]],
    fahrenheit: tuple[int, int, int],
    commit: str,
    *,
    first: int,
) -> str:
    """The whole page."""
    named, others, tried = fahrenheit
    head = ["fault", *(f"{each.name} ({each.sites} hospitals)" for each in federations)]
    caught, innocent = [head, ["---"] * len(head)], [head, ["---"] * len(head)]
    for kind in KINDS:
        caught.append([kind, *(_share([one.named for one in each.tried[kind]]) for each in federations)])
        asked = [each.tried[kind] for each in federations]
        innocent.append([kind, *(_share([bool(one.others) for one in tried]) for tried in asked)])
    flipped = [["raw code in", "Cleveland names it", "another hospital is flagged as well"], ["---"] * 3]
    flipped += [[what, f"{named} of {n}", f"{others} of {n}"] for what, (named, others, n) in cleveland.items()]
    return _HEAD.format(
        commit=commit,
        least=LEAST_KNOWN,
        seeds=federations[0].seeds,
        first=first,
        caught=_table(caught),
        innocent=_table(innocent),
        clean="\n".join(f"- {each.name}, {each.seeds} splits: {_flags(each)}" for each in federations),
        cleveland=_table(flipped),
        warm=f"all of them are named in {named} of {tried} cases, another column in {others}",
    )


def _flags(federation: Federation) -> str:
    if not federation.flags:
        return "no finding at any hospital."
    counts = Counter((site, finding.column, finding.kind) for site, finding in federation.flags)
    told = [f"{site}: {column} ({kind}) in {count} splits" for (site, column, kind), count in sorted(counts.items())]
    return f"{'; '.join(told)}."


def _share(outcomes: list[bool]) -> str:
    """`0.83 [0.75, 0.89], n = 100`"""
    n, caught = len(outcomes), sum(outcomes)
    if n == 0:
        return "none possible"
    z = 1.959964
    middle = (caught + z * z / 2) / (n + z * z)
    half = z / (n + z * z) * sqrt(caught * (n - caught) / n + z * z / 4)
    return f"{caught / n:.2f} [{max(0.0, middle - half):.2f}, {min(1.0, middle + half):.2f}], n = {n}"


def _table(rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
