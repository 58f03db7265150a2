import numpy as np
import pytest

from ssa_me.errors import InputError
from ssa_me.evaluation.cache import ArrayCache, digest


def test_arrays_come_back_and_what_is_not_there_does_not(tmp_path):
    path = tmp_path / "deep" / "arrays.sqlite"
    arrays = {"a": np.float32([[1, 2, 3]]), "none": np.zeros((0, 3), np.float32)}
    with ArrayCache(path) as cache:
        cache.put(arrays)
        cache.put({"a": np.float32([[4, 5, 6]])})
    with ArrayCache(path) as cache:
        found = cache.get(["a", "none", "b", "a"])
    assert found["a"].tolist() == [[4, 5, 6]]
    assert found["none"].shape == (0, 3)
    assert set(found) == {"a", "none"}


def test_many_keys(tmp_path):
    with ArrayCache(tmp_path / "arrays.sqlite") as cache:
        cache.put({str(i): np.float32([[i]]) for i in range(1200)})
        assert len(cache.get(str(i) for i in range(2000))) == 1200


def test_parts_of_a_key_do_not_run_together():
    assert digest("ab", "c") != digest("a", "bc")
    assert digest("ab", "c") == digest(b"ab", "c")
    assert digest("\udc80")  # no character at all


def test_a_file_that_is_no_cache_is_begun_anew_and_a_folder_is_named(tmp_path):
    path = tmp_path / "arrays.sqlite"
    path.write_bytes(b"not a database, but long enough to be looked at" * 100)
    with ArrayCache(path) as cache:
        assert cache.get(["a"]) == {}
    with pytest.raises(InputError, match="cannot be written"):
        ArrayCache(tmp_path)
