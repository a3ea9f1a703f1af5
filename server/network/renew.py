"""`consilium server renew`: new certificates for gateway, SuperLink and hospitals; on request a new authority too."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from common.files import exists, read_plan
from server.network import gateway
from server.network.admission import enrolled
from server.network.change import Change, alone
from server.network.home import Home
from server.network.issue import certificate_for, invitations, read_authority
from server.network.make import add_authority, add_servers
from server.network.succession import read_rosters


@dataclass(frozen=True)
class Renewed:
    """invited: hospitals with a new invitation. waiting: those with a new certificate but in no roster yet."""

    invited: Sequence[str]
    waiting: Sequence[str]
    reloaded: bool


def renew(home: Home, *, authority: bool, now: datetime) -> Renewed:
    """Do it. authority: make a new one; until a hospital has joined again it then cannot connect.

    Raises ConsiliumError; unless it is of the gateway's own files, which come last, nothing was changed.
    """
    with alone(home.folder):
        change = Change(home.folder)
        if authority:
            signer = add_authority(change, home, now=now)
        else:
            signer = read_authority(home, now=now)
            add_servers(change, home, *signer, now=now)
        sites = enrolled(home)
        signed = {name: certificate_for(home, each, signer, now=now, anew=True) for name, each in sites.items()}
        for name, certificate in signed.items():
            change.write(home.site_certificate(name), certificate)
        letters = {}
        if exists(home.plan):
            letters = invitations(home, signed, signer[1], read_plan(home.plan), read_rosters(home))
        for name, letter in letters.items():
            change.write(home.invitation(name), letter)
        change.commit()
        gateway.write(home)
        reloaded = gateway.reload(home)
    return Renewed(tuple(letters), tuple(name for name in signed if name not in letters), reloaded)
