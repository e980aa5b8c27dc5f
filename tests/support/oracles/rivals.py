"""The rivals in their papers' letters: lists, loops, full sorts, no array in sight."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
from oracles.algorithm1 import kept_by_definition_3

from ted_core.selection._randomness import SELECT, stream, tie_hash


def nearest(x):
    return math.floor(x + 0.5)


def greedy_part(score, k, epsilon, *, seed, epoch):
    """Raju et al.: the (1 - epsilon) k highest; `score` holds None if never seen."""
    unseen = sum(s is None for s in score)
    g = max(k - nearest(epsilon * k), min(unseen, k))
    return kept_by_definition_3(score, g, seed=seed, epoch=epoch)


def least_planned(planned, k, *, seed, epoch):
    """Okanovic et al.: k ids of those planned least often, at random among equals."""
    hashes = tie_hash(np.arange(len(planned)), seed=seed, epoch=epoch).tolist()
    order = sorted(range(len(planned)), key=lambda z: (planned[z], -hashes[z]))
    return sorted(order[:k])


class MeanAndVariance:
    """Raju et al.: mu and v of one sample."""

    def __init__(self, alpha):
        self.alpha, self.mu, self.v = alpha, None, 0.0

    def see(self, x):
        if self.mu is None:
            self.mu = x
            return
        self.v = self.alpha * self.v + (1 - self.alpha) * (x - self.mu) ** 2
        self.mu = self.alpha * self.mu + (1 - self.alpha) * x


def below_the_mean(H):  # noqa: N803 - the paper's letter
    """Qin et al.: ids below the mean of the scores H, exactly; None is never seen."""
    known = [h for h in H if h is not None]
    if not known:
        return []
    total = sum(map(Fraction, known))
    return [z for z, h in enumerate(H) if h is not None and h * len(known) < total]


def inclusion(w, k):
    """Chance of each sample to be among k drawn one by one in proportion to w."""
    chance = [0.0] * len(w)
    for drawn in itertools.permutations(range(len(w)), k):
        p, left = 1.0, sum(w)
        for i in drawn:
            p *= w[i] / left
            left -= w[i]
        for i in drawn:
            chance[i] += p
    return chance


def q(score):
    """Share of the samples below each, half of the equal ones counted."""
    n = len(score)
    return [
        (sum(a < b for a in score) + sum(a == b for a in score) / 2) / n for b in score
    ]


def soft_top(score, k, sharpness, *, seed, epoch):
    """Efraimidis and Spirakis: the k highest log w - log(-log u); None is new."""
    own = stream(seed, purpose=SELECT, epoch=epoch).bit_generator.random_raw()
    known = [i for i, s in enumerate(score) if s is not None]
    key = [None] * len(score)
    for i, rank in zip(known, q([np.float32(score[i]) for i in known]), strict=True):
        h = int(tie_hash(np.array([i]), seed=int(own), epoch=epoch)[0])
        u = ((h >> 12) + 0.5) / 2**52
        key[i] = np.float32(sharpness * math.log(rank) - math.log(-math.log(u)))
    return kept_by_definition_3(key, k, seed=seed, epoch=epoch)


def importance(v, k, m, c, *, seed, epoch):
    """Katharopoulos and Fleuret's draw, Duffield et al.'s chances: ids and weights.

    `v` holds None for a new sample.
    """
    own = stream(seed, purpose=SELECT, epoch=epoch).bit_generator.random_raw()
    known = [x for x in v if x is not None]
    mean = sum(known) / len(known) if known else 0
    w, key = {}, [None] * len(v)
    for i, x in enumerate(v):
        if x is None:
            continue
        w[i] = (1 - m) * (x / mean if mean else 1) + m
        h = int(tie_hash(np.array([i]), seed=int(own), epoch=epoch)[0])
        u = ((h >> 12) + 0.5) / 2**52
        log_w = math.log(w[i]) if w[i] else -math.inf
        key[i] = np.float32(log_w - math.log(-math.log(u)))
    kept = kept_by_definition_3(key, k, seed=seed, epoch=epoch)
    left = [
        math.inf if key[i] is None else key[i] for i in set(range(len(v))) - {*kept}
    ]
    kappa = float(max(left))
    pi = []
    for i in kept:
        certain = key[i] is None or math.isinf(key[i]) or math.isinf(kappa)
        pi.append(1 if certain else 1 - math.exp(-w[i] * math.exp(-kappa)))
    weights = [(k / (len(v) * chance)) ** c for chance in pi]
    return kept, [x * k / sum(weights) for x in weights]


def with_floors(rank, m, share, y):
    """Keep each class's best up to its floor, then the best of all.

    `rank` are the ids from best to worst, y their classes.
    """
    kept = set()
    for j in set(y):
        members = [k for k in rank if y[k] == j]
        kept |= set(members[: max(1, math.floor(share * len(members)))])
    rest = [k for k in rank if k not in kept]
    return sorted(kept | set(rest[: m - len(kept)]))
