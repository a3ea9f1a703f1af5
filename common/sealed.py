"""How a file begins that a site keeps encrypted (client/at_rest), so that whoever is given one can say what it is."""

HEAD = b"consilium-sealed-1\n"


def is_sealed(data: bytes | bytearray | memoryview) -> bool:
    """Whether these bytes begin as a sealed value does."""
    return bytes(data[: len(HEAD)]) == HEAD
