"""One `up`, one run: goes on with the last run where that is not finished, else begins the next."""

import os
import sys
import time
from pathlib import Path

HOME = Path("/coordinator")


def main() -> None:
    runs = sorted(path for path in (HOME / "runs").iterdir() if path.is_dir() and not path.is_symlink())
    last = runs[-1] if runs and not (runs[-1] / "result.json").exists() else None
    out = last or HOME / "runs" / time.strftime("%Y%m%d-%H%M%S")
    latest = HOME / "runs" / ".latest"
    latest.unlink(missing_ok=True)
    latest.symlink_to(out.name)
    latest.replace(HOME / "runs" / "latest")
    print(f"The page: http://127.0.0.1:{os.environ.get('PAGE_PORT', '8080')}", flush=True)
    os.execvp("consilium", ["consilium", "server", "run", str(HOME), "--out", str(out)])  # noqa: S606


if __name__ == "__main__":
    sys.exit(main())
