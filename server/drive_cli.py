"""`consilium server serve|run|status|stop`: the coordinator's processes and the runs over them."""

import contextlib
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

if TYPE_CHECKING:
    from server.network.drive import Drive

HOME = Annotated[
    Path, typer.Argument(metavar="HOME", help="The coordinator's folder, as `consilium server init` made it.")
]
PAUSED, SIGNALLED = 3, 128
ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


def serve(
    home: HOME,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", help="Start this part alone: superlink, superexec or gateway; may be given twice."),
    ] = None,
    listen: Annotated[
        str,
        typer.Option("--link-listen", help="Where the SuperLink listens; another than loopback in containers only."),
    ] = "127.0.0.1",
) -> None:
    """Run SuperLink, SuperExec and gateway until SIGTERM; what ends is started again."""
    from common.errors import ConsiliumError
    from server.network.parts import PARTS
    from server.network.serve import serve as supervise

    parts = tuple(only or PARTS)
    if wrong := [part for part in parts if part not in PARTS]:
        raise ConsiliumError(f"--only {wrong[0]}: no such part; there are {', '.join(PARTS)}.")
    supervise(home, _say, parts=parts, listen=listen)


def run(
    home: HOME,
    out: Annotated[Path | None, typer.Option("--out", help="Folder of this run; without it HOME/runs/PLAN.")] = None,
    start: Annotated[
        Path | None, typer.Option("--start", metavar="MODEL", help="The model that a plan with [start] goes on from.")
    ] = None,
    wait_s: Annotated[
        float, typer.Option("--wait-s", min=0.0, help="Pause when no round was finished for so long after a failure.")
    ] = 600.0,
) -> None:
    """Train what the plan says, with the hospitals of the roster; go on by itself after every interruption.

    Status 0: finished. 3: paused, with the reason; the same command goes on. 2: an error that waiting does not mend.
    SIGTERM, SIGHUP and Ctrl-C pause it as well, with 128 and the signal's number; a second Ctrl-C does not wait.
    """
    from server.network.drive import Drive, Paused, prepare
    from server.network.home import load_home
    from server.network.locks import only_one
    from server.network.runs import FOLLOWED
    from server.start import check_start, keep_start
    from server.terminal import Progress, result_table

    folder = load_home(home)
    with only_one(folder.state / FOLLOWED, f"{home}: a run goes on already; `consilium server status {home}`."):
        plan, target = prepare(folder, out)
        check_start(plan, start, target)
        if start is not None:
            keep_start(plan, start, target)
        _say(f"The run's folder is {target}.")
        with Progress(Console(highlight=False)) as progress:
            drive = Drive(folder, plan, target, _say, progress, wait_s)
            try:
                with _heard_by(drive):
                    drive.run()
            except Paused as pause:
                with contextlib.suppress(OSError):  # after SIGHUP there may be no terminal any more
                    progress.close()
                    print(pause, file=sys.stderr)
                raise typer.Exit(SIGNALLED + drive.ended_by if drive.ended_by else PAUSED) from None
    Console().print(result_table(_result(target)))
    _say(f"Model, report and result are in {target}.")


def status(home: HOME) -> None:
    """Say which processes run, which hospitals are connected, and where the run stands. Status 1: not all is well."""
    from server.network.home import load_home
    from server.network.status import report

    lines, well = report(load_home(home))
    _say(*lines)
    if not well:
        raise typer.Exit(1)


def stop(
    home: HOME,
    everything: Annotated[bool, typer.Option("--all", help="Stop SuperLink, SuperExec and gateway as well.")] = False,
) -> None:
    """Stop the run; its journal stays, and `consilium server run` goes on with it."""
    from common.errors import ConsiliumError
    from server.network import runs, serve
    from server.network.home import load_home

    folder = load_home(home)
    try:
        runs.stop_all(folder, _say)
    except ConsiliumError as late:
        if not everything:
            raise
        _say(str(late))  # it ends with the processes
    if everything:
        if not serve.ask_to_stop(folder):
            raise ConsiliumError(f"{home}: its processes have not ended; look into {folder.state}.")
        _say("SuperLink, SuperExec and gateway have ended.")


def _result(folder: Path) -> dict[str, object]:
    import json

    from common.files import read_bytes

    return dict(json.loads(read_bytes(folder / "result.json")))


@contextlib.contextmanager
def _heard_by(drive: "Drive") -> Iterator[None]:
    """A signal of ENDING lets `drive` pause in order; SIGHUP not where it was to be ignored, as under nohup."""

    def ending(number: int, frame: FrameType | None) -> None:
        drive.ended_by = drive.ended_by or signal.Signals(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = {number: signal.getsignal(number) for number in ENDING}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, ending)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _say(*lines: str) -> None:
    for line in lines:
        print(line, flush=True)
