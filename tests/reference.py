"""What the mathematics says: dense numpy, float64 or wider, sharing nothing with gramalign."""

import math
from itertools import combinations, product

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


def volume_scores(embeddings, present, anchor, form="volume"):
    """Minus the volume of every anchor with every tuple of others, in one of its forms."""
    size = volume(joined(embeddings, present, anchor))
    others = sum(m for name, m in masks(embeddings, present).items() if name != anchor)
    return {
        "volume": lambda: -size,
        "squared": lambda: -(size**2),
        "log": lambda: -np.log(size**2 + 1e-6) / 2,
        "root": lambda: -(size ** (1 / (1 + others[None, :]))),
    }[form]()


def height(vector, others):
    """Distance of a vector [d] from the span of others [n, d], by least squares."""
    weights = np.linalg.lstsq(others.T, vector, rcond=None)[0]
    return float(np.linalg.norm(vector - weights @ others))


def simplex(vectors):
    """Volume of the simplex with corners [n, d], from its edges at the first corner."""
    vectors = np.asarray(vectors, np.longdouble)
    return float(volume(vectors[1:] - vectors[0])) / math.factorial(len(vectors) - 1)


def regular(corners):
    """Corners of the regular simplex, on the unit sphere."""
    vectors = np.eye(corners) - 1 / corners
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def triangle(x, y, z):
    """Area of triangles [..., d] by Lagrange's identity, TRIANGLE's formula."""
    u, v = x - y, x - z
    uu, vv, uv = ((p * q).sum(-1) for p, q in ((u, u), (v, v), (u, v)))
    return np.sqrt(np.maximum(uu * vv - uv * uv, 0)) / 2


def of_every_pair(function, embeddings, present, anchor):
    """A function of (anchor i, those of tuple j's others that are there [n, d]), [b, b]."""
    kept, others = masks(embeddings, present), [name for name in embeddings if name != anchor]
    size = len(embeddings[anchor])
    scores = np.zeros((size, size))
    for i, j in np.ndindex(size, size):
        tuples = [embeddings[name][j].astype(np.float64) for name in others if kept[name][j]]
        if kept[anchor][i] and tuples:
            scores[i, j] = function(embeddings[anchor][i].astype(np.float64), np.stack(tuples))
    return scores


def height_scores(embeddings, present, anchor, squared=False):
    """Minus the height of the anchor above the others' span, or its square."""
    power = 2 if squared else 1
    return of_every_pair(lambda a, m: -(height(a, m) ** power), embeddings, present, anchor)


def simplex_scores(embeddings, present, anchor, squared=False, scaled=False):
    """Minus the volume of the simplex, or its square, or its share of the regular simplex's."""
    power = 2 if squared else 1

    def score(a, others):
        size = simplex(np.concatenate([a[None], others]))
        return -((size / simplex(regular(1 + len(others))) if scaled else size) ** power)

    return of_every_pair(score, embeddings, present, anchor)


def aggregate_scores(embeddings, present, anchor, temperature=0.1):
    """SCA: cosine of the anchor with the sum of the others, weighted by their own cosines."""

    def score(a, others):
        weights = np.exp(others @ a / temperature - (others @ a / temperature).max())
        total = weights @ others
        return a @ total / max(np.linalg.norm(total), 1e-300)

    return of_every_pair(score, embeddings, present, anchor)


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


def product_scores(embeddings, present, anchor, scaled=False):
    """Sums over the coordinates of every anchor times every tuple of others, absentees left out."""
    there, dim = masks(embeddings, present), embeddings[anchor].shape[1]
    others = [np.where(there[m][:, None], embeddings[m], 1) for m in embeddings if m != anchor]
    number = sum(mask for m, mask in there.items() if m != anchor)
    columns = np.prod(np.asarray(others, np.float64), axis=0)
    columns = columns * (dim ** (number / 2))[:, None] if scaled else columns
    rows = np.where(there[anchor][:, None], embeddings[anchor], 0)
    return np.einsum("id,jd->ij", rows, columns)


