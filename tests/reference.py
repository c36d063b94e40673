"""What the mathematics says: dense numpy, float64 or wider, sharing nothing with gramalign."""

from itertools import combinations

import numpy as np


def _gram_schmidt(vectors):
    """Orthonormal rows and residual lengths: modified Gram-Schmidt, twice over, in longdouble."""
    if vectors.shape[-2] == 0:
        return vectors, np.ones(vectors.shape[:-1])
    units, lengths = [], []
    for row in np.moveaxis(np.array(vectors, np.longdouble), -2, 0):
        for unit in units + units:
            row = row - (row * unit).sum(-1, keepdims=True) * unit
        lengths.append(np.sqrt((row * row).sum(-1)))
        units.append(row / np.where(lengths[-1] > 0, lengths[-1], 1)[..., None])
    return np.stack(units, axis=-2), np.stack(lengths, axis=-1)


def volume(vectors):
    """Volume of tuples [..., k, d], the product of what each vector adds to those before it."""
    return _gram_schmidt(vectors)[1].prod(-1).astype(np.float64)


def determinant(matrices):
    """By elimination in longdouble, without pivoting: of [..., k, k] whose pivots may be small."""
    left, product = np.array(matrices, np.longdouble), np.ones(matrices.shape[:-2], np.longdouble)
    for j in range(left.shape[-1]):
        pivot, column = left[..., j, j], left[..., j].copy()
        product = product * pivot
        scaled = left[..., j, :] / np.where(pivot != 0, pivot, 1)[..., None]
        left = left - column[..., :, None] * scaled[..., None, :]
    return product


def hyperbolic_volume(vectors, there=None):
    """sqrt|det| of the Lorentz products of the lifted tuples [..., k, d]; absent ones along e."""
    vectors = np.asarray(vectors, np.longdouble)
    there = np.ones(vectors.shape[:-1], bool) if there is None else there
    time = np.where(there, np.sqrt(1 + (vectors**2).sum(-1)), 0)
    gram = np.einsum("...kd,...md->...km", vectors, vectors) - time[..., None] * time[..., None, :]
    return np.sqrt(np.abs(determinant(gram))).astype(np.float64)


def kernel_volume(vectors, bandwidth, there=None):
    """sqrt(det K) of the Gaussian kernel between the tuples' vectors [..., k, d]."""
    vectors = np.asarray(vectors, np.longdouble)
    there = np.ones(vectors.shape[:-1], bool) if there is None else there
    apart = ((vectors[..., :, None, :] - vectors[..., None, :, :]) ** 2).sum(-1)
    kernel = np.exp(-apart / (2 * np.longdouble(bandwidth) ** 2))
    both = there[..., :, None] & there[..., None, :]
    kernel = np.where(both, kernel, np.eye(vectors.shape[-2]))
    return np.sqrt(np.maximum(determinant(kernel), 0)).astype(np.float64)


def volume_gradient(vectors):
    """d Vol / d m = (volume of the others) (unit residual of m to their span), for full rank."""
    vectors = np.asarray(vectors, np.longdouble)
    rows = []
    for k in range(vectors.shape[-2]):
        last = np.concatenate([np.delete(vectors, k, -2), vectors[..., k : k + 1, :]], axis=-2)
        units, lengths = _gram_schmidt(last)
        rows.append(lengths[..., :-1].prod(-1)[..., None] * units[..., -1, :])
    return np.stack(rows, axis=-2).astype(np.float64) if rows else np.zeros(vectors.shape)


def singular_values(vectors):
    """Singular values of tuples [..., k, d], k of them (zeros at the end if d < k)."""
    values = np.linalg.svd(np.asarray(vectors, np.float64), compute_uv=False)
    missing = vectors.shape[-2] - values.shape[-1]
    return np.concatenate([values, np.zeros((*values.shape[:-1], missing))], axis=-1)


def leading_direction(vectors):
    """Leading right singular vector of the k x d tuples, turned towards the vectors' mean."""
    direction = np.linalg.svd(np.asarray(vectors, np.float64), full_matrices=False)[2][..., 0, :]
    along = (direction * np.sum(vectors, axis=-2)).sum(-1, keepdims=True)
    return np.where(along < 0, -direction, direction)


def directional_derivative(function, x, direction, step=1e-5):
    """Central difference of a function of one array along one direction."""
    x, direction = np.asarray(x, np.float64), np.asarray(direction, np.float64)
    return np.asarray(function(x + step * direction) - function(x - step * direction)) / (2 * step)


def gradient(function, x, step=1e-5):
    """Central differences in every entry of x; the function maps [n, *x.shape] to [n]."""
    x = np.asarray(x, np.float64)
    steps = step * np.eye(x.size).reshape(x.size, *x.shape)
    change = function(x + steps) - function(x - steps)
    return np.asarray(change / (2 * step), np.float64).reshape(x.shape)


def masks(embeddings, present):
    """A mask for every modality."""
    batch = next(iter(embeddings.values())).shape[0]
    return {name: (present or {}).get(name, np.ones(batch, bool)) for name in embeddings}


def tuples(embeddings, present):
    """Whole tuples [b, k, d], zero rows where a modality is absent, and how many each has [b]."""
    there = masks(embeddings, present)
    vectors = [np.where(there[name][:, None], x, 0) for name, x in embeddings.items()]
    return np.stack(vectors, axis=1).astype(np.float64), np.sum(list(there.values()), axis=0)


