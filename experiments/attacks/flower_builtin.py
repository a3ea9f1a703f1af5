"""Attacks by the server that succeed against Flower's built-in SecAgg+ (flwr 1.41), each in its four ordinary stages.

Every attack takes `honest=True` to run the same driver without the lie: then nothing may be recovered, which shows that
the figure can say no. Only the victim's quantised update, compared entry by entry, counts as success.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from flwr.common.secure_aggregation.crypto.shamir import combine_shares
from flwr.common.secure_aggregation.crypto.symmetric_encryption import decrypt, encrypt, generate_shared_key
from flwr.common.secure_aggregation.secaggplus_constants import Key, Stage
from flwr.common.secure_aggregation.secaggplus_utils import pseudo_rand_gen, share_keys_plaintext_separate
from flwr.supercore.primitives.asymmetric import (
    bytes_to_private_key,
    bytes_to_public_key,
    generate_key_pairs,
    public_key_to_bytes,
)

from experiments.attacks.flower_clients import ENTRIES, NODES, RING, THRESHOLD, VICTIM, Hospitals, sealed_shares

PEERS = tuple(node for node in NODES if node != VICTIM)


@dataclass(frozen=True)
class FlowerAttack:
    """name: as its counterpart among the attacks on Consilium. what: one sentence with the figure."""

    name: str
    succeeded: bool
    what: str


def both_secrets_of_one_site(*, honest: bool = False) -> FlowerAttack:
    """The server lists the victim as alive and as dropped: the clients hand out shares of both its secrets."""
    hospitals = Hospitals()
    keys = _public_keys(hospitals)
    sealed = sealed_shares(hospitals.ask(Stage.SHARE_KEYS, dict.fromkeys(NODES, keys)))
    masked = {node: hospitals.masked_update(node, sealed) for node in NODES}
    dropped = [] if honest else [VICTIM]
    question = {Key.ACTIVE_NODE_ID_LIST: list(NODES), Key.DEAD_NODE_ID_LIST: dropped}
    answers = hospitals.ask(Stage.UNMASK, dict.fromkeys(NODES, question))
    # In each answer: one share per node of the list of the living, then one per node of the list of the dead.
    shares = [answer[Key.SHARE_LIST] for answer in answers.values()]
    guess = masked[VICTIM] - _mask(combine_shares([found[NODES.index(VICTIM)] for found in shares]))
    if dropped:
        private = combine_shares([found[len(NODES)] for found in shares])
        guess = guess - _pair_masks({peer: _agree(private, keys[str(peer)][0]) for peer in PEERS})
    return _judged("both secrets of one site", guess, hospitals)


def swapped_keys(*, honest: bool = False) -> FlowerAttack:
    """The server hands out keys of its own making in every name, opens all shares and seals them again."""
    hospitals = Hospitals()
    keys = _public_keys(hospitals)
    pairs = {node: (generate_key_pairs(), generate_key_pairs()) for node in NODES}
    false = {str(node): [public_key_to_bytes(public) for _, public in made] for node, made in pairs.items()}
    shown = {node: keys if honest else {**false, str(node): keys[str(node)]} for node in NODES}
    sealed = sealed_shares(hospitals.ask(Stage.SHARE_KEYS, shown))
    if honest:
        return _judged("swapped keys", hospitals.masked_update(VICTIM, sealed), hospitals)

    def in_place_of(fake: int, true: int) -> bytes:
        return generate_shared_key(pairs[fake][1][0], bytes_to_public_key(keys[str(true)][1]))

    opened = {(source, to): decrypt(in_place_of(to, source), text) for (source, to), text in sealed.items()}
    again = {(source, to): encrypt(in_place_of(source, to), plain) for (source, to), plain in opened.items()}
    masked = {node: hospitals.masked_update(node, again) for node in NODES}
    own = combine_shares([share_keys_plaintext_separate(opened[VICTIM, peer])[2] for peer in PEERS])
    victim = bytes_to_public_key(keys[str(VICTIM)][0])
    pair_keys = {peer: generate_shared_key(pairs[peer][0][0], victim) for peer in PEERS}
    return _judged("swapped keys", masked[VICTIM] - _mask(own) - _pair_masks(pair_keys), hospitals)


def cohort_too_small(*, honest: bool = False) -> FlowerAttack:
    """The server sets a threshold of one and names no other client: the victim's own share is its secret."""
    name = "cohort too small"
    hospitals = Hospitals()
    keys = _public_keys(hospitals, threshold=THRESHOLD if honest else 1)
    try:
        hospitals.ask(Stage.SHARE_KEYS, {VICTIM: {str(VICTIM): keys[str(VICTIM)]}})
    except ValueError as refused:
        return FlowerAttack(name, False, f"The client refused: {refused}.")
    masked = hospitals.masked_update(VICTIM, {})
    question = {Key.ACTIVE_NODE_ID_LIST: [VICTIM], Key.DEAD_NODE_ID_LIST: []}
    answer = hospitals.ask(Stage.UNMASK, {VICTIM: question})[VICTIM]
    return _judged(name, masked - _mask(combine_shares(answer[Key.SHARE_LIST])), hospitals)


ATTACKS: tuple[Callable[..., FlowerAttack], ...] = (both_secrets_of_one_site, swapped_keys, cohort_too_small)


def _public_keys(hospitals: Hospitals, *, threshold: int = THRESHOLD) -> dict[str, list[bytes]]:
    answers = hospitals.setup(threshold=threshold)
    return {str(node): [answer[Key.PUBLIC_KEY_1], answer[Key.PUBLIC_KEY_2]] for node, answer in answers.items()}


def _agree(private: bytes, public: bytes) -> bytes:
    return generate_shared_key(bytes_to_private_key(private), bytes_to_public_key(public))


def _mask(seed: bytes) -> np.ndarray:
    # The first draw masks the entry that holds the weight.
    return pseudo_rand_gen(seed, RING, [(1,), (ENTRIES,)])[1]


def _pair_masks(keys: Mapping[int, bytes]) -> np.ndarray:
    """The sum of the victim's pair masks: added for a peer with a lower number, else subtracted."""
    return sum((_mask(key) if peer < VICTIM else -_mask(key) for peer, key in keys.items()), np.zeros(ENTRIES, int))


def _judged(name: str, guess: np.ndarray, hospitals: Hospitals) -> FlowerAttack:
    found = int((guess % RING == hospitals.true_update(VICTIM)).sum())
    what = f"Recovered {found:,} of {ENTRIES:,} entries of one hospital's update."
    return FlowerAttack(name, found == ENTRIES, what)
