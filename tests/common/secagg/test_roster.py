"""When a site accepts a roster: each rule alone, with its own code, and the proof that nothing else enforces it."""

import ast
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from common.errors import ConsiliumError, Refusal
from common.secagg import checks
from common.secagg.messages import Roster, SignedRoster, SiteCard
from common.secagg.primitives import SigningKey, digest
from common.secagg.roster import check_roster, enrol, found, propose, rules, words

KEYS = {name: SigningKey.from_bytes(sha256(name.encode()).digest()) for name in (*"abcdefxy", "a2", "c2", "B", "boss")}
PUBLIC = {name: key.verify_key for name, key in KEYS.items()}
OWNER = {key.verify_key: key for key in KEYS.values()}


def roster(sites: str = "abc", *, names: dict[str, str] | None = None, **changes: Any) -> Roster:
    """The first roster of `sites`, t = 2 of three. names: site -> which of KEYS is its key, where not its own."""
    keys = tuple(PUBLIC[(names or {}).get(site, site)] for site in sites)
    first = Roster("study", 1, b"", PUBLIC["boss"], tuple(sites), keys, ("a", "b", "c"), 2, 0, 3)
    return replace(first, **changes)


def after(previous: Roster, sites: str = "abc", **changes: Any) -> Roster:
    return roster(sites, **{"number": previous.number + 1, "previous": digest(previous), **changes})


def complete(
    new: Roster, previous: Roster | None = None, *, signers: str | None = None, **changes: Any
) -> SignedRoster:
    """`new` with every signature that the rules ask for; `changes` replaces fields of the result."""
    keys = dict(zip(new.sites, new.keys, strict=False))
    before = {} if previous is None else dict(zip(previous.sites, previous.keys, strict=True))
    voters = before or keys
    newcomers = tuple(name for name in new.sites if name not in before)
    renewed = tuple(name for name in new.sites if name in before and before[name] != keys[name])
    names = tuple(sorted(voters)) if signers is None else tuple(signers)
    signed = SignedRoster(
        new,
        names,
        tuple(OWNER[voters.get(name, PUBLIC[name])].sign("roster", new) for name in names),
        newcomers,
        tuple(OWNER[keys[name]].sign("enrol", SiteCard(name, keys[name])) for name in newcomers),
        renewed,
        tuple(OWNER[before[name]].sign("enrol", SiteCard(name, keys[name])) for name in renewed),
    )
    return replace(signed, **changes)


def accept(new: SignedRoster, previous: Roster | None = None, **rules_of_a: Any) -> None:
    own = {"site": "a", "verify_key": PUBLIC["a"], "least_cohort": 3, "least_colluding": 0}
    check_roster(new, **{**own, "previous": previous, "approved": digest(new.roster), **rules_of_a})


FIRST, FOUR, SIX = roster(), roster("abcd"), roster("abcdef")
FOUR_TRUST_TWO = roster("abcd", committee=tuple("abcd"), threshold=4, colluding=2, min_cohort=4)
SECOND, RENEWED, JOINED = after(FIRST), after(FIRST, names={"c": "c2"}), after(FIRST, "abcd")
SIGNED = complete(SECOND, FIRST)
BY_STRANGER = complete(JOINED, FIRST, signers="abd")
WRONG_KIND = (*SIGNED.signatures[:2], KEYS["c"].sign("plan", SECOND))
OTHER_ROSTER = (*SIGNED.signatures[:2], KEYS["c"].sign("roster", JOINED))
OTHERS_CARD = complete(after(FIRST, "abcd"), FIRST, cards=(KEYS["d"].sign("enrol", SiteCard("x", PUBLIC["d"])),))
BY_NEW_KEY = complete(RENEWED, FIRST, renewals=(KEYS["c2"].sign("enrol", SiteCard("c", PUBLIC["c2"])),))

