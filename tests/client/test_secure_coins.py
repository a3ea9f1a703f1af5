"""The coins of rounding: no two vectors of a run are rounded alike."""

from dataclasses import replace
from itertools import product

from client.secure.answers import Round, SecureSite
from client.secure.store import MemoryVault
from common.secagg.header import RoundState
from common.secagg.messages import SignedHeader
from common.secagg.session import Party
from experiments.attacks.stage import Stage, plan


def test_coins_differ_by_site_question_and_seed() -> None:
    stage, made = Stage(), plan()
    honest = stage.header()
    reseeded = made.model_copy(update={"seeds": made.seeds.model_copy(update={"training": made.seeds.training + 1})})
    coins = []
    for own, name, purpose, number, position in product(
        (made, reseeded), ("alder", "birch"), ("train", "evaluate"), (1, 2, 11), (0, 1)
    ):
        site = SecureSite(own, Party(name, stage.keys[name], stage.roster), MemoryVault())
        header = replace(honest, purpose=purpose, training_round=number, stage=position)
        coins.append(site.coins(Round(SignedHeader(header, b""), RoundState(), b"")))
    assert {len(each) for each in coins} == {32} and len(set(coins)) == len(coins) == 48


def test_coins_of_a_repeated_question_are_the_same() -> None:
    """Else the difference of two reports would show more of a value than one of them."""
    stage = Stage()
    site, header = stage.sites["alder"], stage.header()
    found = {
        site.coins(Round(SignedHeader(replace(header, round=number, cohort=cohort), b""), RoundState(), b""))
        for number, cohort in ((1, header.cohort), (9, header.cohort), (9, header.cohort[:4]))
    }
    assert len(found) == 1
