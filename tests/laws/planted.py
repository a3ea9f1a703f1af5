"""Hospitals whose every identifier and measurement is unmistakable, and a scan of files and messages for them."""

import re
from pathlib import Path

import numpy as np
import pandas as pd

from tests.conftest import small_table

MARK = "Zq7Patient"


def planted(seed: int) -> pd.DataFrame:
    """A hospital's table in which every identifier and every measurement is unmistakable."""
    table = small_table(seed)
    digits = np.random.default_rng(1000 + seed).integers(100_000, 999_999, (len(table), 2)) / 1e6
    table["patient"] = [f"{MARK}-{seed}-{number:04d}-Ångström" for number in range(len(table))]
    table["age"] = (table["age"] + digits[:, 0]).round(6).clip(21, 94)
    table["sbp"] = (table["sbp"] + digits[:, 1]).round(6)
    return table


class Scan:
    """What must not be found. Numbers count where they have their six decimals."""

    def __init__(self, *tables: pd.DataFrame) -> None:
        cells = {f"{cell}" for table in tables for name in ("age", "sbp") for cell in table[name].dropna()}
        self.numbers = {cell for cell in cells if re.fullmatch(r"-?\d+\.\d{6}", cell)}
        assert len(self.numbers) > 50 * len(tables)

    def check(self, content: bytes | str, where: object) -> None:
        text = content if isinstance(content, str) else content.decode("latin-1")
        assert MARK not in text, where
        found = set(re.findall(r"(?<![\d.])-?\d+\.\d{6}(?!\d)", text)) & self.numbers
        assert not found, (where, found)

    def folder(self, folder: Path) -> list[str]:
        """Every file below; gives their names."""
        files = [path for path in folder.rglob("*") if path.is_file()]
        for path in files:
            self.check(str(path), path)
            self.check(path.read_bytes(), path)
        return [path.name for path in files]