# (code, signed roster, previous, what differs at the site)
CASES: list[tuple[str, SignedRoster, Roster | None, dict[str, Any]]] = [
    ("roster_name", complete(roster(federation="study\x1b[2J")), None, {}),
    ("roster_name", complete(roster("Bac", committee=("a", "c"))), None, {}),
    ("roster_sites_not_sorted", complete(roster("bac")), None, {}),
    ("roster_sites_not_sorted", complete(roster("aab", names={"x": "x"}, keys=tuple(PUBLIC[n] for n in "xab"),
                                                committee=("a", "b"))), None, {}),
    ("roster_key_count", complete(roster(keys=tuple(PUBLIC[n] for n in "abcx"))), None, {}),
    ("roster_key_size", complete(roster(coordinator=bytes(31))), None, {}),
    ("roster_key_twice", complete(roster(coordinator=PUBLIC["b"])), None, {}),
    ("roster_key_twice", complete(roster(names={"c": "b"})), None, {}),
    ("roster_committee_not_sorted", complete(roster(committee=tuple("bac"))), None, {}),
    ("roster_committee_not_sorted", complete(roster(committee=tuple("aab"))), None, {}),
    ("roster_committee_of_strangers", complete(roster(committee=tuple("abz"))), None, {}),
    ("roster_fixed_point", complete(roster(wide_fraction_bits=10)), None, {}),
    ("roster_threshold_too_high", complete(roster(threshold=4)), None, {}),
    ("roster_threshold_too_low", complete(roster(threshold=1, colluding=1)), None, {}),
    ("roster_threshold_splits", complete(roster(threshold=1)), None, {}),
    ("roster_threshold_splits", complete(roster(threshold=2, colluding=1)), None, {}),
    ("roster_threshold_splits", complete(roster("abcd", committee=tuple("abcd"))), None, {}),
    ("roster_cohort_too_small", complete(roster(min_cohort=2)), None, {"least_cohort": 0}),
    ("roster_cohort_too_small", complete(replace(FOUR_TRUST_TWO, min_cohort=3)), None, {}),
    ("roster_cohort_policy", complete(FIRST), None, {"least_cohort": 4}),
    ("roster_colluding_policy", complete(FIRST), None, {"least_colluding": 1}),
    ("roster_number", complete(roster(number=2)), None, {}),
    ("roster_number", complete(after(FIRST, number=3), FIRST), FIRST, {}),
    ("roster_number", complete(after(FIRST, number=1), FIRST), FIRST, {}),
    ("roster_previous", complete(roster(previous=bytes(32))), None, {}),
    ("roster_previous", complete(replace(SECOND, previous=digest(FOUR)), FIRST), FIRST, {}),
    ("roster_own_key", complete(roster(names={"a": "a2"})), None, {}),
    ("roster_own_key", complete(after(FIRST, names={"a": "a2"}), FIRST), FIRST, {}),
    ("roster_own_key", complete(after(FOUR, "bcd", committee=tuple("bcd")), FOUR), FOUR, {}),
    ("roster_newcomers", complete(JOINED, FIRST, newcomers=(), cards=()), FIRST, {}),
    ("roster_card_not_signed", complete(JOINED, FIRST, cards=()), FIRST, {}),
    ("roster_card_not_signed", OTHERS_CARD, FIRST, {}),
    ("roster_renewed", complete(RENEWED, FIRST, renewed=(), renewals=()), FIRST, {}),
    ("roster_renewal_not_signed", complete(RENEWED, FIRST, renewals=()), FIRST, {}),
    ("roster_renewal_not_signed", BY_NEW_KEY, FIRST, {}),
    ("roster_not_approved", complete(FIRST), None, {"approved": b""}),
    ("roster_not_approved", complete(roster("abcxy")), None, {"approved": digest(FIRST)}),
    ("roster_signers_not_sorted", complete(FIRST, signers="cba"), None, {}),
    ("roster_signers_not_sorted", complete(after(FOUR), FOUR, signers="abb"), FOUR, {}),
    ("roster_signature", replace(SIGNED, signatures=WRONG_KIND), FIRST, {}),
    ("roster_signature", replace(SIGNED, signatures=OTHER_ROSTER), FIRST, {}),
    ("roster_signature", replace(SIGNED, signatures=SIGNED.signatures[:2]), FIRST, {}),
    ("roster_signature", BY_STRANGER, FIRST, {}),
    ("roster_founder_missing", complete(FIRST, signers="ab"), None, {}),
    ("roster_quorum", complete(SECOND, FIRST, signers="ab"), FIRST, {}),
    ("roster_quorum", complete(after(SIX), SIX, signers="abcd"), SIX, {}),
    ("roster_quorum", complete(after(FOUR_TRUST_TWO), FOUR_TRUST_TWO, signers="abc"), FOUR_TRUST_TWO, {}),
]  # fmt: skip
# t > f follows from t <= C and 2t > C + f, so without it the third rule would still refuse.
IMPLIED_BY = {"roster_threshold_too_low": "roster_threshold_splits"}
parametrise = pytest.mark.parametrize(("code", "new", "previous", "site"), CASES, ids=[case[0] for case in CASES])


@parametrise
def test_each_rule_refuses(code: str, new: SignedRoster, previous: Roster | None, site: dict[str, Any]) -> None:
    with pytest.raises(Refusal) as caught:
        accept(new, previous, **site)
    assert caught.value.code == code
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


@parametrise
def test_without_its_check_each_of_them_is_accepted(
    code: str, new: SignedRoster, previous: Roster | None, site: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "require", _all_but(code, IMPLIED_BY.get(code)))
    accept(new, previous, **site)


def _all_but(*ignored: str | None) -> Callable[[bool, str, str], None]:
    def require(condition: bool, code: str, text: str) -> None:
        if not condition and code not in ignored:
            raise Refusal(code, text)

    return require


