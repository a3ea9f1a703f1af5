"""Starts a run, shows the coordinator's output to its end and says where the result lies; fails if the run did."""

import subprocess
import sys
import time

from flower import OPERATOR, connect, flwr

APP = "/opt/consilium/flower_app"
COORDINATOR = {"plan": "plan.json", "key": "coordinator.key", "roster": "roster.json"}
POLL_S = 1.0


def main() -> int:
    connect()
    sites = len(list(OPERATOR.glob("*.pub")))
    out = time.strftime("/runs/%Y%m%d-%H%M%S", time.gmtime())
    files = " ".join(f'{key}="/coordinator/{name}"' for key, name in COORDINATOR.items())
    config = f'{files} out="{out}" sites-expected={sites}'
    run = flwr("run", APP, "--run-config", config)["run-id"]
    subprocess.run(["flwr", "log", run, "--stream"], check=False)
    # The stream may break off before the run ends; only the run's own status counts.
    while not (state := flwr("ls", "--run-id", run)["runs"][0])["status"].startswith("finished"):
        time.sleep(POLL_S)
    if state["status"] != "finished:completed":
        print(f"The run failed: {state['status-details'] or state['status']}", file=sys.stderr)
        return 1
    print(f"Report, result and model are in {out} of the volume `runs`. Copy them out with")
    print(f"  mkdir -p runs && docker compose cp run:{out} runs/compose")
    return 0


if __name__ == "__main__":
    sys.exit(main())
