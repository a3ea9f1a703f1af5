"""A data-protection impact assessment (GDPR, Article 35(7)) as far as a plan, a policy and a ledger can fill it in.

What only the hospital knows stays open and is marked so: the document is begun here and finished by a person.
"""

from collections.abc import Sequence
from dataclasses import dataclass

OPEN = "**[to be completed by the hospital]**"
Part = tuple[str, Sequence[str]]


@dataclass(frozen=True)
class Facts:
    """What the site's own files say. Each field: lines of text, not escaped.

    plan: headings with lines, as `common.plan.describe` gives them. roster: who takes part, empty before one was
    accepted. verdict: what the policy says to the plan. spent: the ledger's accounts. released: what left, in one
    sentence; empty before the first release. excluded: how many patients objected, None where no list is kept.
    """

    site: str
    federation: str
    plan_hash: str
    code_hash: str
    approved: bool
    plan: Sequence[Part]
    roster: Sequence[str]
    verdict: Sequence[str]
    policy: Sequence[str]
    spent: Sequence[str]
    released: str
    excluded: int | None


def assessment(facts: Facts) -> str:
    """The whole document, Markdown."""
    state = "approved at this site" if facts.approved else "not approved at this site"
    head = [
        f"# Data-protection impact assessment: {facts.site} in {facts.federation}",
        "",
        "Begun by `consilium site assessment` from this site's own plan, policy, roster and ledger. It follows GDPR, "
        f"Article 35(7). What a program cannot know is marked {OPEN}.",
        "",
        f"Plan `{facts.plan_hash}` ({state}); installed code `{facts.code_hash}`.",
        "",
    ]
    sections = [_processing(facts), _necessity(facts), _risks(facts), _measures(facts), _signed()]
    return "\n".join([*head, *(line for section in sections for line in section)]).rstrip() + "\n"


def _processing(facts: Facts) -> list[str]:
    who = facts.roster or [f"No roster was accepted yet. {OPEN}"]
    return [
        "## 1. The processing and its purposes",
        "",
        f"Purpose, in the controller's words: {OPEN}",
        "",
        f"Controller, processors, and the agreement between the hospitals (Articles 26 and 28): {OPEN}",
        "",
        "Who takes part:",
        "",
        *_list(who),
        *(line for heading, lines in facts.plan for line in (f"### {_text(heading)}", "", *_list(lines))),
    ]


def _necessity(facts: Facts) -> list[str]:
    objected = (
        "This site keeps no list of objections (`exclude_patients` in site.toml)."
        if facts.excluded is None
        else f"{facts.excluded} patient(s) objected and are left out of every statistic and every step from then on."
    )
    return [
        "## 2. Necessity and proportionality",
        "",
        f"Legal basis (Articles 6 and 9), and why the purpose needs these data: {OPEN}",
        "",
        "- Records stay: the model is trained where they are, and what leaves is listed in section 1.",
        "- Only the features and tasks of the plan are read; all other columns are ignored.",
        f"- {objected} What left before an objection cannot be called back.",
        f"- How patients are informed, and how long the model is kept: {OPEN}",
        "",
    ]


def _risks(facts: Facts) -> list[str]:
    rows = [
        (
            "The coordinator reads a hospital's own update",
            "Secure sums: it sees sums over the hospitals of a round (docs/security-model.md)",
        ),
        (
            "A model or a sum tells that a patient was in the data, or a value of one",
            "Noise, where the plan has it: its epsilon is in section 1, what was spent in section 4",
        ),
        ("The coordinator asks again and again for nearly the same sum", "Few questions per step, budgets, a ledger"),
        ("A plan is changed without notice", "Nothing runs but the plan and the code whose hashes were approved"),
        ("Code is sent to the hospital", "Shipped code is not run; the installed client alone is"),
        ("The machine at the hospital is stolen or copied", "Keys, models and caches are encrypted at rest"),
        ("The model is wrong for some patients, and is believed", OPEN),
        ("Hospitals with few patients are recognisable in results", "Counts below the policy's least are not released"),
    ]
    return [
        "## 3. Risks to the rights and freedoms of patients",
        "",
        "| risk | what is done against it | what is left of it |",
        "|---|---|---|",
        *(f"| {risk} | {measure} | {OPEN} |" for risk, measure in rows),
        "",
    ]


def _measures(facts: Facts) -> list[str]:
    return [
        "## 4. Measures, and how they are shown to work",
        "",
        "What this site's policy says to the plan:",
        "",
        *_list(facts.verdict),
        "This site's own limits, which no coordinator can change:",
        "",
        *_list(facts.policy),
        "What was released and spent up to now, by this site's ledger:",
        "",
        *_list([*facts.spent, *([facts.released] if facts.released else [])] or ["Nothing has left this site."]),
        "Evidence for the files: `consilium site receipts export` writes every release with its signature; "
        "`consilium site receipts verify` checks it without the site.",
        "",
    ]


def _signed() -> list[str]:
    return [
        "## 5. Views and decision",
        "",
        f"- Advice of the data-protection officer (Article 35(2)): {OPEN}",
        f"- Views of patients or their representatives (Article 35(9)): {OPEN}",
        f"- Prior consultation of the supervisory authority needed (Article 36): {OPEN}",
        f"- Date, name, signature: {OPEN}",
        "",
    ]


def _list(lines: Sequence[str]) -> list[str]:
    return [*(f"- {_text(line)}" for line in lines), ""]


def _text(line: str) -> str:
    """A plan's own words cannot become markup, a link or a further line."""
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line.strip())
    return "".join(f"\\{c}" if c in "\\`*[]<#" else c for c in shown)
