"""Our deployment as it is run: gateway, SuperLink, SuperExec and three hospitals, built with the commands.

A round is one of a run by `consilium server run`: broadcast, policy, a training step on a few patients, clipping,
ledger, receipt, sum, the strategy's step and the journal. Little is to be learnt, so that it is near to no work; what
is there is in our time.
"""

from pathlib import Path

import numpy as np

from benchmarks.deployment_block import SITES, Block, resident_mb, watch
from benchmarks.deployment_relay import Relay
from common.model import Layout
from common.plan import Plan, plan_from_dict
from tests.e2e.network import Network, events

PATIENTS = 40


class Ours:
    """Enrolled, served and connected as soon as it is made."""

    name = "ours"

    def __init__(self, folder: Path) -> None:
        homes = [_hospital(folder / "sites" / f"site{number}", number) for number in range(SITES)]
        self._network = Network(folder, {home.name: home for home in homes}, before=self._between)
        self._runs = 0
        self._relay: Relay | None = None

    def start(self) -> None:
        self._network.enrol(plan_of(1000, secure=True, rounds=1, seed=0))
        for home in self._network.sites.values():
            policy = home / "policy.toml"
            policy.write_text(policy.read_text().replace("# required = true", "required = false"))
        self._network.serve()
        for site in self._network.sites:
            self._network.start_site(site)

    def rounds(self, parameters: int, count: int, *, secure: bool) -> Block:
        """`count` rounds after one that is not counted, of a plan of their own."""
        self._runs += 1
        out = self._network.folder / f"run{self._runs}"
        self._network.change_plan(plan_of(parameters, secure=secure, rounds=count + 1, seed=self._runs))
        run = self._network.run(out)

        def ended() -> int:
            if run.poll():
                said = (self._network.folder / "run.log").read_text()[-1000:]
                raise RuntimeError(f"the run ended with status {run.returncode}: {said}")
            return len(events(out, "round"))

        if self._relay is None:
            raise RuntimeError("start() comes first")
        counted = watch(ended, count, self._relay, self._roots)
        self._network.ends(run)
        return counted

    def at_rest(self) -> dict[str, dict[str, float]]:
        """Site -> process -> MB."""
        return {site: resident_mb(self._network.pids[site]) for site in self._network.sites}

    def _roots(self) -> list[int]:
        return list(self._network.pids.values())

    def stop(self) -> None:
        self._network.stop()
        if self._relay is not None:
            self._relay.close()

    def _between(self, gateway: int) -> int:
        self._relay = Relay(gateway)
        return self._relay.port


def plan_of(parameters: int, *, secure: bool, rounds: int, seed: int) -> Plan:
    """A plan whose model has about so many parameters, in two layers."""
    width = 1
    while _plan(2 * width, secure, rounds, seed)[1] < parameters:
        width *= 2
    lowest, highest = width, 2 * width
    while highest - lowest > 1:
        middle = (lowest + highest) // 2
        lowest, highest = (middle, highest) if _plan(middle, secure, rounds, seed)[1] < parameters else (lowest, middle)
    return _plan(highest, secure, rounds, seed)[0]


def _plan(width: int, secure: bool, rounds: int, seed: int) -> tuple[Plan, int]:
    content = {
        "federation": {"name": "bench"},
        "data": {"patient": "patient"},
        "features": [{"name": name, "range": [-10, 10]} for name in ("x1", "x2")],
        "tasks": [{"name": "y", "label": "y"}],
        "model": {"hidden": [width, width]},
        "training": {"rounds": rounds, "local_epochs": 1, "min_local_steps": 1, "batch_size": PATIENTS},
        "aggregation": {"secure": secure, "min_sites": SITES},
        "seeds": {"training": seed},
    }
    plan = plan_from_dict(content, source="benchmarks.deployment_ours")
    return plan, Layout(plan).parameters


def _hospital(home: Path, number: int) -> Path:
    """A hospital's folder with its site.toml and a table of a few patients."""
    home.mkdir(parents=True)
    (home / "site.toml").write_text(f'[site]\nname = "{home.name}"\n\n[data]\nfiles = ["patients.csv"]\n')
    random = np.random.default_rng(number)
    with open(home / "patients.csv", "w") as file:
        file.write("patient,x1,x2,y\n")
        for patient, (first, second) in enumerate(random.normal(size=(PATIENTS, 2))):
            file.write(f"{home.name}-{patient},{first:.3f},{second:.3f},{int(first + second > 0)}\n")
    return home
