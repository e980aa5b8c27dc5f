"""TED in other trainers: one module a framework, imported by its own name."""

__all__: list[str] = []
