"""TED in other trainers: one module a framework, imported by its own name."""

from __future__ import annotations

__all__: list[str] = []
