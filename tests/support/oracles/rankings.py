"""The rankings of static pruning by brute force: whole gradients, all subsets."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
from oracles.observed import one_hot, softmax


def divergence(p, q):
    """Agarwal et al.: 1/2 KL(p|q) + 1/2 KL(q|p)."""
    one = sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    other = sum(b * math.log(b / a) for a, b in zip(p, q, strict=True))
    return (one + other) / 2


def nearest(logits, k, chosen):
    """Give how far sample k is from the nearest of the chosen."""
    P = [softmax(z) for z in logits]  # noqa: N806 - the paper's letter
    return min((divergence(P[k], P[c]) for c in chosen), default=math.inf)


def gradient(h, z, y, *, bias):
    """Give the gradient of cross entropy in all weights of the last layer."""
    p = np.array(softmax(z)) - one_hot(y, len(z))
    return np.outer(p, [*h, 1.0] if bias else h)


def gradients(H, Z, y, *, bias=True):  # noqa: N803 - matrices
    each = zip(H.tolist(), Z.tolist(), y.tolist(), strict=True)
    return np.array([gradient(*one, bias=bias) for one in each])


def facility(G, S):  # noqa: N803 - the paper's letters
    """Mirzasoleiman et al., Eq. 8: how much closer than the farthest pair S lies."""
    far = max(np.linalg.norm(a - b) for a in G for b in G)
    return sum(max((far - np.linalg.norm(g - G[j]) for j in S), default=0) for g in G)


def best_facility(G, k):  # noqa: N803 - the paper's letter
    return max(facility(G, S) for S in combinations(range(len(G)), k))


def held_out_loss(theta, H, y):  # noqa: N803 - a matrix
    """Give the mean cross entropy of the head theta, whose last column is the bias."""
    logits = [theta @ [*h, 1.0] for h in H]
    return np.mean([-math.log(softmax(z)[k]) for z, k in zip(logits, y, strict=True)])


def influences(H, Z, y, *, damping, bias=True):  # noqa: N803 - matrices
    """Give H^-1 g / n by the whole Kronecker product."""
    n, inputs = len(H), np.c_[H, np.ones(len(H))] if bias else H
    P = np.array([softmax(z) for z in Z.tolist()])  # noqa: N806
    A = sum(np.diag(p) - np.outer(p, p) for p in P) / n  # noqa: N806
    B = sum(np.outer(h, h) for h in inputs) / n  # noqa: N806
    A += damping * np.trace(A) / len(A) * np.eye(len(A))  # noqa: N806
    B += damping * np.trace(B) / len(B) * np.eye(len(B))  # noqa: N806
    G = gradients(H, Z, y, bias=bias).reshape(n, -1)  # noqa: N806
    return np.linalg.solve(np.kron(A, B), G.T).T / n
