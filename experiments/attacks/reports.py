"""A site that lies: what an honest coordinator does with its report, its signatures and its shares."""

from dataclasses import replace
from typing import Any

from common.secagg.coordinator import Sum
from common.secagg.encoding import decode, encode
from common.secagg.messages import SignedShares
from common.secagg.primitives import digest
from common.secagg.report import hashes_of
from experiments.attacks.measure import Measured
from experiments.attacks.registry import NOISE, attack
from experiments.attacks.stage import COLLUDER, SITES, Stage, signed_report


def _round(stage: Stage) -> tuple[Sum, dict[str, bytes]]:
    signed = stage.signed()
    return stage.sum(signed, {}), stage.reports(signed)


def _resigned(stage: Stage, total: Sum, data: bytes, *, by: str = COLLUDER, **changes: Any) -> bytes:
    """birch's report with changes, signed again."""
    header = total.header
    size = 4 * header.narrow + 8 * header.wide
    signed = signed_report(data, header)
    report = replace(signed.report, **changes.pop("report", {}))
    signature = stage.keys[by].sign("report", report)
    return data[:size] + encode(replace(signed, report=report, signature=signature, **changes))


@attack("unequal pair commitments", guard=NOISE, where="coordinator")
def unequal_pairs(stage: Stage) -> Measured:
    """birch commits to other pair seeds than all its peers: it is named and left out, and the sum of the rest opens."""
    total, reports = _round(stage)
    commitments = signed_report(reports[COLLUDER], total.header).commitments
    commitments = replace(commitments, pairs=bytes(len(commitments.pairs)))
    changes: dict[str, Any] = {"report": {"commitments": digest(commitments)}, "commitments": commitments}
    reports[COLLUDER] = _resigned(stage, total, reports[COLLUDER], **changes)
    for name, data in reports.items():
        total.take_report(name, data)
    named = total.close()
    stage.finish(total, ("alder", "cedar", "dogwood"))
    exact = bool((stage.opened(total) == stage.true_sum(total)).all())
    what = f"Named and left out: {', '.join(named)}; the sum of the others is {'' if exact else 'not '}exact."
    return Measured(named == (COLLUDER,) and exact, what)


@attack("false shares", guard=NOISE, where="coordinator")
def false_shares(stage: Stage) -> Measured:
    """birch signs shares that are none: the sum opens from the shares of the other three."""
    total, reports = _round(stage)
    for name, data in reports.items():
        total.take_report(name, data)
    stage.finish(total)
    false = _shares(stage, total, lambda own: bytes(len(own)))
    total.take_shares(COLLUDER, false)
    exact = bool((stage.opened(total) == stage.true_sum(total)).all())
    return Measured(exact, f"With one member's shares false, the sum is {'' if exact else 'not '}exact.")


def _shares(stage: Stage, total: Sum, change: Any) -> bytes:
    """birch's answer to Unmask with another `own`, signed again."""
    request = encode(total.unmask_request())
    shares = decode(SignedShares, stage.sites[COLLUDER].unmask(request)).shares
    shares = replace(shares, own=change(shares.own))
    return encode(SignedShares(shares, stage.keys[COLLUDER].sign("unmask", shares)))


@attack("a report that is cut off", guard="report_short", where="coordinator")
def short(stage: Stage) -> None:
    """The answer ends before the signed report begins."""
    total, reports = _round(stage)
    total.take_report(COLLUDER, reports[COLLUDER][:100])


@attack("a report in another site's name", guard="report_of_another_site", where="coordinator")
def other_name(stage: Stage) -> None:
    """birch sends a copy of alder's report."""
    total, reports = _round(stage)
    total.take_report(COLLUDER, reports["alder"])


@attack("a report that nobody signed", guard="report_unsigned", where="coordinator")
def unsigned(stage: Stage) -> None:
    """Someone on the way signs birch's report with a key of their own."""
    total, reports = _round(stage)
    total.take_report(COLLUDER, _resigned(stage, total, reports[COLLUDER], by="elm"))


