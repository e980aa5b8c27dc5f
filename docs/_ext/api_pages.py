"""Text of the API pages: a page for each package, a section for each module in it.

What a user calls stands on pages of its own, apart from what an adapter is made of.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from public_modules import PACKAGES, Name, modules, names

__all__ = ["pages"]

_FIRST = {"TED", "Pruner"}
_BLOCKS = {
    "ted_core.Request",
    "ted_core.Selection",
    "ted_core.cross_entropy_mask_gradient",
    "ted_core.keep_count",
    "ted_core.keep_ratios",
    "ted_core.loss_scale",
    "ted_core.mask_gradient",
    "ted_core.polyak_update",
    "ted_core.redundant_subset",
    "ted_core.register_kind",
    "ted_core.save_ratio",
    "ted_core.segment_mask_gradient",
    "ted_core.signals",
    "ted_core.testing",
    "ted_core.top_ids",
    "ted_torch.CollateWithIds",
    "ted_torch.EpochBuffer",
    "ted_torch.Ranks",
    "ted_torch.TEDSampler",
    "ted_torch.WithIds",
    "ted_torch.record",
    "ted_torch.tap",
}
"""Modules and names for authors of adapters and methods; all others are for users."""


def pages() -> dict[str, str]:
    """Write every page.

    Returns
    -------
    dict of str to str
        Text in reStructuredText, by the name of the page.
    """
    made = {}
    for module in modules():
        own = [name for name in names() if name.module == module]
        if not _has_page(module):
            continue
        blocks = [name for name in own if _BLOCKS & {name.path, module}]
        for_users = [name for name in own if name not in blocks]
        if for_users:
            made[f"users/{module}"] = _page(module, f"``{module}``", for_users)
        if blocks:
            title = f"Inside ``{module}``" if for_users else f"``{module}``"
            package = None if for_users else module
            made[f"authors/{module}"] = _page(package, title, blocks)
    for package in PACKAGES:
        rest = [
            name
            for name in names()
            if name.module.split(".")[0] == package and not _has_page(name.module)
        ]
        if rest:
            made[f"authors/{package}_modules"] = _page(
                None, f"Modules inside ``{package}``", rest
            )
    return made


def _has_page(module: str) -> bool:
    """Return whether this is a package, or is documented like one."""
    parts = module.split(".")
    return (
        hasattr(modules()[module], "__path__")
        or parts[-1] == "analysis"
        or "integrations" in parts
    )


def _page(package: str | None, title: str, own: list[Name]) -> str:
    lines = [title, "=" * len(title), ""]
    if package:
        lines += [f".. automodule:: {package}", "   :no-members:", ""]
    lines += list(_table(own))
    first = {_section(name) for name in own if name.name in _FIRST}
    own = sorted(own, key=lambda n: (_section(n) not in first, _section(n)))
    for module, group in groupby(own, _section):
        head = _first_line(modules()[module].__doc__).rstrip(".")
        lines += [head, "-" * len(head), ""]
        if not package:
            lines += [f"``{module}``", ""]
        for name in sorted(group, key=lambda n: n.name.lower()):
            lines += [*_entry(name), ""]
    return "\n".join(lines)


def _section(name: Name) -> str:
    """Return the module that names the section: the source, up to a package."""
    source = ".".join(name.source.split(".")[: name.module.count(".") + 2])
    return source if source in modules() else name.module


def _table(own: Iterable[Name]) -> Iterator[str]:
    yield from (".. list-table::", "   :class: names", "   :widths: auto", "")
    for name in sorted(own, key=lambda n: (n.name not in _FIRST, n.name.lower())):
        yield f"   * - :py:obj:`{name.name} <{name.path}>`"
        yield f"     - {_first_line(_text(name))}"
    yield ""


def _entry(name: Name) -> Iterator[str]:
    thing = name.thing
    if inspect.isclass(thing):
        kind = "autoexception" if issubclass(thing, BaseException) else "autoclass"
        yield f".. {kind}:: {name.path}"
        strangers = _strangers(thing)
        if strangers:
            yield f"   :inherited-members: {', '.join(strangers)}"
    elif inspect.isroutine(thing):
        yield f".. autofunction:: {name.path}"
    else:
        yield f".. py:data:: {name.name}"
        yield f"   :module: {name.module}"
        if name.source != name.module:
            yield f"   :canonical: {name.source}.{name.name}"
        yield ""
        yield from (f"   {line}" for line in name.comment().splitlines())


def _strangers(thing: type[Any]) -> list[str]:
    """Name the bases whose members their own libraries document."""
    if issubclass(thing, BaseException | dict):
        return []
    return [
        c.__name__ for c in thing.__mro__ if c.__module__.split(".")[0] not in PACKAGES
    ]


def _text(name: Name) -> str:
    if inspect.isclass(name.thing) or inspect.isroutine(name.thing):
        return inspect.getdoc(name.thing) or ""
    return name.comment()


def _first_line(text: str | None) -> str:
    return (text or "").strip().partition("\n\n")[0].replace("\n", " ")
