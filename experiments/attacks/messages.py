"""Every message of a round, to a site or to the coordinator: cut short, made longer, and with single bits flipped.

Each must be refused, and change nothing: the true message is taken afterwards, and the sum at the end is exact.
"""

from collections.abc import Callable, Iterator

import numpy as np

from common.errors import Refusal
from common.secagg.encoding import decode, encode
from common.secagg.messages import OpenSession
from experiments.attacks.measure import Measured
from experiments.attacks.registry import NOISE, attack
from experiments.attacks.stage import SITES, VICTIM, Stage, blocks, layout

FLIPS = 64
MEMBER = "cedar"
Deliver = Callable[[bytes], object]


class _Altered:
    """Counts altered messages, and keeps the kinds of those that were taken."""

    def __init__(self) -> None:
        self.tried, self.taken = 0, list[str]()
        self._random = np.random.default_rng(1)

    def send(self, kind: str, data: bytes, deliver: Deliver) -> None:
        for altered in self._forms(bytes(data)):
            self.tried += 1
            try:
                deliver(altered)
                self.taken.append(kind)
            except Refusal:
                continue

    def _forms(self, data: bytes) -> Iterator[bytes]:
        yield from (b"", data[:1], data[: len(data) // 2], data[:-1], data + b"\0", data + data, data + bytes(1 << 20))
        for at in self._random.integers(0, 8 * len(data), FLIPS):
            byte, bit = divmod(int(at), 8)
            yield data[:byte] + bytes([data[byte] ^ (1 << bit)]) + data[byte + 1 :]


@attack("truncated, oversized or bit-flipped messages at every step", guard=NOISE, where="site")
def altered_messages(stage: Stage) -> Measured:
    """Each of the eight messages of a round in 71 altered forms before the true one."""
    altered, site = _Altered(), stage.sites[VICTIM]
    altered.send("OpenSession", encode(stage.request), lambda data: _open(stage, data))
    altered.send("SessionCards", encode(stage.open_session()), site.take_cards)
    signed = stage.signed()
    shown = signed.header.model
    altered.send("SignedHeader", encode(signed), lambda d: site.begin(d, layout(), training_round=1, model=shown))
    reports, total = stage.reports(signed), stage.sum(signed, {})
    altered.send("report", reports[VICTIM], lambda data: total.take_report(VICTIM, data))
    for name in SITES[:-1]:
        total.take_report(name, reports[name])
    asked, member = total.cross_check_for(MEMBER), stage.sites[MEMBER]
    altered.send("CrossCheck", encode(asked), member.cross_check)
    signatures = {name: stage.cross_check(name, total.cross_check_for(name)) for name in stage.roster.committee}
    altered.send("signature", signatures[MEMBER], lambda data: total.take_crosscheck(MEMBER, data))
    for name, signature in signatures.items():
        total.take_crosscheck(name, signature)
    request = encode(total.unmask_request())
    altered.send("Unmask", request, member.unmask)
    shares = {name: stage.sites[name].unmask(request) for name in stage.roster.committee}
    altered.send("SignedShares", shares[MEMBER], lambda data: total.take_shares(MEMBER, data))
    for name, data in shares.items():
        total.take_shares(name, data)
    exact = bool((stage.opened(total) == stage.true_sum(total)).all())
    what = f"{altered.tried - len(altered.taken)} of {altered.tried} altered messages refused"
    what += f" (taken: {', '.join(sorted(set(altered.taken)))})" if altered.taken else ""
    return Measured(exact and not altered.taken, f"{what}; the sum at the end is {'' if exact else 'not '}exact.")


def _open(stage: Stage, data: bytes) -> None:
    # Under another name it is another session, in which nobody else takes part.
    if decode(OpenSession, data).session != stage.session:
        raise Refusal("session_unknown", "another session.")
    stage.sites[VICTIM].open(data, [1.0] * blocks())
