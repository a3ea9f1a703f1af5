"""`consilium server run`: Flower runs of one plan, one after the other, until its journal says that it is finished.

A Flower run ends with the SuperLink, the coordinator's app, or too few hospitals. The next one resumes from the same
folder. Only one process can hold the journal, so that no two runs ever count a round.
"""

import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import ConsiliumError, RunError
from common.files import read_plan
from common.plan import Plan
from common.secagg.roster import still_missing
from server.journal import LOCK
from server.network.flower import CONNECTION, FlowerFailed, connect, flwr, healthy
from server.network.following import Following, is_journal
from server.network.home import Home
from server.network.locks import is_held
from server.network.runs import LOOK_S, STOP, alone, check_out, last_run, remember, stop_flower_run
from server.roster import load_coordinator_key, read_roster

ASK_S, FIRST_PAUSE_S, LONGEST_PAUSE_S = 10.0, 1.0, 20.0
SITES_WAIT_S = 60.0
_APPS = Path(__file__).parents[2] / "deploy" / "flower_app", Path(sys.prefix) / "share" / "consilium" / "flower_app"
APP = next((folder for folder in _APPS if folder.is_dir()), _APPS[0])
Listener = Callable[[dict[str, Any]], None]


class Paused(RunError):
    """Nothing went on for too long, or a person stopped the run. The journal stays, and the run can go on."""


