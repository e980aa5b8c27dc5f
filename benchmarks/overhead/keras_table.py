"""A record of the Keras step benchmark as Markdown."""

from __future__ import annotations

from step_table import change, row

__all__ = ["markdown"]

CLOCKS = ("wall", "cpu")


def markdown(record):
    """Give one table of the sites for each network and backend, and the parts.

    Parameters
    ----------
    record : dict
        What `keras_steps.py` wrote.

    Returns
    -------
    str
        Markdown.
    """
    lines = []
    heads = ["Fit"]
    for clock in CLOCKS:
        heads += [f"{clock} ms", f"{clock} change", f"{clock} extra ms"]
    heads.append("ms between epochs")
    for backend in record["backends"]:
        for result in backend["results"]:
            steps = result["steps of each site"]
            lines += [f"{backend['name']}, {result['network']}, {steps} steps of each"]
            lines += ["", row(heads), row(["---"] * len(heads))]
            for site in result["sites"]:
                cells = [site["site"]]
                for clock in CLOCKS:
                    cells += [f"{site[clock]['median ms']:.2f}", *change(site[clock])]
                between = site["wall between epochs"]["median ms"]
                lines.append(row([*cells, f"{between:.2f}"]))
            lines.append("")
    lines += [row(["Backend", "reading a batch, us", "closing an epoch, s"])]
    lines += [row(["---"] * 3)]
    for backend in record["backends"]:
        read = backend["microseconds of reading a batch"]
        closed = backend["closing an epoch"]
        lines.append(
            row(
                [
                    backend["name"],
                    ", ".join(f"{name} {value}" for name, value in read.items()),
                    ", ".join(f"n={c['n']}: {c['median seconds']}" for c in closed),
                ]
            )
        )
    return "\n".join(lines)
