"""Several sequences in a row: less padding, and no sequence sees another."""

from __future__ import annotations

import torch

__all__ = ["Packed"]


class Packed:
    """Where each token of a padded batch goes, first fit.

    Parameters
    ----------
    lengths : Tensor of int64, shape (B,)
        Lengths of the sequences; none above `width`.
    width : int
        Tokens of a row.

    Attributes
    ----------
    segments : Tensor of int64, shape (R, L)
        Sequence of each token, -1 in the padding; L is the fullest row's length.
    positions : Tensor of int64, shape (R, L)
        Place of each token in its sequence: it starts at 0 again with each, by which
        models of Hugging Face part the sequences when no attention mask is given.
    """

    def __init__(self, lengths, width):
        rows, filled = [], []
        for sample, length in enumerate(lengths.tolist()):
            fits = (r for r, used in enumerate(filled) if used + length <= width)
            row = next(fits, len(rows))
            if row == len(rows):
                rows.append([])
                filled.append(0)
            rows[row].append((sample, length))
            filled[row] += length
        shape = len(rows), max(filled)
        self.segments = torch.full(shape, -1)
        self.positions = torch.zeros(shape, dtype=torch.int64)
        for r, row in enumerate(rows):
            start = 0
            for sample, length in row:
                self.segments[r, start : start + length] = sample
                self.positions[r, start : start + length] = torch.arange(length)
                start += length
            self.positions[r, start:] = torch.arange(shape[1] - start)

    def to(self, device):
        self.segments = self.segments.to(device)
        self.positions = self.positions.to(device)
        return self

    def __call__(self, padded):
        """Return rows of shape (R, L, ...) from sequences of shape (B, T, ...)."""
        return padded[
            self.segments.clamp(min=0), self.positions.clamp(max=padded.shape[1] - 1)
        ]
