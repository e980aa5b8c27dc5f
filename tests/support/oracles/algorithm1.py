"""Algorithm 1 in the paper's letters: obviously right, slow, no array in sight."""

from __future__ import annotations

import math
import statistics

import numpy as np

from ted_core.selection._randomness import tie_hash


def r(t, T, s, beta):  # noqa: N803 - the paper's letter
    """Eq. 21."""
    return math.exp((t / T) ** beta * math.log(1 - s)) if s else 1.0


def kept_by_definition_3(score, m, *, seed, epoch):
    """Eq. 20 by a full sort: `score` is a list, None for never presented."""

    def rank(k):
        key = math.inf if score[k] is None else float(score[k])
        return key, int(tie_hash(np.array([k]), seed=seed, epoch=epoch)[0])

    return sorted(sorted(range(len(score)), key=rank)[len(score) - m :])


class Ted:
    """Scores of n samples as a dict; a sample without a value stands for itself."""

    def __init__(self, n, *, alpha, start):
        self.n, self.alpha, self.start = n, alpha, start
        self.score, self.visits, self.presented = {}, {}, set()
        self.seen, self.weightless = {}, set()
        self.last, self.undelivered = set(), {}

    def observe(self, k, value, *, weight=1):
        if weight:
            self.seen.setdefault(k, []).append(np.float32(value))
        else:
            self.weightless.add(k)

    def waits_for(self, order):
        """Whether an epoch lost only samples that it planned before in vain."""
        never = all(k not in self.presented and k in self.undelivered for k in order)
        return never and not self.seen and not self.weightless

    def close(self, order=()):
        """Close an epoch that planned `order`."""
        for k in order:
            if k in self.seen:
                continue
            if k in self.weightless:
                self.last.add(k)
                self.presented.add(k)
                self.undelivered.pop(k, None)
            else:
                self.undelivered[k] = self.undelivered.get(k, 0) + 1
        one, alpha = np.float32(1 - self.alpha), np.float32(self.alpha)
        for k, values in self.seen.items():
            self.presented.add(k)
            self.undelivered.pop(k, None)
            total = np.float32(0)
            for value in values:
                total = np.float32(total + value)
            mean = np.float32(total / np.float32(len(values)))
            if not math.isfinite(mean):
                continue
            if k in self.score or self.start != "first":
                before = self.score.get(k, np.float32(0))
                mean = np.float32(np.float32(alpha * before) + np.float32(one * mean))
            self.score[k] = mean
            self.last.discard(k)
            self.visits[k] = self.visits.get(k, 0) + 1
        self.seen, self.weightless = {}, set()

    def rank(self, k):
        if self.start != "debiased":
            return self.score[k]
        bias = 1 - self.alpha ** self.visits[k]
        return np.float32(float(self.score[k]) / bias)

    def ranking(self):
        middle = statistics.median(map(self.rank, self.score)) if self.score else 0.0

        def place(k):
            if k in self.last:
                return -math.inf
            if k in self.score:
                return self.rank(k)
            given_up = self.undelivered.get(k, 0) > 1
            return np.float32(middle) if k in self.presented or given_up else None

        return [place(k) for k in range(self.n)]
