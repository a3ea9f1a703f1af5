"""Damaged files, as they come by mail or from a broken disk: the value that they hold, or one sentence."""

from collections.abc import Callable

import numpy as np
import pytest

from common.errors import ConsiliumError
from common.secagg.json_view import from_json, to_json
from common.secagg.key_pem import key_from_pem, key_to_pem
from common.secagg.messages import SignedRoster
from common.secagg.primitives import SigningKey
from common.secagg.roster import EnrolCard, RosterSignature, enrol, found, sign
from tests.common.secagg.test_fuzz import MUTATIONS

KEYS = {name: SigningKey.from_bytes(bytes([number]) * 32) for number, name in enumerate(("east", "north", "west"), 1)}
ROSTER = found(KEYS, federation="grove", coordinator=SigningKey.from_bytes(bytes([9]) * 32))
FILES: dict[str, tuple[bytes, Callable[[bytes], object]]] = {
    "roster": (to_json(ROSTER), lambda data: from_json(SignedRoster, data, source="roster.json")),
    "card": (to_json(enrol("east", KEYS["east"])), lambda data: from_json(EnrolCard, data, source="card.json")),
    "signature": (
        to_json(sign(ROSTER.roster, site="east", key=KEYS["east"])),
        lambda data: from_json(RosterSignature, data, source="signature.json"),
    ),
    "key": (key_to_pem(KEYS["east"]), lambda data: key_from_pem(data, source="signing.key")),
}


@pytest.mark.parametrize("name", FILES)
def test_damaged_file_is_read_or_refused_in_one_sentence(name: str) -> None:
    original, read = FILES[name]
    others = [data for data, _ in FILES.values()]
    random, refused, cases = np.random.default_rng(len(name)), 0, 4000
    for case in range(cases):
        data = bytearray(original)
        MUTATIONS[case % len(MUTATIONS)](data, others[random.integers(len(others))], random)
        try:
            read(bytes(data))
        except ConsiliumError as error:
            refused += 1
            sentence = str(error)
            assert sentence.startswith(("roster.json", "card.json", "signature.json", "signing.key"))
            assert "\n" not in sentence and len(sentence) < 400
    assert refused > cases // 2
