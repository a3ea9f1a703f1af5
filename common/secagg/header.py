"""What a site holds a round's header against before it does anything, as a contributor or as a committee member."""

import hashlib
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from common.secagg import checks
from common.secagg.encoding import decode, encode
from common.secagg.messages import Header, SessionCards, SignedHeader, Survivors
from common.secagg.primitives import verify
from common.secagg.session import Party, SessionState

FARTHEST = 1000
Companions = tuple[tuple[int, tuple[int, ...]], ...]


@dataclass(frozen=True)
class Question:
    """What this site's own approved plan says about a question. plan: its hash.

    noise: standard deviation, in steps, of what each site adds. companions: (block, blocks of which a site needs one to
    fill it). model, subject: hashes of the vector received and
    of what it is about; a committee member outside the cohort has none, and leaves them empty.
    """

    plan: bytes
    purpose: str
    training_round: int
    stage: int
    layout: bytes
    narrow: int
    wide: int
    clip_norm: float
    narrow_scale: float
    wide_scale: float
    noise: int = 0
    companions: Companions = ()
    model: bytes = b""
    subject: bytes = b""


@dataclass(frozen=True)
class Opened:
    """What a site has answered Unmask for. rounds: how many of one `question_key`.

    survivors: for each round of the same `subject_key`, the hash of its survivors.
    """

    rounds: int = 0
    survivors: tuple[bytes, ...] = ()

    def with_others(self, names: tuple[str, ...]) -> int:
        """How many of them were over other sites than `names`."""
        return sum(survivors != names_hash(names) for survivors in self.survivors)


def names_hash(names: tuple[str, ...]) -> bytes:
    """SHA-256 of a list of sites."""
    return hashlib.sha256(b"".join(len(name).to_bytes(4, "big") + name.encode() for name in names)).digest()


@dataclass(frozen=True)
class RoundState:
    """What a site stores of the last round of a session, before each answer leaves.

    header: encoded. report: hash of the report made, empty before. own_shares: what a committee member keeps of its own
    seeds. survivors: encoded, what it signed. answer: encoded, its shares for exactly these survivors. opened: 1 once
    it has answered Unmask.
    """

    number: int = 0
    header: bytes = b""
    report: bytes = b""
    own_shares: bytes = b""
    survivors: bytes = b""
    answer: bytes = b""
    opened: int = 0

    @property
    def survivors_hash(self) -> bytes:
        """`names_hash` of the sites that were signed as survivors."""
        return names_hash(decode(Survivors, self.survivors).sites)

    @property
    def header_hash(self) -> bytes:
        return hashlib.sha256(self.header).digest()


def question_key(header: Header) -> bytes:
    """Names what is asked, whichever the round."""
    return _key(header.plan, header.purpose.encode(), header.stage.to_bytes(8, "big"), header.model)


def subject_key(header: Header) -> bytes:
    """Names the rows and the model that a sum tells of: two such sums over other sites would be a difference.

    A round of training and an evaluation at stage 0 both tell of the validation rows, later stages of the test rows.
    """
    validation = header.purpose == "train" or (header.purpose == "evaluate" and header.stage == 0)
    rows = "validation" if validation else header.purpose
    return _key(header.plan, rows.encode(), header.subject or header.model)


def _key(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(len(part).to_bytes(4, "big") + part for part in parts)).digest()


def begin(
    party: Party, session: SessionState, before: RoundState, signed: SignedHeader, question: Question, opened: Opened
) -> RoundState:
    """The state to store before training. Where it equals `before`, the report that was stored is sent again.

    opened: what this site has answered Unmask for under the same `question_key`, this round included.
    """
    header = signed.header
    checks.require(party.site in header.cohort, "not_in_cohort", "the cohort does not hold this site.")
    after = accept_header(party, session, before, signed, question, opened)
    same = (header.model, header.subject) == (question.model, question.subject)
    checks.require(same, "other_model", "the model is not the one that the header names.")
    made = after != before or before.report != b""
    checks.require(made, "report_lost", "this round began before, and its report was not kept; it is not made again.")
    return after


def accept_header(
    party: Party, session: SessionState, before: RoundState, signed: SignedHeader, question: Question, opened: Opened
) -> RoundState:
    """`before` if it holds this header already, else the state of a new round. Raises Refusal."""
    header, encoded = signed.header, encode(signed.header)
    valid = verify(party.roster.coordinator, "header", encoded, signed.signature)
    checks.require(valid, "header_not_signed", "the header is not signed by the roster's coordinator.")
    cards = session.all_cards
    checks.require(header.session == session.request.session, "header_of_another_session", "another session.")
    same = header.roster == party.roster_hash == session.request.roster
    checks.require(
        same, "header_of_another_roster", "another roster, or one that was accepted since the session began."
    )
    checks.require(header.cards == session.cards_hash, "header_of_other_cards", "other session cards.")
    same = header.plan == session.request.plan == question.plan
    checks.require(same, "header_of_another_plan", "another plan than the session's, or than the one approved now.")
    _check_number(before, header, encoded)
    check_cohort(party, cards, header, question.companions)
    asked = (header.purpose, header.training_round, header.stage, header.layout, header.narrow, header.wide)
    plan = (question.purpose, question.training_round, question.stage, question.layout, question.narrow, question.wide)
    checks.require(asked == plan, "other_question", "the header's layout is not that of the approved plan.")
    numbers = (header.clip_norm, header.narrow_scale, header.wide_scale, header.noise)
    fixed = (question.clip_norm, question.narrow_scale, question.wide_scale, question.noise)
    checks.require(numbers == fixed, "other_fixed_point", "clip norm, scales or noise are not those of the plan.")
    state = before if before.header == encoded else RoundState(header.round, encoded)
    within_limits(party, state, opened)
    return state


