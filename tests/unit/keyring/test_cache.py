"""The key cache: bounded in age and number, and no shredded key slips in."""

import pytest

from services.keyring.cache import KeyCache


class Time:
    """A monotonic clock in the test's hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def cache(time: Time) -> KeyCache:
    return KeyCache(ttl_s=300, size_max=3, monotonic=time)


def test_a_key_is_kept_for_its_time_and_no_longer(cache: KeyCache, time: Time) -> None:
    cache.put("a", b"key", cache.generation)
    time.now = 299.9
    assert cache.get("a") == b"key"
    time.now = 300.0
    assert cache.get("a") is None


def test_reading_does_not_prolong_a_keys_life(cache: KeyCache, time: Time) -> None:
    cache.put("a", b"key", 0)
    for time.now in (100.0, 200.0, 299.0):
        assert cache.get("a") == b"key"
    time.now = 301.0
    assert cache.get("a") is None


def test_the_oldest_goes_first_when_it_is_full(cache: KeyCache) -> None:
    for name in "abcd":
        cache.put(name, name.encode(), 0)
    assert [cache.get(name) for name in "abcd"] == [None, b"b", b"c", b"d"]


def test_a_forgotten_key_is_gone(cache: KeyCache) -> None:
    cache.put("a", b"key", 0)
    cache.forget("a")
    assert cache.get("a") is None


def test_a_key_read_before_a_shred_is_not_put_after_it(cache: KeyCache) -> None:
    before = cache.generation
    cache.forget("a")
    cache.put("a", b"key", before)
    assert cache.get("a") is None


def test_five_minutes_is_the_most() -> None:
    with pytest.raises(ValueError, match="300"):
        KeyCache(ttl_s=300.1, size_max=1, monotonic=lambda: 0.0)


def test_nothing_is_kept_with_a_time_of_zero(time: Time) -> None:
    cache = KeyCache(ttl_s=0, size_max=3, monotonic=time)
    cache.put("a", b"key", 0)
    assert cache.get("a") is None
