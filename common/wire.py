"""Vectors as bytes. What comes from the other side is compared, never parsed: its memory is that of the bytes given."""

from io import BytesIO
from typing import cast

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray


def decode_vector(data: bytes) -> NDArray[np.floating]:
    """The one-dimensional little-endian float32 or float64 vector in `data`, the bytes of a .npy file (version 1.0).

    Raises ValueError for anything else.
    """
    for kind in (np.float32, np.float64):
        values, rest = divmod(len(data) - len(_header(0, kind)), np.dtype(kind).itemsize)
        if rest == 0 and values >= 0 and data.startswith(header := _header(values, kind)):
            return cast(NDArray[np.floating], np.frombuffer(data, dtype=kind, offset=len(header)).copy())
    raise ValueError("not the bytes of one float32 or float64 vector")


def _header(values: int, kind: type[np.floating]) -> bytes:
    buffer = BytesIO()
    description = np.dtype(kind).newbyteorder("<").str
    npy.write_array_header_1_0(buffer, {"descr": description, "fortran_order": False, "shape": (values,)})
    return buffer.getvalue()
