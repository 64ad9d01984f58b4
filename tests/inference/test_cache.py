"""The bounded cache."""

import threading

from csgate.inference.cache import ENTRY_BYTES, ResultCache


def test_the_least_recently_used_goes_first_by_items() -> None:
    cache: ResultCache[int] = ResultCache(2, 10_000)
    cache.put(b"a", 1, 1)
    cache.put(b"b", 2, 1)
    assert cache.get(b"a") == 1
    cache.put(b"c", 3, 1)
    assert (cache.get(b"a"), cache.get(b"b"), cache.get(b"c")) == (1, None, 3)
    assert len(cache) == 2


def test_the_least_recently_used_goes_first_by_bytes() -> None:
    cache: ResultCache[int] = ResultCache(100, 3 * (ENTRY_BYTES + 100))
    for number in range(4):
        cache.put(bytes([number]), number, 100)
    assert cache.get(b"\x00") is None
    assert len(cache) == 3
    assert cache.held_bytes == 3 * (ENTRY_BYTES + 100)


def test_one_large_value_pushes_several_out_but_never_the_bound() -> None:
    cache: ResultCache[int] = ResultCache(100, 3000)
    for number in range(5):
        cache.put(bytes([number]), number, 200)
    cache.put(b"large", 9, 2500)
    assert cache.get(b"large") == 9
    assert cache.held_bytes <= 3000
    cache.put(b"larger than all", 9, 3000)
    assert cache.get(b"larger than all") is None
    assert cache.get(b"large") == 9


def test_putting_again_replaces() -> None:
    cache: ResultCache[int] = ResultCache(10, 10_000)
    cache.put(b"a", 1, 500)
    cache.put(b"a", 2, 100)
    assert cache.get(b"a") == 2
    assert cache.held_bytes == ENTRY_BYTES + 100


def test_zero_switches_it_off() -> None:
    for cache in (ResultCache[int](0, 1000), ResultCache[int](10, 0)):
        cache.put(b"a", 1, 1)
        assert cache.get(b"a") is None
        assert len(cache) == 0
        assert not cache.keeps
    assert ResultCache[int](10, 1000).keeps


def test_threads_keep_its_books_straight() -> None:
    cache: ResultCache[int] = ResultCache(50, 50 * (ENTRY_BYTES + 10))

    def work(seed: int) -> None:
        for number in range(500):
            cache.put(bytes([(number * seed) % 120]), number, 10)
            cache.get(bytes([number % 120]))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in (3, 7, 11)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(cache) == 50
    assert cache.held_bytes == 50 * (ENTRY_BYTES + 10)
