"""`consilium server collect HOME`: signatures come in one by one; with enough of them the roster is in use."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from common.errors import ConsiliumError
from common.files import exists
from common.secagg.json_view import to_json
from common.secagg.messages import SignedRoster
from server.network.change import Change, alone
from server.network.home import Home
from server.network.succession import read_rosters
from server.roster import collect_signatures, read_roster


@dataclass(frozen=True)
class Collected:
    """joins: hospitals that the roster before does not hold; they need it to accept this one."""

    signed: SignedRoster
    missing: Sequence[str]
    enough: bool
    joins: Sequence[str]


def collect(home: Home, signatures: Sequence[Path]) -> Collected:
    """Add signatures to the proposal, and put it in use where they are enough. Raises ConsiliumError."""
    with alone(home.folder):
        if not exists(home.proposal):
            raise ConsiliumError(f"{home.proposal}: no such file; `consilium server enrol {home.folder}` proposes one.")
        rosters, number = read_rosters(home), read_roster(home.proposal).roster.number
        previous = home.roster if rosters.proposed and rosters.current else None
        if rosters.proposed is None and number > 1:
            previous = home.roster_of(number - 1)  # this one is in use already, and more signatures are welcome
        signed, missing, enough = collect_signatures(home.proposal, signatures, previous=previous, out=home.proposal)
        if enough:
            change = Change(home.folder)
            change.write(home.roster, to_json(signed))
            change.write(home.roster_of(number), to_json(signed))
            change.commit()
    return Collected(signed, missing, enough, signed.newcomers if number > 1 else ())