def joined(embeddings, present, anchor):
    """Every anchor with every tuple of others, [b, b, k, d + k].

    An absent vector is a unit vector along an extra axis of its own, which leaves the volume of the
    others as it is.
    """
    there, names = masks(embeddings, present), [anchor, *(n for n in embeddings if n != anchor)]
    batch, dim = embeddings[anchor].shape
    rows = []
    for number, name in enumerate(names):
        vectors = np.zeros((batch, dim + len(names)))
        vectors[there[name], :dim] = embeddings[name][there[name]]
        vectors[~there[name], dim + number] = 1
        vectors = np.expand_dims(vectors, 1 if name == anchor else 0)
        rows.append(np.broadcast_to(vectors, (batch, batch, dim + len(names))))
    return np.stack(rows, axis=2)


def cosine_scores(embeddings, present, row, col=None):
    """Anchor with one other modality, or with the normalised sum of all others that are there."""
    kept = masks(embeddings, present)
    there = {name: np.where(kept[name][:, None], x, 0.0) for name, x in embeddings.items()}
    total = there[col] if col is not None else sum(x for name, x in there.items() if name != row)
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return there[row] @ (total / np.where(length > 0, length, 1) if col is None else total).T


def volume_scores(embeddings, present, anchor):
    """Minus the volume of every anchor with every tuple of others."""
    return -volume(joined(embeddings, present, anchor))


def _where_joined(embeddings, tuples):
    """Which vectors of `joined` tuples are those of a modality that is there."""
    dim = next(iter(embeddings.values())).shape[1]
    return ~tuples[..., dim:].any(axis=-1)


def hyperbolic_scores(embeddings, present, anchor):
    """Minus the hyperbolic volume of every anchor with every tuple of others."""
    tuples = joined(embeddings, present, anchor)
    return -hyperbolic_volume(tuples, _where_joined(embeddings, tuples))


def kernel_scores(embeddings, present, anchor, bandwidth):
    """Minus the volume in feature space of every anchor with every tuple of others."""
    tuples = joined(embeddings, present, anchor)
    return -kernel_volume(tuples, bandwidth, _where_joined(embeddings, tuples))


def spectral_scores(embeddings, present, anchor):
    """Leading singular value of every anchor with every tuple of others."""
    dim = embeddings[anchor].shape[1]
    return singular_values(joined(embeddings, present, anchor)[..., :dim])[..., 0]


def direction_scores(embeddings, present, signed=True):
    """Cosine, or its square, of the leading directions of every two tuples."""
    units = leading_direction(tuples(embeddings, present)[0])
    return units @ units.T if signed else (units @ units.T) ** 2


def contrast(scores, valid=None, *, scale, label_smoothing=0.0, groups=None):
    """Bidirectional cross-entropy per example from the whole score matrix, by its definition."""
    size = len(scores)
    valid = np.ones(size, bool) if valid is None else np.asarray(valid)
    groups = np.arange(size) if groups is None else np.asarray(groups)
    losses = np.zeros(size)
    for matrix in (scale * scores, scale * scores.T):
        for i in np.flatnonzero(valid):
            candidates = valid & (groups != groups[i])
            candidates[i] = True
            logits = matrix[i, candidates]
            target = np.full(logits.size, label_smoothing / logits.size)
            target[candidates[:i].sum()] += 1 - label_smoothing
            log_softmax = logits - logits.max() - np.log(np.exp(logits - logits.max()).sum())
            losses[i] -= (target * log_softmax).sum() / 2
    return losses


def ranks(scores, row_valid, col_valid, groups=None):
    """How many valid columns score row i at least as well as its match; -1 if that is missing."""
    size = len(scores)
    groups = np.arange(size) if groups is None else np.asarray(groups)
    competing = col_valid[None, :] & (groups[:, None] != groups[None, :])
    counts = (competing & (scores >= np.diag(scores)[:, None])).sum(axis=1)
    return np.where(row_valid & col_valid, counts, -1)


def gram(embeddings, anchor, *, temperature=0.07, label_smoothing=0.1, present=None, groups=None):
    """GRAM's loss per example, from the whole matrix of volumes."""
    there = masks(embeddings, present)
    valid = there[anchor] & np.any([m for name, m in there.items() if name != anchor], axis=0)
    scores = volume_scores(embeddings, present, anchor)
    options = dict(scale=1 / temperature, label_smoothing=label_smoothing, groups=groups)
    return contrast(scores, valid, **options)


def clip(embeddings, pair, *, temperature=0.07, label_smoothing=0.0, present=None, groups=None):
    """CLIP's loss per example for one pair of modalities, from the whole matrix of cosines."""
    there = masks(embeddings, present)
    scores = cosine_scores(embeddings, present, *pair)
    options = dict(scale=1 / temperature, label_smoothing=label_smoothing, groups=groups)
    return contrast(scores, there[pair[0]] & there[pair[1]], **options)


def pmrl_alignment(embeddings, *, temperature=0.05, present=None):
    """PMRL's softmax over the singular values of the modalities that an example has."""
    vectors, number = tuples(embeddings, present)
    values = singular_values(vectors) / temperature
    exists = np.arange(values.shape[1]) < number[:, None]
    behind = np.where(exists, np.exp(values - values[:, :1]), 0)[:, 1:].sum(axis=1)
    return np.where(number >= 2, np.log1p(behind), 0)


def pmrl_instance(embeddings, *, temperature=0.1, signed=True, present=None, groups=None):
    """PMRL's contrast of leading directions between the examples with two modalities or more."""
    valid = tuples(embeddings, present)[1] >= 2
    scores = direction_scores(embeddings, present, signed)
    return contrast(scores, valid, scale=1 / temperature, groups=groups)


def mean_over_tasks(losses, taking_part):
    """Mean over the tasks that each example takes part in, 0 where there is none."""
    number = np.sum(taking_part, axis=0)
    return np.sum(np.where(taking_part, losses, 0), axis=0) / np.maximum(number, 1)


def pairs(names):
    """All pairs of modalities."""
    return list(combinations(names, 2))