def spectral_scores(embeddings, present, anchor):
    """Leading singular value of every anchor with every tuple of others."""
    dim = embeddings[anchor].shape[1]
    return singular_values(joined(embeddings, present, anchor)[..., :dim])[..., 0]


def direction_scores(embeddings, present, signed=True):
    """Cosine, or its square, of the leading directions of every two tuples."""
    units = leading_direction(tuples(embeddings, present)[0])
    return units @ units.T if signed else (units @ units.T) ** 2


def contrast(scores, valid=None, *, scale, label_smoothing=0.0, groups=None, supervised=False):
    """Bidirectional cross-entropy per example from the whole score matrix, by its definition."""
    size = len(scores)
    valid = np.ones(size, bool) if valid is None else np.asarray(valid)
    groups = np.arange(size) if groups is None else np.asarray(groups)
    losses = np.zeros(size)
    for matrix in (scale * scores, scale * scores.T):
        for i in np.flatnonzero(valid):
            candidates = valid.copy() if supervised else valid & (groups != groups[i])
            candidates[i] = True
            logits = matrix[i, candidates]
            target = np.full(logits.size, label_smoothing / logits.size)
            target[candidates[:i].sum()] += 1 - label_smoothing
            if supervised:
                positives = (groups == groups[i])[candidates]
                target = positives / positives.sum()
            log_softmax = logits - logits.max() - np.log(np.exp(logits - logits.max()).sum())
            losses[i] -= (target * log_softmax).sum() / 2
    return losses


def sigmoid_contrast(scores, valid=None, *, scale, bias, groups=None):
    """SigLIP's loss of every pair, half of it to the row and half to the column."""
    size = len(scores)
    valid = np.ones(size, bool) if valid is None else np.asarray(valid)
    groups = np.arange(size) if groups is None else np.asarray(groups)
    logits = scale * scores + bias
    apart = (groups[:, None] != groups[None, :]) & valid[:, None] & valid[None, :]
    negative = np.where(apart, np.logaddexp(0, logits), 0)
    positive = np.logaddexp(0, -np.diag(logits))
    return np.where(valid, positive + (negative.sum(0) + negative.sum(1)) / 2, 0)


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


def alignment(embeddings, *, power=2.0, present=None):
    """Mean over the pairs that an example has of the distance to a power."""
    there = masks(embeddings, present)
    found = [
        np.linalg.norm(embeddings[a] - embeddings[b], axis=1) ** power for a, b in pairs(embeddings)
    ]
    return mean_over_tasks(found, [there[a] & there[b] for a, b in pairs(embeddings)])


def uniformity(embeddings, *, t=2.0, present=None, groups=None):
    """Log of the mean Gaussian potential of all pairs, per modality."""
    there, found = masks(embeddings, present), []
    two = sum(there.values()) >= 2
    for name, x in embeddings.items():
        takes = there[name] & two
        kept, group = x[takes], None if groups is None else groups[takes]
        apart = ~np.eye(len(kept), dtype=bool)
        if group is not None:
            apart = group[:, None] != group[None, :]
        squares = ((kept[:, None] - kept[None, :]) ** 2).sum(-1)[apart]
        value = np.log(np.exp(-t * squares).mean()) if squares.size else 0.0
        found.append(np.full(len(x), value))
    return np.where(two, mean_over_tasks(found, list(there.values())), 0)


def modality_gap(embeddings, *, present=None):
    """Distance of centres over the examples that have both."""
    there, found = masks(embeddings, present), []
    for a, b in pairs(embeddings):
        both = there[a] & there[b]
        gap = (embeddings[a] - embeddings[b])[both].mean(axis=0) if both.any() else np.zeros(1)
        found.append(np.full(len(both), np.linalg.norm(gap)))
    return mean_over_tasks(found, [there[a] & there[b] for a, b in pairs(embeddings)])


