"""Secure aggregation: the coordinator learns the sum over the surviving cohort and nothing else, even if it lies.

Pure: no sockets, files, clock or Flower. Randomness is passed in; what must survive a restart is a value that the
caller stores before an answer leaves. docs/protocol.md describes every message, check and stored value in words.

Sources: Bonawitz et al. (CCS 2017, active-adversary variant): double masking, signed keys, the signed survivor list.
Ma, Woods, Angel, Polychroniadou, Rabin (Flamingo, IEEE S&P 2023): pairwise keys kept for a session, decryptors that
hold shares. Pasquini, Francati, Ateniese (CCS 2022): seeds bound to the model.
"""