@dataclass
class Drive:
    """One plan, its journal `out`, and who is told: `say` in a line, `listener` each event of the journal.

    wait_s: how long, after an attempt has failed, no further round may be finished before the run pauses.
    ended_by: a signal that was heard, after which the run pauses as soon as no `flwr` is under way.
    """

    home: Home
    plan: Plan
    out: Path
    say: Callable[[str], None]
    listener: Listener
    wait_s: float = 600.0
    app: Path = APP
    ended_by: signal.Signals | None = None
    _run: str = ""
    _alone: bool = False

    def run(self) -> None:
        """Until the run is finished. Raises Paused, and RunError for what no further attempt can mend."""
        request = self.home.state / STOP
        request.unlink(missing_ok=True)
        following = Following(self.out)
        waiting_since, pause_s, told = 0.0, FIRST_PAUSE_S, ""
        while True:
            rounds = following.rounds
            try:
                reason = self._attempt(following, request)
            finally:
                self._end()
            if not reason:
                return
            now = time.monotonic()
            if following.rounds > rounds or not waiting_since:
                waiting_since, pause_s, told = now, FIRST_PAUSE_S, ""
            told = reason if following.stopped else told  # the app's own words, with each hospital's code
            if now - waiting_since >= self.wait_s:
                before = f" Before that: {told}" if told not in ("", reason) else ""
                raise Paused(self._pausing(f"no round was finished for {self.wait_s:g} s: {reason}{before}"))
            self.say(f"The run was cut off: {reason} It goes on from its journal.")
            self._sleep(min(pause_s, max(LOOK_S, self.wait_s - (now - waiting_since))), request)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _attempt(self, following: Following, request: Path) -> str:
        """Empty once the run is finished; otherwise, in a sentence, why this Flower run ended before it was."""
        if (self.out / "result.json").exists() and self._resumes():
            return ""
        following.look()
        following.again()
        if not healthy(self.home):
            return f"the SuperLink does not answer; `consilium server serve {self.home.folder}` runs it."
        try:
            if not self._alone:
                mine, waits = alone(self.home, self.out)
                if waits:
                    return waits
                if mine and not is_held(self.out / LOCK):
                    stop_flower_run(self.home, mine)  # its app was killed, or has not begun
                self._alone = True
            if is_held(self.out / LOCK):
                if not self._adopt():
                    return f"another process still writes into {self.out}."
                following.begun = True
            else:
                self._begin()
            reason = self._follow(following, request)
        except FlowerFailed as failure:
            return str(failure)
        if not reason:
            self._run = ""  # it ends by itself
        return reason

    def _adopt(self) -> bool:
        """Whether the app that holds the journal was begun by an earlier process like this one, which was killed."""
        known = last_run(self.home)
        self._run = known["run"] if known.get("out") == str(self.out) else ""
        return bool(self._run)

    def _begin(self) -> None:
        files = {"plan": self.home.plan, "out": self.out, "roster": self.home.roster, "key": self.home.coordinator_key}
        config = [f'{key}="{path}"' for key, path in files.items()]
        wanted = len(sites_of(self.home, self.plan))  # at each attempt: a hospital may have joined or left meanwhile
        config += [f"sites-expected={wanted}", f"wait-s={min(SITES_WAIT_S, self.wait_s):.1f}"]
        config += [f"resume={str(self._resumes()).lower()}"]
        self._run = str(flwr(self.home, "run", str(self.app), CONNECTION, "--run-config", " ".join(config))["run-id"])
        remember(self.home, self._run, self.out)

    def _follow(self, following: Following, request: Path) -> str:
        """Why the app ended; empty if it has finished."""
        began_s = asked_s = time.monotonic()
        while True:
            self._check_request(request)
            # The lock first: what the app wrote before it ended is then seen below.
            ended = following.begun and not is_held(self.out / LOCK)
            for event in following.look():
                self.listener(event)
            if ended:
                return self._why(following)
            if not following.begun and time.monotonic() - asked_s >= ASK_S:
                asked_s = time.monotonic()
                status, details = self._status()
                if status.startswith("finished"):
                    following.look()
                    return self._why(following) if following.begun else details or f"Flower says {status}."
                if asked_s - began_s >= self.wait_s:
                    return (
                        f"the coordinator's app did not start ({status}); {self.home.state}/superexec.log may say why."
                    )
            time.sleep(LOOK_S)

    def _why(self, following: Following) -> str:
        if following.finished and (self.out / "result.json").exists():
            return ""
        if following.stopped is None:
            return "the coordinator's app was killed."
        reason = str(following.stopped.get("reason"))
        if not following.stopped.get("resumable"):
            raise RunError(reason)
        return reason

    def _status(self) -> tuple[str, str]:
        entry = flwr(self.home, "ls", CONNECTION, "--run-id", self._run)["runs"][0]
        return str(entry["status"]), str(entry.get("status-details") or "")

    def _end(self) -> None:
        """Nobody works for a Flower run that this process does not follow any more."""
        if self._run:
            stopped = stop_flower_run(self.home, self._run)
            if self.ended_by is not None and not stopped and is_held(self.out / LOCK):
                self.say(f"Flower did not stop the run; `consilium server stop {self.home.folder}` does it again.")
            self._run = ""

    def _resumes(self) -> bool:
        return is_journal(self.out, self.plan.canonical)

    def _check_request(self, request: Path) -> None:
        if self.ended_by is not None:
            raise Paused(self._pausing(f"it was ended by {self.ended_by.name}."))
        if request.exists():
            request.unlink(missing_ok=True)
            raise Paused(self._pausing("it was stopped with `consilium server stop`."))

    def _sleep(self, seconds: float, request: Path) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._check_request(request)
            time.sleep(LOOK_S)

    def _pausing(self, reason: str) -> str:
        again = f"consilium server run {self.home.folder} --out {self.out}"
        return f"The run pauses, {reason.rstrip('.')}. Nothing is lost; it goes on with: {again}"


def prepare(home: Home, out: Path | None) -> tuple[Plan, Path]:
    """The plan and the folder of the run. Raises ConsiliumError where one is missing, or a signature."""
    plan = read_plan(home.plan)
    target = check_out(home, out or home.runs / plan.hash[:12])
    if plan.aggregation.secure:
        signed = read_roster(home.roster)
        if load_coordinator_key(home.coordinator_key).verify_key != signed.roster.coordinator:
            raise ConsiliumError(
                f"{home.coordinator_key}: is not the key that {home.roster} names as the coordinator's."
            )
        number = signed.roster.number
        previous = None if number == 1 else read_roster(home.roster_of(number - 1)).roster
        missing, enough = still_missing(signed, previous=previous)
        if not enough:
            raise ConsiliumError(f"{home.roster}: {', '.join(missing)} has to sign first; `consilium server collect`.")
    connect(home)
    return plan, target


def sites_of(home: Home, plan: Plan) -> tuple[str, ...]:
    """The hospitals of the roster in use; in a plan with plain sums, all that are enrolled. Raises ConsiliumError."""
    return tuple(read_roster(home.roster).roster.sites) if plan.aggregation.secure else tuple(home.site_names())