def consistency(embeddings, *, cross_modal=1.0, in_modal=1.0, present=None):
    """Squared differences of whole similarity matrices, summed over the examples that have both."""
    there, found = masks(embeddings, present), []
    for a, b in pairs(embeddings):
        both = there[a] & there[b]
        x, y = embeddings[a][both], embeddings[b][both]
        across, within = x @ y.T - (x @ y.T).T, x @ x.T - y @ y.T
        values = np.zeros(len(both))
        values[both] = (cross_modal * across**2 + in_modal * within**2).sum(axis=1)
        found.append(values)
    return mean_over_tasks(found, [there[a] & there[b] for a, b in pairs(embeddings)])


def vicreg(
    embeddings, *, invariance=25.0, variance=25.0, covariance=1.0, deviation=None, present=None
):
    """Mean over pairs of a distance, and of what both modalities' covariances cost."""
    there, found, costs = masks(embeddings, present), [], {}
    dim = next(iter(embeddings.values())).shape[1]
    target = dim**-0.5 if deviation is None else deviation
    two = sum(there.values()) >= 2
    for name, x in embeddings.items():
        kept = x[there[name] & two] / target
        matrix = np.cov(kept, rowvar=False) if len(kept) > 1 else np.zeros((dim, dim))
        lack = np.maximum(1 - np.sqrt(np.diagonal(matrix) + 1e-4), 0).mean()
        alike = (matrix[~np.eye(dim, dtype=bool)] ** 2).sum() / dim
        costs[name] = variance * lack + covariance * alike
    for a, b in pairs(embeddings):
        squares = (((embeddings[a] - embeddings[b]) / target) ** 2).mean(axis=1)
        found.append(invariance * squares + costs[a] + costs[b])
    return mean_over_tasks(found, [there[a] & there[b] for a, b in pairs(embeddings)])


def separation(embeddings, *, present=None, groups=None):
    """Mean squared cosine of leading directions with those of all others."""
    vectors, number = tuples(embeddings, present)
    valid = number >= 2
    groups = np.arange(len(valid)) if groups is None else groups
    apart = (groups[:, None] != groups[None, :]) & valid[:, None] & valid[None, :]
    squares = np.where(apart, direction_scores(embeddings, present, signed=False), 0).sum(axis=1)
    return squares / np.maximum(apart.sum(axis=1), 1)


def vast(embeddings, anchor, fused, **options):
    """VAST's loss per example: CLIP's of the anchor with the fused entry."""
    return clip(embeddings, (anchor, fused), **options)


def confu(embeddings, names, *, fused_weight=0.5, present=None, **options):
    """ConFu's loss per example; the fusion of m and n is `m+n`, there where both of them are."""
    there = dict(masks(embeddings, present))
    for m, n in combinations(names, 2):
        there[f"{m}+{n}"] = there[m] & there[n]
    fused = [(f"{m}+{n}", o) for m, n in combinations(names, 2) for o in names if o not in (m, n)]
    means = []
    for tasks in (fused, pairs(names)):
        values = [clip(embeddings, task, present=there, **options) for task in tasks]
        means.append(mean_over_tasks(values, [there[a] & there[b] for a, b in tasks]))
    return (fused_weight * means[0] + (1 - fused_weight) * means[1]) / 2


def centroid(embeddings, present):
    """Normalised sum of the modalities that an example has, [b, d]; zero where that is zero."""
    total = tuples(embeddings, present)[0].sum(axis=1)
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return total / np.where(length > 0, length, 1)


def centrobind(embeddings, *, temperature=0.07, label_smoothing=0.0, present=None, groups=None):
    """CentroBind's loss per example, between examples with two modalities or more."""
    vectors, number = tuples(embeddings, present)
    centre, there = centroid(embeddings, present), masks(embeddings, present)
    options = dict(scale=1 / temperature, label_smoothing=label_smoothing, groups=groups)
    parts = [mask & (number >= 2) for mask in there.values()]
    scores = [rows @ centre.T for rows in np.moveaxis(vectors, 1, 0)]
    values = [contrast(x, part, **options) for x, part in zip(scores, parts, strict=True)]
    return mean_over_tasks(values, parts)


