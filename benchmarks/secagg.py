"""What secure aggregation costs a site per report: fixed point and masks for one million parameters.

Masks alone against raw AES-256-CTR output of as many bytes, made block by block in one buffer that stays in the cache.
Below 1 is possible: the masks' keystream comes from the library's GCM, which has vector AES on this processor. Then
fixed point and masks together against the functions with which the SecAgg+ mod of Flower 1.41 quantises and masks: the
same steps in the same order, its default ranges. Its masks come from a Mersenne Twister with a seed of 32 bits.
"""

from collections.abc import Iterator

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from flwr.common.secure_aggregation import ndarrays_arithmetic as arithmetic
from flwr.common.secure_aggregation.quantization import quantize
from flwr.common.secure_aggregation.secaggplus_utils import pseudo_rand_gen

from benchmarks.measure import Ratio, compare
from common.secagg.fixedpoint import FixedPoint
from common.secagg.keystream import BLOCK, Mask, apply_masks

PARAMETERS, MASKS = 1_000_000, (3, 10, 100)
_CLIPPING, _TARGET, _MODULUS = 8.0, 2**22, 2**32  # the defaults of SecAggPlusWorkflow


def run() -> Iterator[Ratio]:
    """One ratio per number of masks against raw AES, then against Flower's functions."""
    for masks in MASKS:
        yield against_aes(masks, PARAMETERS)
    for masks in MASKS:
        yield against_flower(masks, PARAMETERS)


def against_aes(masks: int, parameters: int, *, pairs: int = 9) -> Ratio:
    """Masks onto a vector, against as many bytes of bare keystream."""
    keys = _keys(masks)
    signed = [Mask(key, negative=i % 2 == 0) for i, key in enumerate(keys)]
    narrow, wide = np.zeros(parameters, np.uint32), np.zeros(0, np.uint64)
    name = f"{masks} masks, {parameters:,} parameters / raw AES-256-CTR"
    return compare(name, lambda: apply_masks(signed, narrow, wide), lambda: _raw(keys, 4 * parameters), pairs=pairs)


def _raw(keys: list[bytes], size: int) -> None:
    zeros, buffer = memoryview(bytes(BLOCK)), bytearray(BLOCK)
    for key in keys:
        cipher = Cipher(AES(key), CTR(bytes(16))).encryptor()
        for start in range(0, size, BLOCK):
            cipher.update_into(zeros[: min(BLOCK, size - start)], buffer)


def against_flower(masks: int, parameters: int, *, pairs: int = 9) -> Ratio:
    """Fixed point and masks, against Flower's functions: one private mask, the others pairwise."""
    update = np.random.default_rng(0).normal(size=parameters).astype(np.float32)
    update /= np.linalg.norm(update)
    keys = _keys(masks)
    name = f"fixed point and {masks} masks, {parameters:,} parameters / Flower's"
    return compare(name, lambda: ours(update, keys), lambda: flower(update, keys), pairs=pairs)


def ours(update: np.ndarray, keys: list[bytes]) -> np.ndarray:
    """The masked integers of `update`, (D,) float32 of norm at most 1, as a site's report carries them."""
    fixed, out = FixedPoint.fit(clip_norm=1.0, sites=len(keys)), np.empty(len(update), np.uint32)
    no_tallies, no_words = np.empty(0), np.empty(0, np.uint64)
    fixed.encode(update, no_tallies, bytes(32), out, no_words)
    apply_masks([Mask(key, negative=i % 2 == 1) for i, key in enumerate(keys)], out, no_words)
    return out


def flower(update: np.ndarray, keys: list[bytes]) -> list[np.ndarray]:
    """The lines of `_collect_masked_vectors` in flwr.client.mod.secure_aggregation, from the weight to the modulus."""
    parameters = arithmetic.parameters_multiply([update], 1.0)
    quantized = arithmetic.factor_combine(_TARGET, quantize(parameters, _CLIPPING, _TARGET))
    shapes = [array.shape for array in quantized]
    quantized = arithmetic.parameters_addition(quantized, pseudo_rand_gen(keys[0], _MODULUS, shapes))
    for i, key in enumerate(keys[1:]):
        combine = arithmetic.parameters_addition if i % 2 else arithmetic.parameters_subtraction
        quantized = combine(quantized, pseudo_rand_gen(key, _MODULUS, shapes))
    return arithmetic.parameters_mod(quantized, _MODULUS)


def _keys(masks: int) -> list[bytes]:
    random = np.random.default_rng(masks)
    return [random.bytes(32) for _ in range(masks)]
