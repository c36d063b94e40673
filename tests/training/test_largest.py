"""The search for the largest batch, on memory that follows a formula."""

import pytest

from gramalign.training.largest import Trial, largest_batch

AVAILABLE = 16 * 2**30


def machine(fixed, each, *, says=True):
    """Tries batches, and keeps which."""
    tried = []

    def attempt(size):
        tried.append(size)
        needed = fixed + each * size
        fits = needed <= AVAILABLE
        return Trial(size, fits, needed if fits or says else None)

    return attempt, tried


@pytest.mark.parametrize("fixed", [0, 2**20, 8 * 2**30])
@pytest.mark.parametrize("start", [16, 4096])
def test_three_compilations_do_where_memory_is_linear(fixed, start):
    attempt, tried = machine(fixed, 5000)
    found = largest_batch(attempt, attempt(start), available=AVAILABLE, multiple=16)
    exact = (AVAILABLE - fixed) / 5000
    assert 0.93 * exact < found.batch_size <= exact
    assert found.batch_size % 16 == 0 and not found.capped
    assert found.needed == fixed + 5000 * found.batch_size
    assert len(tried) <= 4


@pytest.mark.parametrize("says", [True, False])
def test_from_a_batch_that_does_not_fit(says):
    attempt, tried = machine(2**30, 100_000, says=says)
    first = attempt(10**6)
    found = largest_batch(attempt, first, available=AVAILABLE, multiple=16, attempts=6)
    assert not first.fits
    assert 0 < found.batch_size < found.refused <= 10**6
    assert found.batch_size > 0.7 * (AVAILABLE - 2**30) / 100_000
    assert len(tried) <= 7


def test_a_batch_that_was_refused_is_not_tried_again():
    """The compiler does not say what it needs, and by the one that fits it would fit."""
    tried = []

    def attempt(size):
        tried.append(size)
        return Trial(size, size < 800, 10 * size if size < 800 else None)

    first = attempt(1000)
    attempts = {"available": 20_000, "multiple": 8, "attempts": 4}
    largest_batch(attempt, first, **attempts)
    fits, *later = tried[1:]
    assert fits < 800 and all(fits < size < 1000 for size in later)
    assert later[0] == (fits + 1000) // 2 // 8 * 8


@pytest.mark.parametrize(
    "fixed, each, multiple, start",
    [
        (0.29, 600_000, 4, 60_000),
        (0.03, 4_000_000, 1, 200_000),
        (0.37, 25_000_000, 64, 130_000),
    ],
)
def test_four_attempts_do_where_refusals_tell_nothing(fixed, each, multiple, start):
    attempt, _ = machine(int(fixed * AVAILABLE), each, says=False)
    found = largest_batch(attempt, attempt(start), available=AVAILABLE, multiple=multiple)
    more = int(fixed * AVAILABLE) + each * (found.batch_size + multiple)
    assert found.needed >= 0.9 * AVAILABLE or more > AVAILABLE


def test_memory_that_bends():
    """As where small columns are gathered, and large ones are not."""

    def attempt(size):
        needed = 20_000 * size if size < 5000 else 10**8 + 2000 * size
        return Trial(size, needed <= AVAILABLE, needed)

    found = largest_batch(attempt, attempt(1000), available=AVAILABLE, multiple=8)
    assert found.batch_size > 0.9 * (AVAILABLE - 10**8) / 2000


def test_the_cap():
    attempt, tried = machine(0, 1)
    found = largest_batch(attempt, attempt(64), available=AVAILABLE, multiple=16, cap=1000)
    assert (found.batch_size, found.capped, tried) == (992, True, [64, 992])


def test_a_cap_below_a_batch_that_does_not_fit():
    attempt, tried = machine(0, 1000)
    first = attempt(AVAILABLE)
    found = largest_batch(attempt, first, available=AVAILABLE, multiple=16, cap=1000)
    assert (found.batch_size, found.refused, found.capped) == (992, AVAILABLE, True)
    assert tried == [AVAILABLE, 992]


def test_nothing_fits():
    attempt, _ = machine(AVAILABLE, 1)
    found = largest_batch(attempt, attempt(64), available=AVAILABLE, multiple=16)
    assert (found.batch_size, found.needed, found.refused) == (0, 0, 16)


@pytest.mark.parametrize("says", [True, False])
def test_a_batch_of_one_is_no_batch(says):
    attempt, tried = machine(AVAILABLE, 1, says=says)
    found = largest_batch(attempt, attempt(64), available=AVAILABLE, multiple=1, attempts=9)
    assert (found.batch_size, found.refused, min(tried)) == (0, 2, 2)
