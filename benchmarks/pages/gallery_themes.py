"""The gallery's pictures as files, for light paper and for dark."""

from __future__ import annotations

import re

import matplotlib as mpl
from gallery_pictures import PICTURES

__all__ = ["write_pictures", "write_previews"]

LIGHT = {"ink": "#24292f", "grid": "#d0d7de", "paper": "#ffffff"}
DARK = {"ink": "#e6edf3", "grid": "#3d444d", "paper": "#0d1117"}


def look(theme):
    """Return Matplotlib's settings for one theme."""
    ink = dict.fromkeys(
        (
            "text.color",
            "axes.edgecolor",
            "axes.labelcolor",
            "xtick.color",
            "ytick.color",
        ),
        theme["ink"],
    )
    paper = dict.fromkeys(("figure.facecolor", "axes.facecolor"), theme["paper"])
    return {
        **ink,
        **paper,
        "axes.grid": True,
        "axes.grid.which": "major",
        "grid.color": theme["grid"],
        "grid.linewidth": 0.6,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "legend.frameon": False,
        "font.size": 9,
        "axes.titlesize": 10,
        "svg.hashsalt": "ted-core",
    }


def write_previews(record, folder, pictures=PICTURES):
    """Write every picture as PNG, light and dark."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, theme in (("light", LIGHT), ("dark", DARK)):
        with mpl.rc_context(look(theme)):
            for title, draw in pictures.items():
                draw(record, theme["ink"]).savefig(folder / f"{title}_{name}.png")


def shorten(path):
    """Return a path with coordinates to a tenth of a point."""
    return re.sub(r"(\.\d)\d+", r"\1", path[0])


def write_pictures(record, folder, pictures=PICTURES):
    """Write every picture as SVG whose paper and ink follow the reader's theme."""
    rules = "".join(
        f'[style*="{kind}: {LIGHT[part]}"]{{{kind}:{DARK[part]}!important}}'
        for part in LIGHT
        for kind in ("fill", "stroke")
    )
    style = f"<style>@media (prefers-color-scheme:dark){{{rules}}}</style>"
    with mpl.rc_context(look(LIGHT)):
        for title, draw in pictures.items():
            path = folder / f"{title}.svg"
            metadata = {"Date": None, "Creator": None}
            draw(record, LIGHT["ink"]).savefig(path, metadata=metadata)
            text = path.read_text(encoding="utf-8")
            text = text.replace("</defs>", f"</defs>\n {style}", 1)
            text = re.sub(r' d="[^"]*"', shorten, text)
            lines = [row.strip() for row in text.splitlines()]
            path.write_text("\n".join(lines) + "\n", encoding="utf-8")
