"""The signals of one sample in their papers' letters: floats and loops."""

from __future__ import annotations

import math


def softmax(z):
    terms = [math.exp(a - max(z)) for a in z]
    return [term / math.fsum(terms) for term in terms]


def one_hot(k, classes):
    return [float(j == k) for j in range(classes)]


def el2n(z, y):
    """Paul et al., Definition 2.2: the norm of p - y."""
    return math.dist(softmax(z), y)


def cross_entropy(z, y):
    total = max(z) + math.log(math.fsum(math.exp(a - max(z)) for a in z))
    return math.fsum(b * (total - a) for a, b in zip(z, y, strict=True))


def head(W, b, h):  # noqa: N803 - the paper's letter
    return [
        math.fsum(w * x for w, x in zip(row, h, strict=True)) + a
        for row, a in zip(W, b, strict=True)
    ]


def grand(W, b, h, y, *, bias, step=1e-5):  # noqa: N803 - the paper's letter
    """Paul et al., Definition 2.1, in the last layer, by central differences."""

    def slope(move):
        high, low = (cross_entropy(head(*move(s), h), y) for s in (step, -step))
        return (high - low) / (2 * step)

    def moved_weight(i, j):
        def move(s):
            row = [w + s * (k == j) for k, w in enumerate(W[i])]
            return [*W[:i], row, *W[i + 1 :]], b

        return move

    def moved_bias(i):
        return lambda s: (W, [*b[:i], b[i] + s, *b[i + 1 :]])

    moves = [moved_weight(i, j) for i in range(len(W)) for j in range(len(h))]
    moves += [moved_bias(i) for i in range(len(b))] if bias else []
    return math.hypot(*map(slope, moves))


def mask_gradient(z, y, step=1e-5):
    """Xiao et al., Eq. 12 at the logits, by a central difference."""
    high, low = (cross_entropy([d * a for a in z], y) for d in (1 + step, 1 - step))
    return abs(high - low) / (2 * step)


def least_confidence(z):
    """Coleman et al.: 1 minus the best."""
    return math.fsum(sorted(softmax(z))[:-1])


def margin(z):
    """Coleman et al.: 1 minus the difference of the two best."""
    second = sorted(softmax(z))[-2]
    return least_confidence(z) + second


def forgetting(z, k):
    """Toneva et al.: the accuracy, whose falls are the events."""
    return float(all(a < z[k] for j, a in enumerate(z) if j != k))
