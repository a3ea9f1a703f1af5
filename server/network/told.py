"""What `consilium server enrol` tells the operator: what changed, what to compare, what is void, what comes next."""

from collections.abc import Sequence
from pathlib import Path

from common.secagg.roster import sheet
from server.network.enrol import Done
from server.network.home import Home
from server.network.say import say, say_next


def tell(here: Home, done: Done, home: Path) -> None:
    """What `enrol` did, and what comes next."""
    for name, kind in done.changes.items():
        say(f"{name} {_WORDS[kind]}")
        if name in done.sites:
            digits, node = done.sites[name].fingerprints
            say(f"  signing key  {digits}", f"  node key     {node}")
    if not done.changes:
        say(f"The hospitals stay as they are: {', '.join(done.sites) or 'none yet'}.")
    if any(name in done.sites for name in done.changes):
        say("Compare both with what the hospital reads out to you over the telephone.")
    if done.certified:
        say(f"New certificates, as the former ones end soon or are no good: {', '.join(done.certified)}.")
    if done.plan_changed:
        say(
            f"The plan is another one now ({done.plan.hash[:16]}). A run of the former plan cannot be resumed with it, "
            "and every hospital has to review and approve it (`consilium site review`, `consilium site approve`)."
        )
    if done.reloaded:
        say("The gateway that is running uses all this from now on.")
    if done.withdrawn is not None:
        say(
            f"Roster {done.withdrawn} that was proposed is void. A hospital that had signed it cannot sign another "
            f"roster {done.withdrawn}; it says so with `roster_rival`, and then needs new keys and a new request."
        )
    if done.short:
        have = f"{len(done.sites)} hospital(s) enrolled, a roster of this plan takes {done.least}"
        say(f"{have}: no roster is proposed yet. What was sent is kept.")
        say_next(f"when more have sent theirs: consilium server enrol {home} NAME.request.json")
        return
    _propose(here, done, home)


def _propose(here: Home, done: Done, home: Path) -> None:
    rosters = done.rosters
    if rosters.proposed is not None:
        say(*sheet(rosters.proposed.roster, None if rosters.before is None else rosters.before.roster))
    tell_invitations(here, done.invited)
    if rosters.proposed is None:
        say(f"Roster {rosters.current.roster.number} stays in use." if rosters.current else "")
        if done.invited:
            say_next("send each of them its invitation; it runs `consilium site join SITE NAME.invitation.json`.")
        return
    voters = rosters.before.roster.sites if rosters.before else rosters.proposed.roster.sites
    say_next(
        "send each hospital its invitation; it runs `consilium site join SITE NAME.invitation.json`, then",
        f"  {', '.join(voters)}: `consilium site sign`, and you get NAME.signature.json back. When they are here:",
        f"  consilium server collect {home} *.signature.json",
    )


_WORDS = {
    "new": "is enrolled. Its invitation lets it connect at once; for secure sums a signed roster has to hold it.",
    "renewed": "has a new signing key, which its old one has signed.",
    "replaced": "has new keys, as you said. The old ones are in former/ and do not pass the gateway any more.",
    "left": "leaves. Its request is in former/; it does not pass the gateway any more.",
    "revoked": "is revoked. It does not pass the gateway any more, and its keys (in former/) are never accepted again.",
}


def tell_invitations(here: Home, names: Sequence[str]) -> None:
    """Where the invitations are that have to be sent."""
    if names:
        say("Invitations, one for each hospital; no secret in them, but each is good for its hospital only:")
        say(*(f"  {here.invitation(name)}" for name in names))
    else:
        say("No invitation has changed.")
