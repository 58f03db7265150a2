from ssa_me.byte_cache import ByteCache


def test_what_was_used_longest_ago_goes_first() -> None:
    cache: ByteCache[bytes] = ByteCache(10, len)
    cache.put("a", b"1234")
    cache.put("b", b"1234")
    assert cache.get("a") == b"1234"
    cache.put("c", b"1234")
    assert cache.get("b") is None
    assert cache.get("a") == b"1234"
    assert (len(cache), cache.bytes) == (2, 8)


def test_a_key_counts_once() -> None:
    cache: ByteCache[bytes] = ByteCache(10, len)
    cache.put("a", b"12345678")
    cache.put("a", b"12")
    assert cache.bytes == 2


def test_what_is_larger_than_the_cache_is_not_kept() -> None:
    cache: ByteCache[bytes] = ByteCache(3, len)
    cache.put("a", b"12")
    cache.put("b", b"1234")
    assert (cache.get("a"), cache.get("b")) == (b"12", None)
