"""Who trains, who validates, who tests: a keyed hash of the patient, the same at every site."""

import hmac

import numpy as np

from common.plan import Plan

SETS = ("train", "validation", "test")
TRAIN, VALIDATION, TEST, NO_SET = 0, 1, 2, -1


def uniform(patients: np.ndarray, *, salt: str, seed: int) -> np.ndarray:
    """A number in [0, 1) for each patient: the top bits of HMAC-SHA256(salt, 'seed|patient'), as a fraction.

    Of the top 64 bits a float64 holds the first 53; the rest is cut off, so that 1.0 is never reached.

    patients: (rows,) str. Returns (rows,) float64. It depends on nothing else, so that one patient has one number
    in every hospital and in every order of the rows.
    """
    unique, inverse = np.unique(patients, return_inverse=True)
    key = salt.encode()
    digests = (hmac.digest(key, f"{seed}|{patient}".encode(), "sha256") for patient in unique.tolist())
    tops = np.fromiter((int.from_bytes(digest[:8]) for digest in digests), dtype=np.uint64, count=len(unique))
    return (tops >> np.uint64(11)).astype(np.float64)[inverse] / 2.0**53


def split_by_hash(patients: np.ndarray, plan: Plan) -> np.ndarray:
    """0 (train), 1 (validation) or 2 (test) for each row: (rows,) int8."""
    rules = plan.split
    u = uniform(patients, salt=rules.salt, seed=plan.seeds.split)
    sets = np.full(len(patients), TRAIN, dtype=np.int8)
    sets[u < rules.test + rules.validation] = VALIDATION
    sets[u < rules.test] = TEST
    return sets


def divide_train(sets: np.ndarray, patients: np.ndarray, plan: Plan) -> np.ndarray:
    """`sets` of a split column that names no validation rows: train is divided train : validation by the hash."""
    rules = plan.split
    if (sets == VALIDATION).any() or rules.validation == 0.0:
        return sets
    u = uniform(patients, salt=rules.salt, seed=plan.seeds.split)
    share = rules.validation / (rules.train + rules.validation)
    return np.where((sets == TRAIN) & (u < share), np.int8(VALIDATION), sets)
