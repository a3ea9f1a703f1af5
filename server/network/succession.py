"""Which roster the hospitals are to have: the one in use, the one proposed and not signed yet, or a new proposal.

A hospital signs one roster of each number, ever. So a proposal that has been sent is not changed by the way: those who
signed it could not sign its successor, and the federation would stand still.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from common.errors import ConsiliumError
from common.files import exists
from common.plan import Plan
from common.secagg import roster
from common.secagg.messages import Roster, SignedRoster
from common.secagg.roster import EnrolCard
from common.secagg.roster.rules import LEAST_COHORT
from server.network.home import Home
from server.roster import load_coordinator_key, read_roster


@dataclass(frozen=True)
class Rosters:
    """current: signed by enough hospitals. proposed: not yet; it follows `current`. previous: the one before current.

    Each is None where there is none.
    """

    current: SignedRoster | None = None
    proposed: SignedRoster | None = None
    previous: SignedRoster | None = None

    @property
    def latest(self) -> SignedRoster | None:
        """What an invitation holds."""
        return self.proposed or self.current

    @property
    def before(self) -> SignedRoster | None:
        """What the latest one follows."""
        return self.current if self.proposed else self.previous


def read_rosters(home: Home) -> Rosters:
    """What is in the coordinator's folder. Raises ConsiliumError where a file is damaged or the two do not fit."""
    current, proposed = _read(home.roster), _read(home.proposal)
    previous = None
    if current is not None and current.roster.number > 1:
        previous = _read(home.roster_of(current.roster.number - 1))
    if proposed is not None and current is not None:
        if proposed.roster == current.roster:
            proposed = None
        elif proposed.roster.previous != roster.roster_hash(current.roster):
            raise ConsiliumError(
                f"{home.proposal}: roster {proposed.roster.number} does not follow {home.roster}, which has number "
                f"{current.roster.number}; move the one that is wrong out of {home.folder}."
            )
    elif proposed is not None and proposed.roster.number > 1:
        raise ConsiliumError(
            f"{home.proposal}: roster {proposed.roster.number} needs the one before it, but {home.roster} is missing."
        )
    return Rosters(current, proposed, previous)


def fewest_sites(
    plan: Plan, rosters: Rosters, colluding: int | None, min_sites: int | None, *, command: str
) -> tuple[int, int]:
    """f and m: those of the command line, else those that the hospitals have if the plan allows them, else the plan's.

    Raises ConsiliumError where the command line contradicts the plan.
    """
    rules, known = plan.aggregation, None if rosters.latest is None else rosters.latest.roster
    f = rules.colluding_sites if colluding is None else colluding
    m = rules.least_sites if min_sites is None else min_sites
    if min_sites is None and known is not None and known.colluding == f and known.min_cohort <= rules.least_sites:
        m = known.min_cohort
    if rules.secure and f != rules.colluding_sites:
        raise ConsiliumError(
            f"{command}: --colluding-sites {f}, but the plan says aggregation.colluding_sites = "
            f"{rules.colluding_sites}; write the same in both, or leave the option out."
        )
    if rules.secure and m > rules.least_sites:
        raise ConsiliumError(
            f"{command}: --min-sites {m}, but the plan makes sums of {rules.least_sites} (aggregation.min_sites); "
            "write the same in both, or leave the option out."
        )
    return f, max(m, LEAST_COHORT, f + 2)


def wanted(
    home: Home, cards: list[EnrolCard], plan: Plan, rosters: Rosters, *, colluding: int, min_sites: int
) -> SignedRoster:
    """The roster of exactly these hospitals: one that there is, or a proposal. Raises ConsiliumError."""
    proposal = roster.propose(
        cards,
        federation=home.settings.federation,
        coordinator=load_coordinator_key(home.coordinator_key).verify_key,
        colluding=colluding,
        min_sites=min_sites,
        missing=plan.aggregation.absent_members,
        previous=None if rosters.current is None else rosters.current.roster,
    )
    for known in (rosters.current, rosters.proposed):
        if known is not None and _content(known.roster) == _content(proposal.roster):
            return known  # with the signatures that it has
    return proposal


def withdraws(rosters: Rosters, chosen: SignedRoster | None) -> bool:
    """Whether `chosen` takes the place of a proposal that hospitals may have signed already."""
    return rosters.proposed is not None and rosters.proposed is not chosen


def _content(of: Roster) -> Roster:
    return replace(of, number=0, previous=b"")


def _read(path: Path) -> SignedRoster | None:
    return read_roster(path) if exists(path) else None
