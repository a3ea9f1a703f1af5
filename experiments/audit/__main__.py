"""`python -m experiments.audit [--repetitions N]` writes docs/privacy-audit.md; about five minutes on one core."""

import argparse

from common.files import write_atomic
from experiments.audit.study import HONEST, table
from experiments.commit import ROOT, commit
from experiments.plainly import plainly

_HEAD = """# An audit of the noise

Written by `make audit`; do not edit by hand. Patients who are easy to find (*canaries*: one far value each, in a
feature of their own) are put into virtual hospitals by a fair coin each, and the sites' own mechanism trains on them:
Poisson samples, clipping by patient, its own noise. Whoever sees a hospital's update guesses which canaries are in
it. What the guesses refute of epsilon, at 95 % confidence, is held against what the accountant claims: more than that
is a mistake in the mechanism. **Rows of planted mistakes** show that the audit would see one; nothing of them is in
shipped code.

"One run": all canaries of a run together (Steinke, Nasr, Jagielski 2023), shares of guesses fixed beforehand and the
error divided among them. "Runs": one canary in each of many runs, by the rates of finding it (Jagielski, Ullman,
Oprea 2020; Clopper and Pearson's intervals), threshold and direction from the first half, judged on the second.

*refuted*: mean over repetitions with its 95 % interval. *ceiling*: what the test could have refuted at most.
*caught*: in how many repetitions more than the claim was refuted; for the mechanism as it is, at most one in twenty
is chance.

"""

_FOOT = """
Commit `{commit}`, {repetitions} repetitions.

**What it does not show.** A bound from below: that nothing is refuted is no proof, that is the accountant's. The
audit covers the gradient's clipping, sample and noise with SGD, one row to a patient, tables, and each hospital's own
noise; not the noise that is shared out, the survey, the evaluation, momentum, AdamW or sequences. The number of
patients is the expected one. Clipping by task is seen from about eight tasks on, with fewer it takes another setting.
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m experiments.audit")
    parser.add_argument("--repetitions", type=int, default=20)
    arguments = parser.parse_args()
    began = commit()
    lines = [
        "| setting | mistake | canaries | delta | claimed | refuted | largest | ceiling | caught |",
        "|---" * 9 + "|",
    ]
    for row in table(repetitions=arguments.repetitions):
        caught = f"{round(row['caught'] * row['repetitions'])} of {row['repetitions']}"
        mistake = "as it is" if row["mistake"] == HONEST else row["mistake"]
        found = f"{row['refuted']:.2f} ± {row['half_width']:.2f} | {row['largest']:.2f} | {row['ceiling']:.2f}"
        cells = f"{row['setting']} | {mistake} | {row['canaries']:,} | {row['delta']:g} | {row['claimed']:.2f}"
        lines.append(f"| {cells} | {found} | {caught} |")
        print(lines[-1], flush=True)
    foot = _FOOT.format(commit=began, repetitions=arguments.repetitions)
    write_atomic(ROOT / "docs" / "privacy-audit.md", (_HEAD + "\n".join(lines) + "\n" + foot).encode())


if __name__ == "__main__":
    plainly(main)