def barycentre_scores(barycentres, embeddings, present):
    """Minus the volume of every barycentre and its differences to every tuple, one by one."""
    there, size = masks(embeddings, present), len(barycentres)
    scores = np.zeros((size, size))
    for j in range(size):
        others = [x[j] for name, x in embeddings.items() if there[name][j]]
        for i, b in enumerate(barycentres):
            scores[i, j] = -volume(np.stack([b, *(b - other for other in others)]))
    return scores


def barybind(
    embeddings,
    *,
    barycentre=None,
    temperature=0.07,
    label_smoothing=0.1,
    present=None,
    groups=None,
):
    """BaryBind's loss per example; None: the barycentre is the centroid of two or more."""
    there = masks(embeddings, present)
    number = np.sum(list(there.values()), axis=0)
    if barycentre is None:
        centres, others, valid = centroid(embeddings, present), embeddings, number >= 2
    else:
        others = {name: x for name, x in embeddings.items() if name != barycentre}
        centres = np.where(there[barycentre][:, None], embeddings[barycentre], 0)
        valid = there[barycentre] & (number >= 2)
    scores = barycentre_scores(centres, others, present)
    options = dict(scale=1 / temperature, label_smoothing=label_smoothing, groups=groups)
    return contrast(scores, valid, **options)


def shifted(there, anchor):
    """Combinations of Symile's "shuffled" without a key: who gives which of the others."""
    others = [m for m in there if m != anchor]
    who = np.flatnonzero(there[anchor] & np.any([there[m] for m in others], axis=0))
    places = range(len(others))
    return [tuple(who[(i + place) % len(who)] for place in places) for i in range(len(who))]


def every(there, anchor):
    """Those of "all" for three modalities: two that are there, or an example's own."""
    b, c = (there[anchor] & mask for m, mask in there.items() if m != anchor)
    return [(j, k) for j, k in product(range(len(b)), repeat=2) if j == k or (b[j] and c[k])]


def symile(embeddings, choose, *, temperature=0.07, scaled=False, present=None, groups=None):
    """Symile's loss per example, from all combinations that `choose(there, anchor)` makes."""
    there = masks(embeddings, present)
    size, dim = next(iter(embeddings.values())).shape
    groups = np.arange(size) if groups is None else groups
    unit = dim**0.5 if scaled else 1.0

    def joined(parts):
        return np.prod([unit * np.asarray(embeddings[m][i], np.float64) for m, i in parts], axis=0)

    losses, taking_part = [], []
    for anchor in embeddings:
        others = [m for m in embeddings if m != anchor]
        takes = there[anchor] & np.any([there[m] for m in others], axis=0)
        columns = []
        for combination in choose(there, anchor):
            parts = zip(others, combination, strict=True)
            parts = [(m, i) for m, i in parts if takes[i] and there[m][i]]
            if parts:
                columns.append((joined(parts), {groups[i] for _, i in parts}))
        loss = np.zeros(size)
        for i in np.flatnonzero(takes):
            row = np.asarray(embeddings[anchor][i], np.float64)
            own = joined([(m, i) for m in others if there[m][i]])
            vectors = [own] + [column for column, of in columns if of != {groups[i]}]
            logits = np.array(vectors) @ row / temperature
            loss[i] = np.log(np.exp(logits - logits.max()).sum()) + logits.max() - logits[0]
        losses.append(loss)
        taking_part.append(takes)
    return mean_over_tasks(losses, taking_part)


def mean_over_tasks(losses, taking_part):
    """Mean over the tasks that each example takes part in, 0 where there is none."""
    number = np.sum(taking_part, axis=0)
    return np.sum(np.where(taking_part, losses, 0), axis=0) / np.maximum(number, 1)


def pairs(names):
    """All pairs of modalities."""
    return list(combinations(names, 2))