def within_limits(party: Party, state: RoundState, opened: Opened) -> None:
    """How often, and over which sites, a sum of one model may be opened; asked again before shares leave."""
    others = opened.rounds - state.opened
    often = others <= party.policy.retries
    checks.require(often, "asked_again_too_often", f"{others} other sums of this model were opened already.")
    differently = opened.with_others(decode(Survivors, state.survivors).sites) if state.survivors else 0
    same = differently <= party.policy.other_survivors
    checks.require(same, "opened_with_others", "a sum of this model over other sites was opened already.")


def _check_number(before: RoundState, header: Header, encoded: bytes) -> None:
    last = before.number
    checks.require(header.round >= last, "replayed_round", f"round {header.round} lies before {last}.")
    checks.require(header.round <= last + FARTHEST, "round_too_far", f"round {header.round} is far after {last}.")
    same = header.round != last or before.header == encoded
    checks.require(same, "second_header", f"round {last} has another header here.")


def check_cohort(party: Party, cards: SessionCards, header: Header, companions: Companions) -> None:
    """Enough sites, all of them known, and every block shared by f + 2 of them or left out."""
    roster, policy, cohort = party.roster, party.policy, header.cohort
    checks.require(checks.strictly_sorted(cohort), "cohort_not_sorted", "the cohort is not sorted, or repeats a site.")
    known = {card.site for card in cards.cards}
    checks.require(set(cohort) <= known, "cohort_of_strangers", "the cohort holds sites without a card.")
    least = max(roster.min_cohort, policy.min_cohort)
    checks.require(len(cohort) >= least, "cohort_too_small", f"{len(cohort)} sites; this site asks for {least}.")
    tolerated = roster.colluding >= policy.colluding_sites
    checks.require(tolerated, "collusion_not_tolerated", "the roster tolerates fewer colluding sites than this site.")
    unwanted = set(policy.blocked) & (set(cohort) | set(roster.committee))
    checks.require(not unwanted, "blocked_peer", "the cohort or the committee holds a site that is blocked here.")
    present = len(known & set(roster.committee))
    checks.require(present >= roster.threshold, "committee_absent", f"{present} committee members are in the session.")
    blocks, taking_part = len(cards.cards[0].levels), set(header.blocks)
    in_plan = _increasing(header.blocks) and all(block < blocks for block in header.blocks)
    checks.require(in_plan, "unknown_block", "the header's blocks are not blocks of the plan, each once.")
    two = _increasing(header.pairs) and all(set(divmod(pair, blocks)) <= taking_part for pair in header.pairs)
    checks.require(two, "unknown_pair", "the header's pairs are not pairs of its blocks, each once.")
    fewest = fewest_contributors(cards, header, cohort, companions)
    checks.require(
        fewest >= roster.colluding + 2, "too_few_contributors", f"a block has {fewest} contributors in the cohort."
    )


def fewest_contributors(cards: SessionCards, header: Header, sites: tuple[str, ...], companions: Companions) -> int:
    """The least number of `sites` that fill a block of the header, or both blocks of a pair.

    A site fills a block that it declared, together with one of its companions of the header where it has any. All of
    them where the header has no block.
    """
    chosen = set(sites)
    held = np.array([card.levels for card in cards.cards if card.site in chosen], dtype=np.int64) > 0
    return fewest_holders(held, header.blocks, header.pairs, companions) if len(held) else 0


def fewest_holders(
    held: NDArray[np.bool_], blocks: tuple[int, ...], pairs: tuple[int, ...], companions: Companions
) -> int:
    """The same from (sites, blocks) whether a site declared a block."""
    counts = [len(held), *held[:, list(blocks)].sum(axis=0).tolist()]
    for block, others in companions:
        if block in blocks:
            beside = [other for other in others if other in blocks]
            counts.append(int((held[:, block] & held[:, beside].any(axis=1)).sum()))
    if pairs:
        first, second = np.divmod(np.array(pairs), held.shape[1])
        counts += (held[:, first] & held[:, second]).sum(axis=0).tolist()
    return int(min(counts))


def _increasing(numbers: tuple[int, ...]) -> bool:
    return all(first < second for first, second in pairwise(numbers))


def header_of(state: RoundState) -> Header:
    return decode(Header, state.header)
