"""Nodes that are connected and not in the run: asked in passing, so that none that is silent holds up the others."""

import time
from collections.abc import Collection
from dataclasses import dataclass, field

from flwr.app import RecordDict
from flwr.serverapp import Grid

from server.exchange import LATE, MOMENT_S, Answers, Asked, Question

ASK_AGAIN_S, LONGEST_S = 60.0, 960.0
_POLL_S = 0.05


@dataclass
class Newcomers:
    """Asks each at most once a minute, and one that does not answer after twice as long each time.

    Whoever is asked has a moment; an answer that comes later is found at the next look.
    """

    grid: Grid
    _again_s: dict[int, float] = field(default_factory=dict)
    _silent_s: dict[int, float] = field(default_factory=dict)
    _open: dict[int, Asked] = field(default_factory=dict)

    def were_asked(self, nodes: Collection[int]) -> None:
        """Just now, by somebody else, and they are not in the run."""
        self._again_s |= dict.fromkeys(nodes, time.monotonic() + ASK_AGAIN_S)

    def look(self, others: Collection[int], question: Question) -> Answers:
        """What has come since the last look. others: nodes that are connected; those of them that are due are asked."""
        known = {*self._again_s, *self._silent_s, *self._open}
        for node in known - set(others):  # one that comes back is asked at once
            self._forget(node)
        now = time.monotonic()
        due = {node for node in others if now >= self._again_s.get(node, now)}
        failed = dict.fromkeys(due & set(self._open), LATE)
        for node in due:
            wait_s = min(2 * self._silent_s.get(node, ASK_AGAIN_S / 2), LONGEST_S)
            self._silent_s[node], self._again_s[node] = wait_s, now + wait_s
            self._open[node] = Asked(self.grid, {node: question}, timeout_s=wait_s)
        contents: dict[int, RecordDict] = {}
        while True:
            for node, asked in list(self._open.items()):
                asked.look()
                if asked.waiting:
                    continue
                self._forget(node)
                self._again_s[node] = time.monotonic() + ASK_AGAIN_S
                answers = asked.answers()
                contents |= answers.contents
                failed |= answers.failed
            left_s = now + MOMENT_S - time.monotonic()
            if left_s <= 0 or not due & set(self._open):
                return Answers(contents, {node: code for node, code in failed.items() if node not in contents})
            time.sleep(min(_POLL_S, left_s))

    def ask_anew(self) -> None:
        """What was asked and is not answered yet is void: it was about a session that is over."""
        for node in self._open:
            self._again_s.pop(node, None)
        self._open.clear()

    def _forget(self, node: int) -> None:
        for known in (self._again_s, self._silent_s, self._open):
            known.pop(node, None)
