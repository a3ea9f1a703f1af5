"""Whether one site's columns are unlike the other sites': another unit, a shift, a reversed code, rows out of order.

Hospitals differ, so no test asks whether they differ. Each holds two readings against each other: the columns as they
are, with the differences between hospitals that are ordinary, and the columns with one fault put right. Only a fault
that explains much more is named. Of associations, a log likelihood ratio above z^2 / 2 comes up by chance with a
probability of Phi(-z) at most (z is where the two readings are easiest to mistake), and z is chosen for all columns of
a site together. What is ordinary between hospitals was set on splits with seeds 0 to 4 (docs/wrong-site.md).
"""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.associations import Associations, ranks
from common.histogram import quantiles
from common.plan import Feature, Task
from common.vitals import converter, convertible

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
LEAST_OWN, LEAST_OTHERS = 20, 50  # rows of a column here, and at the others, below which nothing is said of it
_LEAST_CODE = 5  # rows here with the rarer of two codes
_FAR, _APART = 1.75, 0.7  # standard deviations between medians, and the largest distance of two distributions
_OTHER_UNIT, _EXPLAINED = 0.6, 0.4  # the latter distance as it is, and at most so much with the unit put right
_ORDINARY = 0.1  # standard deviation, in Fisher's z, of one association between hospitals
_ORDINARY_SHARE = 1.2  # of the logit of a share
_MOST_SHARE = 3.0  # so much can a share alone say; some codes are rare at one hospital only
_AT_LEAST = 2.5  # of the log likelihood ratio of a reversed code, whatever its share says
_LEVELS = {"reversed": 0.01, "unrelated": 0.001}  # chance that a site whose columns are right names one as that
_TWINS = 0.95  # a column that is another one once more, such as a label that is an input of another task
_LARGEST = 0.85  # more than this is not expected of any association


@dataclass(frozen=True)
class Finding:
    """One column that is unlike the others'. kind: 'unit', 'shift', 'reversed' or 'unrelated'; words: a sentence."""

    column: str
    kind: str
    words: str


@dataclass(frozen=True)
class Compared:
    """One site's rows beside the sums of the other sites.

    values: (n, columns) float64, features and labels in plan units, NaN for missing. others: (layout.size,), the total
    less this site's own vector. edges: between which both were counted.
    """

    layout: Associations
    values: Float64
    others: Float64
    edges: Float32

    def findings(self) -> tuple[Finding, ...]:
        """What is unlike, in the order of the columns; usually nothing."""
        found = {}
        _, counts, of_pairs, both = self.layout.split(self.others)
        for column, theirs in enumerate(counts):
            finding = self._distribution(column, theirs)
            if finding is not None:
                found[column] = finding
        found |= self._associations(counts, *self.layout.matrices(of_pairs, both))
        return tuple(found[column] for column in sorted(found))

    def _distribution(self, column: int, theirs: Float64) -> Finding | None:
        """A unit or a shift, of a numeric column."""
        about, own = self.layout.columns[column], known_of(self.values, column)
        if about.range is None or len(own) < LEAST_OWN or theirs.sum() < LEAST_OTHERS:
            return None
        apart = self._apart(column, own, theirs)
        if apart >= _OTHER_UNIT:
            for unit in convertible(about.unit, about.analyte)[1:]:
                as_read = converter(unit, about.unit, about.analyte)(own)
                if self._apart(column, as_read, theirs) <= min(_EXPLAINED, apart / 2.0):
                    return Finding(about.name, "unit", f"{named(about)} looks like {unit}; check its unit.")
        low, high = about.range
        limits = np.concatenate([[0.0], self.edges[self.layout.measured.index(column)].astype(np.float64), [1.0]])
        tenth, middle, ninth = low + (high - low) * quantiles(limits, theirs, np.array([0.1, 0.5, 0.9]))
        # From this hospital's own bins: no answer can depend on one patient's exact value.
        (ours,) = low + (high - low) * quantiles(
            limits, self.layout.histogram(column, own, self.edges), np.array([0.5])
        )
        distance = float((ours - middle) / max((ninth - tenth) / 2.56, 1e-9 * (high - low)))
        if abs(distance) < _FAR or apart < _APART:
            return None
        where = "above" if distance > 0 else "below"
        far = f"{min(abs(distance), 99.0):.1f} standard deviations {where} the other hospitals'"
        return Finding(about.name, "shift", f"{named(about)} lies {far}; check its unit and its column.")

    def _apart(self, column: int, values: Float64, theirs: Float64) -> float:
        """The largest difference of the two cumulative distributions, from 0 to 1."""
        ours = self.layout.histogram(column, values, self.edges)
        return float(np.abs(np.cumsum(ours) / ours.sum() - np.cumsum(theirs) / theirs.sum()).max())

    def _associations(self, counts: list[Float64], rows: Float64, correlation: Float64) -> dict[int, Finding]:
        """Reversed and unrelated columns. The clearest one first, and then what the others say without it.

        For a column that is wrong makes those look wrong that go together with it.
        """
        expected = Expected(rows, correlation, ranks(self.values), ~np.isnan(self.values))
        found: dict[int, Finding] = {}
        limit = {kind: NormalDist().inv_cdf(1.0 - level / len(counts)) ** 2 / 2.0 for kind, level in _LEVELS.items()}
        while len(found) < len(self.layout.columns):
            best: tuple[float, int, str] = (0.0, -1, "")
            for column, theirs in enumerate(counts):
                if column in found or not self._varies(column):
                    continue
                here = told_by(np.unique(known_of(self.values, column), return_counts=True)[1])
                there = told_by(theirs) if self.layout.columns[column].range is None else float(theirs.sum())
                ratios = expected.ratios(column, rows=(here, there), without=tuple(found))
                if ratios is None:
                    continue
                turned, unrelated = ratios
                total = turned + self._share(column, theirs)
                if turned >= _AT_LEAST and total > limit["reversed"]:
                    best = max(best, (total, column, "reversed"))
                elif unrelated > limit["unrelated"]:
                    best = max(best, (unrelated, column, "unrelated"))
            _, column, kind = best
            if column < 0:
                return found
            found[column] = _WORDS[kind](self.layout.columns[column])
        return found

    def _varies(self, column: int) -> bool:
        """Whether there is enough of a column here to go together with others."""
        own = known_of(self.values, column)
        if len(own) < LEAST_OWN:
            return False
        _, counts = np.unique(own, return_counts=True)
        return len(own) - int(counts.max()) >= _LEAST_CODE

    def _share(self, column: int, theirs: Float64) -> float:
        """What the share of a two-valued code says: log likelihood of the reversed code over that of the code as is."""
        if self.layout.columns[column].range is not None or self.layout.bins[column] != 2:
            return 0.0
        ours = self.layout.histogram(column, self.values[:, column], self.edges)
        own, other = (np.log((part[1] + 0.5) / (part[0] + 0.5)) for part in (ours, theirs))
        return float(np.clip(-2.0 * own * other / _ORDINARY_SHARE**2, -_MOST_SHARE, _MOST_SHARE))


