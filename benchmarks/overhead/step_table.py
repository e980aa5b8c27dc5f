"""A record of the step benchmark as Markdown."""

from __future__ import annotations

__all__ = ["markdown"]


def row(cells):
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def change(clock):
    """Give ratio and extra time as percent and milliseconds with their intervals."""
    if "ratio, 95 % interval" not in clock:
        return ["", ""]
    ratio, low, high = (100 * (v - 1) for v in clock["ratio, 95 % interval"])
    extra, least, most = clock["extra ms, 95 % interval"]
    return [
        f"{ratio:+.1f} % [{low:+.1f}, {high:+.1f}]",
        f"{extra:+.2f} [{least:+.2f}, {most:+.2f}]",
    ]


def markdown(record):
    """Give one table of the sites for each network, and one of the closed epochs.

    Parameters
    ----------
    record : dict
        What `torch_steps.py` wrote.

    Returns
    -------
    str
        Markdown.
    """
    lines = []
    for result in record["results"]:
        clocks = [key for key in result["sites"][0] if key != "site"]
        heads = ["Mask at"]
        for clock in clocks:
            heads += [f"{clock} ms", f"{clock} change", f"{clock} extra ms"]
        title = f"{result['network']}, {result['steps of each site']} steps of each"
        lines += [title, "", row(heads), row(["---"] * len(heads))]
        for site in result["sites"]:
            cells = [site["site"]]
            for clock in clocks:
                cells += [f"{site[clock]['median ms']:.2f}", *change(site[clock])]
            lines.append(row(cells))
        lines.append("")
    lines += [
        row(["Mask at", "operations added", "reads to the host"]),
        row(["---"] * 3),
    ]
    for site, added in record["operations a step adds"].items():
        cells = [f"{added[key]:.1f}" for key in ("operations", "reads to the host")]
        lines.append(row([site, *cells]))
    heads = ["n", "set_epoch s", "randperm(n).tolist() s"]
    lines += ["", row(heads), row(["---"] * 3)]
    for cost in record["set_epoch"]:
        shuffle = cost["torch.randperm(n).tolist(), median seconds"]
        lines.append(row([cost["n"], cost["median seconds"], shuffle]))
    return "\n".join(lines)
