"""What a site's answer costs in memory: at 10 million parameters every needless copy is 40 MB."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("site_memory.py")


@pytest.mark.parametrize("measure", ["traced", "resident"])
def test_a_masked_answer_takes_fewer_than_four_copies_of_the_update(tmp_path: Path, measure: str) -> None:
    """From the update in hand to the reply, with the store on the disk: clipping, weights, masks, store, ledger."""
    if measure == "resident" and not Path("/proc/self/clear_refs").exists():
        pytest.skip("only Linux tells a process its own peak since a moment")
    command = [sys.executable, str(PROGRAM), str(tmp_path), measure]
    done = subprocess.run(command, cwd=PROGRAM.parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    parameters, peak = (int(word) for word in done.stdout.split())
    assert parameters > 10**7
    copies = peak / (4 * parameters)
    assert 1 < copies < 4, f"{copies:.2f} copies"  # the reply itself is one