class Expected:
    """How columns go together at the other sites, tried on the rows of this one.

    Of each column the other columns make a prediction, with weights that follow from the others' correlations alone.
    How it goes together with the column here is then one number, which is known at the others too.
    """

    def __init__(self, rows: Float64, correlation: Float64, rank: Float64, known: NDArray[np.bool_]) -> None:
        self._rows, self._correlation, self._known = rows, correlation, known
        self._whole = _positive(correlation)
        counts = np.maximum(known.sum(axis=0), 1)
        spread = np.sqrt((rank**2).sum(axis=0) / counts)
        self._z = np.divide(rank, spread, out=np.zeros_like(rank), where=spread > 1e-6)

    def ratios(
        self, column: int, *, rows: tuple[float, float], without: tuple[int, ...] = ()
    ) -> tuple[float, float] | None:
        """Log likelihood ratios: of 'reversed' over 'as at the others', and of 'unrelated' over it; None if unknown.

        rows: how many say something of the column, here and at the others. without: columns that predict nothing.
        """
        here = self._known[:, column]
        theirs, association = self._rows[column], self._correlation[column]
        use = (self._known[here].mean(axis=0) >= 0.5) & (theirs >= LEAST_OTHERS) & (np.abs(association) < _TWINS)
        use[[column, *without]] = False
        use &= np.abs(association) > 1.5 / np.sqrt(np.maximum(theirs, 1.0))
        if not use.any():
            return None
        # What is within the error of the others' own correlations is left out.
        target = association[use] - np.sign(association[use]) * 1.5 / np.sqrt(theirs[use])
        among = self._whole[np.ix_(use, use)]
        weights = np.linalg.solve(among + np.eye(len(target)), target)
        predicted, own = self._z[np.ix_(here, use)] @ weights, self._z[here, column]
        if predicted.std() < 1e-9 or own.std() < 1e-9:
            return None
        there = np.arctanh(min(_LARGEST, weights @ target / np.sqrt(weights @ among @ weights)))
        found = np.arctanh(np.clip(np.corrcoef(predicted, own)[0, 1], -0.99, 0.99))
        fewest = min(rows[1], float(np.median(theirs[use])))
        error = 1.0 / max(rows[0] - 3.0, 1.0) + 1.0 / max(fewest - 3.0, 1.0) + _ORDINARY**2
        return float(-2.0 * found * there / error), float((there**2 - 2.0 * found * there) / (2.0 * error))


def _positive(correlation: Float64) -> Float64:
    """The nearest matrix that can be one of correlations: pairs were counted over different rows."""
    whole = correlation.copy()
    np.fill_diagonal(whole, 1.0)
    values, vectors = np.linalg.eigh(whole)
    whole = (vectors * np.maximum(values, 0.02)) @ vectors.T
    scale = np.sqrt(np.diag(whole))
    return np.asarray(whole / scale[:, None] / scale)


def known_of(values: Float64, column: int) -> Float64:
    """The values of one column that are known."""
    own = values[:, column]
    return own[~np.isnan(own)]


def told_by(counts: NDArray[Any]) -> float:
    """How many rows say something of a column, from the counts of its values: of a rare code, four times its rows."""
    total = float(counts.sum())
    return min(total, 4.0 * (total - float(counts.max(initial=0))))


def named(column: Feature | Task) -> str:
    """How a sentence speaks of a column."""
    return column.name if isinstance(column, Feature) else f"the label of {column.name} (column {column.label!r})"


def _reversed(column: Feature | Task) -> Finding:
    words = "goes together with the other columns the opposite way round than at the other hospitals"
    return Finding(column.name, "reversed", f"{named(column)} {words}; check whether its code is reversed.")


def _unrelated(column: Feature | Task) -> Finding:
    words = "does not go together with the other columns as it does at the other hospitals"
    cure = "check whether it is the right column, and whether its rows are in order"
    return Finding(column.name, "unrelated", f"{named(column)} {words}; {cure}.")


_WORDS: dict[str, Callable[[Feature | Task], Finding]] = {"reversed": _reversed, "unrelated": _unrelated}