@attack("a report for another header", guard="report_of_another_header", where="coordinator")
def other_header(stage: Stage) -> None:
    """birch sends its report of an earlier round again."""
    _, earlier = _round(stage)
    total, _ = _round(stage)
    total.take_report(COLLUDER, earlier[COLLUDER])


@attack("a vector changed on the way", guard="masked_changed", where="coordinator")
def changed_vector(stage: Stage) -> None:
    """Someone on the way changes one entry of birch's vector."""
    total, reports = _round(stage)
    data = bytearray(reports[COLLUDER])
    data[3] ^= 64
    total.take_report(COLLUDER, bytes(data))


@attack("ciphertexts changed on the way", guard="ciphertexts_changed", where="coordinator")
def changed_ciphertexts(stage: Stage) -> None:
    """Someone on the way puts other bytes in place of one member's shares."""
    total, reports = _round(stage)
    sealed = signed_report(reports[COLLUDER], total.header).ciphertexts
    report = _resigned(stage, total, reports[COLLUDER], ciphertexts=(bytes(200), *sealed[1:]))
    total.take_report(COLLUDER, report)


@attack("no shares for a member", guard="ciphertexts_missing", where="coordinator")
def no_shares(stage: Stage) -> None:
    """birch sends one member nothing, so that too few can open its seed."""
    total, reports = _round(stage)
    sealed = (b"", *signed_report(reports[COLLUDER], total.header).ciphertexts[1:])
    changes: dict[str, Any] = {"report": {"ciphertexts": hashes_of(sealed)}, "ciphertexts": sealed}
    total.take_report(COLLUDER, _resigned(stage, total, reports[COLLUDER], **changes))


@attack("other commitments than were signed", guard="commitments_changed", where="coordinator")
def changed_commitments(stage: Stage) -> None:
    """Someone on the way puts other commitments into birch's report."""
    total, reports = _round(stage)
    commitments = signed_report(reports[COLLUDER], total.header).commitments
    changed = replace(commitments, own=bytes(32))
    total.take_report(COLLUDER, _resigned(stage, total, reports[COLLUDER], commitments=changed))


def _reported(stage: Stage) -> Sum:
    total, reports = _round(stage)
    for name in SITES[:-1]:
        total.take_report(name, reports[name])
    return total


@attack("a cross-check of other survivors", guard="crosscheck_unsigned", where="coordinator")
def other_survivors(stage: Stage) -> None:
    """birch signs the header in place of the survivors."""
    total = _reported(stage)
    total.take_crosscheck(COLLUDER, stage.keys[COLLUDER].sign("crosscheck", total.header))


@attack("shares of another member", guard="shares_of_another", where="coordinator")
def other_shares(stage: Stage) -> None:
    """birch passes alder's shares on as its own."""
    total = stage.finish(_reported(stage))
    total.take_shares(COLLUDER, stage.sites["alder"].unmask(encode(total.unmask_request())))


@attack("shares that nobody signed", guard="shares_unsigned", where="coordinator")
def unsigned_shares(stage: Stage) -> None:
    """Someone on the way signs birch's shares with a key of their own."""
    total = stage.finish(_reported(stage))
    signed = decode(SignedShares, stage.sites[COLLUDER].unmask(encode(total.unmask_request())))
    forged = replace(signed, signature=stage.keys["elm"].sign("unmask", signed.shares))
    total.take_shares(COLLUDER, encode(forged))


@attack("too few shares", guard="shares_incomplete", where="coordinator")
def few_shares(stage: Stage) -> None:
    """birch leaves out its share of the last survivor's seed."""
    total = stage.finish(_reported(stage))
    total.take_shares(COLLUDER, _shares(stage, total, lambda own: own[:-32]))


@attack("shares that are too large", guard="shares_malformed", where="coordinator")
def large_shares(stage: Stage) -> None:
    """birch sends numbers that are no elements of the field."""
    total = stage.finish(_reported(stage))
    total.take_shares(COLLUDER, _shares(stage, total, lambda own: b"\xff" * len(own)))
