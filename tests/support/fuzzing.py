"""Arguments that no function asks for, and what may come of a call."""

from __future__ import annotations

import linecache
import re
import warnings
from pathlib import Path

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import ted_core as ted

__all__ = ["arguments", "judge", "judge_load", "junk", "ours"]

HUGE = [2**63, 2**64, 10**400]
DEFAULTED = re.compile(
    r"(schedule|strategy|reduction)\.(?!kind$)"
    r"|(.*\.)?(lengths|history\.(forwarded|weightless|keep_ratio)|open\.(deliveries|weightless))$"
    r"|ted_keras\.iterations$"
)
"""Options of a run and later fields, which have a default where a state lacks them."""
PACKAGES = {"ted_core", "ted_torch", "ted_keras"}


def junk():
    """Draw what no argument should be, or only by chance."""
    numbers = st.one_of(
        st.sampled_from([None, True, False, -1, 0, 1, *HUGE, -(2**63), 1j]),
        st.floats(),
        st.integers(-9, 3000),
    )
    things = st.sampled_from(
        ["", "7", "mask_gradient", b"1", (), [], {}, [[1], [2, 3]], [None], "x" * 300]
    )
    kinds = st.sampled_from(
        ["f4", "f2", ">f8", "i1", "u8", "?", "c8", "O", "U3", "M8[s]"]
    )
    shapes = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
    odd = st.builds(np.ones, shapes, kinds)
    wild = hnp.arrays(np.float64, shapes, elements=st.floats())
    return st.one_of(numbers, things, odd, wild, st.builds(object), st.just(np.float32))


@st.composite
def arguments(draw, known, things=junk):
    """Draw arguments: those known, some of them replaced by other things."""
    given = {name: draw(strategy) for name, strategy in known.items()}
    for name in given:
        if draw(st.integers(0, 3)) == 0:
            given[name] = draw(things())
    return given


def judge(call, given):
    """Call; give "answer", or the name of an error that this library has raised.

    Any other error is let through: it is what the library must not show.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ted.TedWarning)
        try:
            call(**given)
        except MemoryError:
            return "MemoryError"
        except (ValueError, TypeError, ted.EpochError) as error:
            if not ours(error):
                raise
            return type(error).__name__
    return "answer"


def judge_load(run, state, bits):
    """Load; give "answer" if it went in whole, the error's name if nothing did."""
    before = bits(run.state_dict())
    try:
        run.load_state_dict(state)
    except (ted.CheckpointError, TypeError) as error:
        if not ours(error):
            raise
        assert bits(run.state_dict()) == before
        return type(error).__name__
    taken, given = bits(run.state_dict()), bits(state)
    lacking = taken.keys() - given.keys()
    assert all(DEFAULTED.match(name) for name in lacking)
    assert {name: taken[name] for name in taken.keys() - lacking} == given
    return "answer"


def ours(error):
    """Whether a `raise` of this library made it, with a name, a rule and a value."""
    trace = error.__traceback__
    while trace.tb_next is not None:
        trace = trace.tb_next
    path = Path(trace.tb_frame.f_code.co_filename)
    line = linecache.getline(str(path), trace.tb_lineno).strip()
    words = str(error)
    named = "`" in words and any(w in words for w in ("must", "need", "may", "is"))
    return bool(PACKAGES & set(path.parts)) and line.startswith("raise") and named
