"""The objectives in torch, computed the way their published code does.

What a user would run instead of gramalign, written from the formulas:

- GRAM (Cicchetti et al., ICLR 2025, arXiv 2412.11959): `torch.linalg.det` of the k x k Gram matrix
  of each of the B^2 pairs.
- PMRL (Liu et al., 2025, arXiv 2507.17343): a singular value decomposition of every tuple, with
  d x d left factors.
- CLIP (Radford et al., 2021, arXiv 2103.00020): the whole matrix of logits for every modality
  besides the anchor, and its cross-entropy along both sides.

Products run in the embeddings' dtype; determinants, decompositions and cross-entropies in float32,
which is what autocast makes of the published code.

One line is not theirs: the sign of PMRL's leading directions, which `svd` leaves arbitrary, is
chosen to point towards the tuple's mean. Without it the loss would be random, and nothing could be
compared; it costs less than a thousandth of the decomposition.
"""

from collections.abc import Sequence

import torch  # pyright: ignore[reportMissingImports]
import torch.nn.functional as F  # pyright: ignore[reportMissingImports]
from torch import Tensor  # pyright: ignore[reportMissingImports]


def gram_volumes(anchor: Tensor, others: Sequence[Tensor]) -> Tensor:
    """Volume of anchor i with the others of tuple j: `[b, d]`, (k-1) x `[b, d]` -> `[b, b]`."""
    size = len(anchor)
    stacked = torch.stack(list(others), dim=1)
    across = torch.einsum("id,jmd->ijm", anchor, stacked)
    among = stacked @ stacked.transpose(1, 2)
    lengths = anchor.square().sum(dim=1)

    top = torch.cat([lengths[:, None, None].expand(size, size, 1), across], dim=2)
    below = torch.cat([across[..., None], among.expand(size, *among.shape)], dim=3)
    gram = torch.cat([top[:, :, None], below], dim=2)
    return torch.linalg.det(gram.float()).abs().sqrt()


def gram(
    embeddings: Sequence[Tensor], *, temperature: float = 0.07, label_smoothing: float = 0.1
) -> Tensor:
    """GRAM's contrastive loss with the first modality as anchor, a scalar."""
    volumes = gram_volumes(embeddings[0], embeddings[1:])
    return _both_ways(-volumes / temperature, label_smoothing)


def pmrl(
    embeddings: Sequence[Tensor], *, tau_alignment: float = 0.05, tau_instance: float = 0.1
) -> Tensor:
    """PMRL's singular-value term plus its instance term, a scalar."""
    tuples = torch.stack(list(embeddings), dim=2).float()
    left, singular, _ = torch.linalg.svd(tuples, full_matrices=True)
    first = torch.zeros(len(tuples), dtype=torch.long, device=tuples.device)
    alignment = F.cross_entropy(singular / tau_alignment, first)

    leading = left[:, :, 0]
    towards = (leading * tuples.sum(dim=2)).sum(dim=1, keepdim=True)
    leading = (leading * torch.where(towards < 0, -1.0, 1.0)).to(embeddings[0].dtype)
    logits = (leading @ leading.T).float() / tau_instance
    return alignment + F.cross_entropy(logits, _own(logits))


def clip(embeddings: Sequence[Tensor], *, temperature: float = 0.07) -> Tensor:
    """CLIP's loss between the first modality and each other one, averaged, a scalar."""
    anchor, *others = embeddings
    losses = [_both_ways((anchor @ other.T).float() / temperature) for other in others]
    return torch.stack(losses).mean()


def _both_ways(logits: Tensor, label_smoothing: float = 0.0) -> Tensor:
    own = _own(logits)
    by_row = F.cross_entropy(logits, own, label_smoothing=label_smoothing)
    by_column = F.cross_entropy(logits.T, own, label_smoothing=label_smoothing)
    return (by_row + by_column) / 2


def _own(logits: Tensor) -> Tensor:
    return torch.arange(len(logits), device=logits.device)


METHODS = {"gram": gram, "pmrl": pmrl, "clip": clip}
