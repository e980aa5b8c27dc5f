"""TED in trainers of others: one module a host, imported by its own name."""

from __future__ import annotations

__all__: list[str] = []