def test_every_check_has_one_code_and_a_case() -> None:
    calls = [n for n in ast.walk(ast.parse(Path(rules.__file__).read_text())) if isinstance(n, ast.Call)]
    codes = [n.args[1].value for n in calls if isinstance(n.func, ast.Attribute) and n.func.attr == "require"]
    assert len(codes) == len(set(codes)) and set(codes) == {case[0] for case in CASES}


@pytest.mark.parametrize(
    ("new", "previous"),
    [
        (complete(FIRST), None),
        (SIGNED, FIRST),
        (complete(RENEWED, FIRST), FIRST),
        (complete(JOINED, FIRST), FIRST),
        (complete(after(FOUR), FOUR, signers="abc"), FOUR),  # d is removed, and need not agree
        (complete(after(SIX, "abcdef"), SIX, signers="abcde"), SIX),
        (complete(after(FOUR_TRUST_TWO), FOUR_TRUST_TWO), FOUR_TRUST_TWO),
    ],
    ids=["first", "same again", "new key", "newcomer", "one removed", "more than two thirds", "all four"],
)
def test_what_keeps_the_rules_is_accepted(new: SignedRoster, previous: Roster | None) -> None:
    accept(new, previous)


@pytest.mark.parametrize(("old", "new"), [("c", "c2"), ("a", "a2")])
def test_a_renewed_key_is_accepted_by_its_owner_and_by_others(old: str, new: str) -> None:
    signed = complete(after(FIRST, names={old: new}), FIRST)
    for site in FIRST.sites:
        accept(signed, FIRST, site=site, verify_key=PUBLIC[new if site == old else site])


def _sites(count: int) -> dict[str, SigningKey]:
    return {f"s{i:03d}": SigningKey.from_bytes(sha256(b"%d" % i).digest()) for i in range(count)}


@pytest.mark.parametrize(
    ("sites", "f", "missing", "committee", "t"),
    [(3, 0, None, 3, 2), (3, 1, None, 3, 3), (3, 0, 0, 3, 3), (4, 0, None, 3, 2), (5, 1, None, 4, 3),
     (10, 0, None, 9, 5), (10, 3, 2, 8, 6), (100, 0, None, 41, 21), (60, 45, None, 46, 46)],
)  # fmt: skip
def test_a_founded_roster_is_accepted_by_all(sites: int, f: int, missing: int | None, committee: int, t: int) -> None:
    keys = _sites(sites)
    signed = found(keys, federation="study", coordinator=KEYS["boss"], colluding=f, missing=missing)
    assert (len(signed.roster.committee), signed.roster.threshold) == (committee, t)
    assert signed.roster.min_cohort == max(3, f + 2)
    for name, key in keys.items():
        accept(signed, site=name, verify_key=key.verify_key)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"min_sites": 4}, "4 are needed"),
        ({"colluding": 2}, "4 are needed"),
        ({"missing": 2}, "too many for 3 sites"),
        ({"federation": "Study 1"}, "'Study 1': names are of lower-case letters"),
        ({"coordinator": PUBLIC["a"]}, "share a key"),
        ({"cards": [enrol(name, KEYS["b"]) for name in "abc"]}, "share a key"),
        ({"cards": [enrol("a", KEYS[name]) for name in "abc"]}, "name the same site"),
        ({"cards": [replace(enrol(name, KEYS[name]), signature=bytes(64)) for name in "abc"]}, "The card of a is not"),
        ({"cards": [enrol(name, KEYS[name]) for name in ("a", "b")] + [enrol("c", KEYS["c2"])], "previous": FIRST},
         "The card of c has a new key"),
    ],
)  # fmt: skip
def test_what_no_site_would_accept_is_not_proposed(changes: dict[str, Any], words: str) -> None:
    cards = [enrol(name, KEYS[name]) for name in "abc"]
    usual = {"cards": cards, "federation": "study", "coordinator": PUBLIC["boss"], "colluding": 0}
    with pytest.raises(ConsiliumError, match=words):
        propose(**{**usual, **changes})


def test_three_sites_are_told_in_the_words_of_the_specification() -> None:
    told = " ".join(words(FIRST))
    assert "so every report must arrive" in told and "One hospital may vanish after its report." in told
    told = " ".join(words(roster(threshold=3, colluding=1)))
    assert "together with one hospital learns only the sum of the other two; no dropout at any step." in told
    assert "Two colluding hospitals always learn the third." in told


def test_others_are_told_how_many_may_be_missing_and_collude() -> None:
    told = words(FOUR_TRUST_TWO)
    assert told[1] == "t = 4: 4 of the 4 hospitals of the committee open a sum; no dropout of a member at any step."
    assert "up to two hospitals learns only the sum of the others, at least 2 hospitals" in told[2]
    assert words(SIX)[1].endswith("one hospital may vanish after its report.")
