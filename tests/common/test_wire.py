"""Bytes from outside: exactly the vector, or ValueError."""

import pickle
from io import BytesIO

import numpy as np
import pytest
from flwr.app import Array
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from common.wire import decode_vector


@given(arrays(st.sampled_from([np.float32, np.float64]), st.integers(0, 300), elements=st.floats(-10, 10, width=32)))
def test_what_flower_sends_is_read(vector: np.ndarray) -> None:
    decoded = decode_vector(Array(vector).data)
    assert decoded.dtype == vector.dtype and np.array_equal(decoded, vector)


def test_a_large_vector_is_read() -> None:
    vector = np.arange(2_000_003, dtype=np.float32)
    assert np.array_equal(decode_vector(Array(vector).data), vector)


def _npy(array: np.ndarray) -> bytes:
    buffer = BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x93NUMPY",
        b"PK\x03\x04" + b"\0" * 200,
        pickle.dumps([1, 2, 3]),
        _npy(np.zeros((2, 3), dtype=np.float32)),
        _npy(np.zeros(4, dtype=np.int64)),
        _npy(np.zeros(4, dtype=">f4")),
        _npy(np.zeros(8, dtype=np.float32))[:-1],
        _npy(np.zeros(8, dtype=np.float32)) + b"\0",
        _npy(np.zeros(8, dtype=np.float32)).replace(b"(8,)", b"(99999999999,)"),
        b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': __import__('os'), 'shape': (1,)}".ljust(132),
    ],
)
def test_anything_else_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match="not the bytes"):
        decode_vector(data)


@given(st.integers(0, 160), st.integers(0, 7))
def test_a_flipped_bit_never_raises_anything_else(place: int, bit: int) -> None:
    data = bytearray(Array(np.arange(16, dtype=np.float32)).data)
    data[place] ^= 1 << bit
    try:
        assert decode_vector(bytes(data)).ndim == 1
    except ValueError:
        assert place < 128
