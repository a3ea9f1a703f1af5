"""What a roster means, in plain words, for the people who choose and approve it."""

from common.secagg.encoding import encode
from common.secagg.messages import Roster, SiteCard
from common.secagg.primitives import fingerprint
from common.secagg.roster.rules import keys_of, newcomers_of, renewed_of

_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_THREE_SITES = {
    (2, 0): "One hospital may vanish after its report.",
    (3, 1): "The coordinator together with one hospital learns only the sum of the other two; no dropout at any step.",
}


def card_fingerprint(site: str, verify_key: bytes) -> str:
    """8 groups of 5 digits for a site's name and key, to be compared over the telephone."""
    return fingerprint(encode(SiteCard(site, verify_key)))


def roster_fingerprint(roster: Roster) -> str:
    """8 groups of 5 digits for the whole roster."""
    return fingerprint(encode(roster))


def words(roster: Roster) -> list[str]:
    """What m, t and f mean here, one sentence or two each."""
    sites, members = len(roster.sites), len(roster.committee)
    t, f, m = roster.threshold, roster.colluding, roster.min_cohort
    every = ", so every report must arrive" if m == sites else ""
    lines = [f"m = {m}: a sum is over the reports of at least {m} of the {sites} hospitals{every}."]
    if (sites, members, m) == (3, 3, 3) and (t, f) in _THREE_SITES:
        lines.append(f"t = {t}, f = {f}: {_THREE_SITES[t, f]}")
    else:
        lines.append(f"t = {t}: {t} of the {members} hospitals of the committee open a sum; {_missing(members - t)}")
    if f == 0:
        lines.append("f = 0: the coordinator alone learns only sums, even if it lies. No hospital may side with it.")
    elif sites > 3:
        lines.append(
            f"f = {f}: the coordinator together with up to {_count(f)} learns only the sum of the others, "
            f"at least {m - f} hospitals, even if it lies."
        )
    lines.append(f"{_count(m - 1).capitalize()} that collude always learn what the remaining one of {m} reported.")
    if (sites, m) == (3, 3):
        lines[-1] = "Two colluding hospitals always learn the third."
    return lines


def differences(new: Roster, previous: Roster | None) -> list[str]:
    """What `new` changes, one line each; for the first roster, that all is new."""
    if previous is None:
        return [f"This is the first roster: all {len(new.sites)} hospitals are new."]
    lines = [f"{name} joins." for name in newcomers_of(new, previous)]
    lines += [f"{name} leaves." for name in previous.sites if name not in keys_of(new)]
    lines += [f"{name} has a new key, signed with its old one." for name in renewed_of(new, previous)]
    if new.coordinator != previous.coordinator:
        lines.append("The coordinator has a new key: ask the coordinator why.")
    if new.federation != previous.federation:
        lines.append(f"The federation {previous.federation} is now called {new.federation}.")
    if new.committee != previous.committee:
        lines.append(f"The committee was {', '.join(previous.committee)}.")
    for letter, key in (("t", "threshold"), ("f", "colluding"), ("m", "min_cohort")):
        if getattr(new, key) != getattr(previous, key):
            lines.append(f"{letter} was {getattr(previous, key)} and is now {getattr(new, key)}.")
    return lines or ["Nothing but its number differs from the roster before."]


def sheet(roster: Roster, previous: Roster | None) -> list[str]:
    """All that an operator has to look at before approving `roster`; `previous` is the one accepted so far."""
    new, renewed = newcomers_of(roster, previous), renewed_of(roster, previous)
    width = max(map(len, (*roster.sites, "coordinator")))
    notes = dict.fromkeys(new, "  new") | dict.fromkeys(renewed, "  new key")
    members = ", ".join(roster.committee)
    changes = [] if roster == previous else ["Changes", *(f"  {line}" for line in differences(roster, previous))]
    return [
        f"Roster {roster.number} of the federation {roster.federation}",
        *(f"  {s:{width}}  {card_fingerprint(s, key)}{notes.get(s, '')}" for s, key in keys_of(roster).items()),
        f"  {'coordinator':{width}}  {card_fingerprint('coordinator', roster.coordinator)}",
        *changes,
        "Meaning",
        *(f"  {line}" for line in words(roster)),
        f"  Committee (hospitals that hold shares of the masks): {members}.",
        "Fingerprint of this roster",
        f"  {roster_fingerprint(roster)}",
    ]


def _missing(members: int) -> str:
    if members == 0:
        return "no dropout of a member at any step."
    return f"{_count(members)} may vanish after {'its' if members == 1 else 'their'} report."


def _count(hospitals: int) -> str:
    number = _NUMBERS[hospitals] if hospitals < len(_NUMBERS) else str(hospitals)
    return f"{number} hospital" if hospitals == 1 else f"{number} hospitals"
