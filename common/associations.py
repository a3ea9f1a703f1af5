"""The third sum of the survey: how columns are distributed at each site, and how they go together.

Of each pair of columns a site sends the number of rows that know both, and that number times their rank correlation
there (Spearman 1904). Ranks make it the same in any unit; that it is made within a site leaves out what differs between
hospitals. What the others have is the sum less one's own part, to the last bit.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from common.entries import Entries
from common.histogram import histogram
from common.plan import Feature, Plan, Task

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
STAGE = 3  # of the survey
BINS = 16
GRID = 64  # a pair's product is a multiple of 1 / GRID: sums of it are exact, masked or not, in float32 as well
LEAST_ROWS = 5  # of a pair at one site: with fewer, a correlation says nothing
_MOST_FEATURES = 128  # with more, pairs of two features would be most of a survey


@dataclass(frozen=True)
class Associations:
    """Layout: rows; a histogram of each column; for each pair its rows; for each pair rows times rank correlation.

    A column is a feature or a label, features first. Numeric ones have BINS bins, the others one for each code. Of an
    hourly feature it is the mean over the hours of a stay at which it was measured.
    """

    plan: Plan

    @cached_property
    def columns(self) -> tuple[Feature | Task, ...]:
        return (*self.plan.inputs, *(self.plan.tasks[index] for index in self._tasks))

    @cached_property
    def _tasks(self) -> tuple[int, ...]:
        """Those with one label for each row."""
        return tuple(index for index, task in enumerate(self.plan.tasks) if not task.hourly)

    @cached_property
    def measured(self) -> tuple[int, ...]:
        """Numeric features and regression labels."""
        return tuple(index for index, column in enumerate(self.columns) if column.range is not None)

    @cached_property
    def bins(self) -> tuple[int, ...]:
        """Of each column."""
        return tuple(BINS if column.range is not None else codes_of(column) for column in self.columns)

    @cached_property
    def _blocks(self) -> tuple[tuple[int, str], ...]:
        """Index in `Layout.block_names`, and name, of each column's block."""
        features, tasks = self.plan.inputs, self.plan.tasks
        inputs = [(1 + len(tasks) + index, f"input:{feature.name}") for index, feature in enumerate(features)]
        return (*inputs, *((1 + index, f"task:{tasks[index].name}") for index in self._tasks))

    @cached_property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """Of columns, the one whose block comes first in front. Without two features where the plan has very many."""
        order = sorted(range(len(self.columns)), key=lambda column: self._blocks[column][0])
        features = len(self.plan.inputs)
        few = features <= _MOST_FEATURES
        return tuple(pair for pair in combinations(order, 2) if few or max(pair) >= features)

    @property
    def size(self) -> int:
        return 1 + sum(self.bins) + 2 * len(self.pairs)

    @cached_property
    def entries(self) -> tuple[Entries, ...]:
        """What the vector holds, in order; an entry of a pair stands under its first block."""
        counts = [Entries("counts", self._blocks[i][1], bins) for i, bins in enumerate(self.bins)]
        both = [
            Entries(meaning, self._blocks[first][1])
            for meaning in ("rows of a pair", "rows times rank correlation")
            for first, _ in self.pairs
        ]
        return (Entries("rows", "shared"), *counts, *both)

    @cached_property
    def paired(self) -> tuple[slice, NDArray[np.int64]]:
        """Where the entries of pairs lie, and the code of each one's pair of blocks, as `Layout.paired`."""
        blocks = 1 + 2 * len(self.plan.tasks) + len(self.plan.inputs)
        codes = [self._blocks[first][0] * blocks + self._blocks[second][0] for first, second in self.pairs]
        return slice(self.size - 2 * len(codes), self.size), np.array([*codes, *codes], dtype=np.int64)

    @property
    def edges_size(self) -> int:
        """Entries of the edges as one vector."""
        return len(self.measured) * (BINS - 1)

    def edges_of(self, fine: Float32) -> Float32:
        """(measured, BINS - 1) inner edges, in scaled values: every eighth of the survey's, which hold equal shares.

        fine: (numeric features, bins - 1), the edges of the survey's second pass. Hourly features and regression
        labels, of which the survey has no histogram, get equal bins.
        """
        step = (fine.shape[1] + 1) // BINS
        coarse = fine[:, step - 1 :: step][:, : BINS - 1]
        others = len(self.measured) - len(coarse)
        equal = np.tile(np.arange(1, BINS, dtype=np.float32) / BINS, (others, 1))
        return np.concatenate([coarse, equal]).astype(np.float32)

    def of(self, features: Float32, labels: Float32, edges: Float32, *, hours: Float32 | None = None) -> Float64:
        """One site's vector, (size,), of its training rows. The first, second and last as for `values`.

        edges: as `edges_of`.
        """
        values = self.values(features, labels, hours)
        known, correlation = self.correlations(values)
        first, second = np.array(self.pairs, dtype=np.int64).reshape(-1, 2).T
        rows, together = known[first, second], correlation[first, second]
        products = np.rint(rows * together * GRID) / GRID
        return np.concatenate([np.array([float(len(values))]), *self.histograms(values, edges), rows, products])

    def values(self, features: Float32, labels: Float32, hours: Float32 | None = None) -> Float64:
        """(n, columns) of features, (n, F), labels, (n, T), and hours, (n, H, S), of a plan that has some.

        All float32 in plan units with NaN for missing.
        """
        means = [] if hours is None else [_mean_of_hours(hours)]
        return np.concatenate([features, *means, labels[:, list(self._tasks)]], axis=1).astype(np.float64)

    def without(self, total: NDArray[np.floating], own: Float64) -> Float64:
        """What the other sites have of `total`, (size,); 0 in columns and pairs that it leaves out."""
        rows, counts, of_pairs, _ = self.split(np.asarray(total, dtype=np.float64))
        held = [
            np.array([rows > 0]),
            *(np.full(len(part), part.sum() > 0) for part in counts),
            of_pairs > 0,
            of_pairs > 0,
        ]
        return np.where(np.concatenate(held), total - own, 0.0)

    def histograms(self, values: Float64, edges: Float32) -> list[Float64]:
        """Counts of each column of `values`, (n, columns)."""
        return [self.histogram(column, values[:, column], edges) for column in range(len(self.columns))]

    def histogram(self, column: int, values: Float64, edges: Float32) -> Float64:
        """Counts of the values of one column, (n,), in its bins."""
        known = values[~np.isnan(values)]
        bounds = self.columns[column].range
        if bounds is None:
            return np.bincount(known.astype(np.int64), minlength=self.bins[column]).astype(np.float64)
        low, high = bounds
        scaled = ((known - low) / (high - low)).clip(-1.0, 2.0).astype(np.float32)
        return histogram(scaled, edges[self.measured.index(column)])

    def correlations(self, values: Float64) -> tuple[Float64, Float64]:
        """(rows that know both, rank correlation over them) of all pairs of columns, each (columns, columns).

        Both are 0 where fewer than LEAST_ROWS rows know both, or one of them does not vary there.
        """
        known = ~np.isnan(values)
        rank = ranks(values)
        seen = known.astype(np.float64)
        rows = seen.T @ seen
        total, squares, products = rank.T @ seen, (rank**2).T @ seen, rank.T @ rank
        with np.errstate(divide="ignore", invalid="ignore"):
            spread = squares - total**2 / rows
            result = (products - total * total.T / rows) / np.sqrt(spread * spread.T)
            fit = (rows >= LEAST_ROWS) & (np.minimum(spread, spread.T) > 1e-9 * rows)
        return np.where(fit, rows, 0.0), np.where(fit, np.clip(result, -1.0, 1.0), 0.0)

    def plausible(self, vector: NDArray[np.floating]) -> bool:
        """Whether one site, or several together, can have sent this: no count below 0 or beyond the rows."""
        rows, pairs = float(vector[0]), len(self.pairs)
        counts, both = vector[1 : self.size - pairs], vector[self.size - pairs :]
        of_pairs = counts[len(counts) - pairs :]
        slack = 1e-6 * (1.0 + rows)
        fits = 0 <= rows <= 1e9 and (counts >= -slack).all() and (counts <= rows + slack).all()
        return bool(fits and (np.abs(both) <= of_pairs + slack).all())

    def split(self, vector: Float64) -> tuple[float, list[Float64], Float64, Float64]:
        """(rows, histograms, rows of each pair, rows times correlation of each pair)"""
        cuts = np.cumsum([1, *self.bins, len(self.pairs)])
        rows, *counts, of_pairs, both = np.split(vector, cuts)
        return float(rows[0]), list(counts), of_pairs, both

    def matrices(self, of_pairs: Float64, both: Float64) -> tuple[Float64, Float64]:
        """(rows, mean rank correlation) as (columns, columns); 0 for a pair without rows."""
        columns = len(self.columns)
        rows, mean = np.zeros((columns, columns)), np.zeros((columns, columns))
        first, second = np.array(self.pairs, dtype=np.int64).reshape(-1, 2).T
        rows[first, second] = rows[second, first] = of_pairs
        correlation = np.where(of_pairs > 0.5, both / np.maximum(of_pairs, 1.0), 0.0).clip(-1.0, 1.0)
        mean[first, second] = mean[second, first] = correlation
        return rows, mean


def _mean_of_hours(hours: Float32) -> Float64:
    """(n, S) means of (n, H, S) over the hours at which a value is known; NaN where none is."""
    known = ~np.isnan(hours)
    total, count = np.where(known, hours, 0.0).sum(axis=1, dtype=np.float64), known.sum(axis=1)
    return np.asarray(np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0))


def codes_of(column: Feature | Task) -> int:
    """How many codes a column has that is not numeric."""
    listed = column.categories if isinstance(column, Feature) else column.classes
    return 2 if listed is None else len(listed)


def ranks(values: Float64) -> Float64:
    """(n, columns) the rank of each value in its column, from -0.5 to 0.5, ties in the middle; 0 where missing."""
    result = np.zeros(values.shape)
    for column, own in enumerate(values.T):
        known = ~np.isnan(own)
        _, which, counts = np.unique(own[known], return_inverse=True, return_counts=True)
        middle = np.cumsum(counts) - (counts - 1) / 2.0
        result[known, column] = (middle[which] - 0.5) / max(int(known.sum()), 1) - 0.5
    return result
