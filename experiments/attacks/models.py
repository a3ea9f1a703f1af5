"""Attacks with different questions to different sites: what comes out must be noise, and is measured.

The attacker is given more than it can have: every self seed. What is left are the pair masks, which cancel only between
sites that were shown the same header (against Pasquini, Francati, Ateniese, CCS 2022).
"""

from dataclasses import replace

import numpy as np

from common.secagg.messages import SignedHeader
from experiments.attacks.attacker import Attacker
from experiments.attacks.measure import Measured, noise
from experiments.attacks.registry import NOISE, attack
from experiments.attacks.stage import SITES, VICTIM, Stage


def sum_without_self_masks(stage: Stage, headers: dict[str, SignedHeader]) -> Measured:
    """The narrow sum of all reports, less every self mask, against the true sum."""
    total, truth = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    for name, signed in headers.items():
        data, attacker = stage.report(name, signed), Attacker(stage, signed, victim=name)
        attacker.ask_everyone(data)
        found, true = attacker.guess(data, own_only=True), stage.truth(name, signed.header)
        total, truth = (found, true) if not len(total) else (total + found, truth + true)
    narrow = signed.header.narrow
    return noise(total[:narrow].astype(np.uint32), truth[:narrow].astype(np.int32))


@attack("different models to different sites", guard=NOISE, where="site")
def different_models(stage: Stage) -> Measured:
    """The victim gets the true model, all others one that makes their updates vanish."""
    return sum_without_self_masks(stage, _two(stage, model=b"\1" * 32))


@attack("different cohorts to different sites", guard=NOISE, where="site")
def different_cohorts(stage: Stage) -> Measured:
    """The victim is told of all five sites, the others of a cohort without elm."""
    return sum_without_self_masks(stage, _two(stage, cohort=SITES[:-1], but=("elm",)))


@attack("different models, put before the committee", guard="report_of_another_round", where="committee")
def before_committee(stage: Stage) -> None:
    """Reports under two headers are cross-checked as one set of survivors."""
    headers = _two(stage, model=b"\1" * 32)
    reports = {name: stage.report(name, signed) for name, signed in headers.items()}
    message = stage.sum(headers["cedar"], {n: d for n, d in reports.items() if n != VICTIM}).cross_check_for("cedar")
    victim = stage.sum(headers[VICTIM], {VICTIM: reports[VICTIM]}).cross_check_for("cedar")
    stage.cross_check(
        "cedar",
        replace(
            message,
            reports=victim.reports + message.reports,
            signatures=victim.signatures + message.signatures,
            ciphertexts=victim.ciphertexts + message.ciphertexts,
        ),
    )


def _two(stage: Stage, *, but: tuple[str, ...] = (), **changes: object) -> dict[str, SignedHeader]:
    """Header of each site: the victim's is honest, that of the others has `changes`; sites in `but` keep the first."""
    honest = stage.signed()
    crafted = replace(honest.header, **changes)  # type: ignore[arg-type]
    other = SignedHeader(crafted, stage.coordinator.sign("header", crafted))
    return {name: honest if name in (VICTIM, *but) else other for name in SITES}


def honest_sum(stage: Stage) -> Measured:
    """The control: one header for all, and the same measure finds the sum."""
    signed = stage.signed()
    return sum_without_self_masks(stage, dict.fromkeys(SITES, signed))
