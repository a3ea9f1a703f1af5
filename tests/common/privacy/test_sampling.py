"""Who is in a step: each patient by an independent throw, with exactly the probability that is accounted for."""

import numpy as np
import pytest
from scipy import stats

from common.privacy.stream import BLOCK, Stream, poisson_sample
from tests.private import seeded


def _included(patients: int, probability: float, steps: int, seed: int = 0) -> np.ndarray:
    """(steps, patients) bool."""
    stream = Stream(seeded(seed))
    result = np.zeros((steps, patients), dtype=bool)
    for row in result:
        row[poisson_sample(patients, probability, stream)] = True
    return result


@pytest.mark.parametrize("probability", [0.01, 0.1, 0.5, 0.93])
def test_each_patient_is_drawn_at_the_rate_and_independently(probability: float) -> None:
    """Counts per patient and sizes of samples are binomial, as no sampler with fixed batches or shuffling has them."""
    steps, patients = 2_000, 400
    drawn = _included(patients, probability, steps)
    for counts, trials in ((drawn.sum(axis=0), steps), (drawn.sum(axis=1), patients)):
        mean, variance = trials * probability, trials * probability * (1 - probability)
        assert abs(counts.mean() - mean) < 4.5 * np.sqrt(variance / len(counts))
        assert stats.chi2.sf(((counts - mean) ** 2).sum() / variance, len(counts)) > 1e-4
        assert stats.chi2.cdf(((counts - mean) ** 2).sum() / variance, len(counts)) > 1e-4
    for first, second in ((drawn[:, :-1], drawn[:, 1:]), (drawn[:-1], drawn[1:])):
        together = (first & second).sum()
        pairs = first.size
        assert abs(together - pairs * probability**2) < 4.5 * np.sqrt(pairs * probability**2) + 1


def test_sample_sizes_are_binomial() -> None:
    sizes = _included(60, 0.2, 20_000, seed=1).sum(axis=1)
    expected = stats.binom.pmf(np.arange(61), 60, 0.2) * len(sizes)
    likely = expected >= 10
    found = np.bincount(sizes, minlength=61)
    found, expected = (np.append(part[likely], part[~likely].sum()) for part in (found, expected))
    assert stats.chisquare(found, expected).pvalue > 1e-4


def test_one_is_everybody_and_zero_is_nobody() -> None:
    assert _included(300, 1.0, 50).all() and not _included(300, 0.0, 50).any()
    assert not _included(300, 1e-300, 50).any()
    assert len(poisson_sample(0, 0.5, Stream(seeded(0)))) == len(poisson_sample(0, 1.0, Stream(seeded(0)))) == 0


def test_many_patients_are_drawn_across_blocks() -> None:
    patients = 3 * BLOCK // 8 + 5
    chosen = poisson_sample(patients, 0.25, Stream(seeded(2)))
    assert (np.diff(chosen) > 0).all() and chosen[0] < 50 and patients - chosen[-1] < 50
    quarters = np.histogram(chosen, bins=4, range=(0, patients))[0]
    assert stats.chisquare(quarters).pvalue > 1e-4


def test_the_sample_is_that_of_the_key() -> None:
    one, again, other = (poisson_sample(500, 0.3, Stream(seeded(seed))).tolist() for seed in (1, 1, 2))
    assert one == again != other


@pytest.mark.parametrize("probability", [-0.1, 1.1, np.nan])
def test_impossible_probability_is_refused(probability: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        poisson_sample(5, probability, Stream(seeded(0)))


def test_a_stream_takes_another_key_when_one_is_used_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("common.privacy.stream._PER_KEY", 2 * BLOCK)
    asked: list[int] = []
    source = seeded(3)
    stream = Stream(lambda size: asked.append(size) or source(size))
    blocks = [stream.words(np.uint64, 100).tobytes() for _ in range(4)]
    assert asked == [32, 32] and len(set(blocks)) == 4
