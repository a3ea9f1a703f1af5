"""The roster: who takes part in secure sums, with which keys, under which rules.

`rules` says when a site accepts one, `proposal` makes one, `words` says in plain words what it means.
"""

from common.secagg.roster.proposal import (
    EnrolCard,
    RosterSignature,
    add_signature,
    enrol,
    found,
    propose,
    sign,
    still_missing,
)
from common.secagg.roster.rules import (
    check_approved,
    check_form,
    check_proposal,
    check_roster,
    enough_signers,
    roster_hash,
)
from common.secagg.roster.words import card_fingerprint, differences, roster_fingerprint, sheet, words

__all__ = [
    "EnrolCard",
    "RosterSignature",
    "add_signature",
    "card_fingerprint",
    "check_approved",
    "check_form",
    "check_proposal",
    "check_roster",
    "differences",
    "enough_signers",
    "enrol",
    "found",
    "propose",
    "roster_fingerprint",
    "roster_hash",
    "sheet",
    "sign",
    "still_missing",
    "words",
]
