"""Privacy mechanisms: what bounds and, later, hides one site's or one patient's part in a release."""

from common.privacy.clipping import clip_by_norm, l2_norm

__all__ = ["clip_by_norm", "l2_norm"]
