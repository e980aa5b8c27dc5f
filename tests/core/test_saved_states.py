"""States that an earlier version wrote are loaded, and their runs go on as they did."""

from __future__ import annotations

import pytest
import saved_core
from saved_runs import FOLDER, read, same
from saved_states import CORE, SHARDS

import ted_core as ted
from ted_core.cli import main


@pytest.mark.parametrize("name", CORE)
def test_a_run_goes_on_from_the_state_of_an_earlier_version(name):
    expected = read(f"core/{name}")
    same(saved_core.resumed(f"core/{name}", CORE[name]), expected)
    assert expected.get("order_may_change", False) == CORE[name].drawn


@pytest.mark.parametrize("name", SHARDS)
def test_ranks_go_on_from_the_states_of_an_earlier_version(name):
    expected = read(f"shards/{name}")
    found = saved_core.on_all(f"shards/{name}", SHARDS[name])
    drawn = expected.get("order_may_change", False)
    for one, other in zip(found, expected["ranks"], strict=True):
        same(one, {**other, "order_may_change": drawn})


@pytest.mark.parametrize("name", CORE)
def test_the_state_of_an_earlier_version_is_inspected(name, capsys):
    assert main(["inspect", str(saved_core.path(f"core/{name}"))]) == 0
    state = ted.load_state(saved_core.path(f"core/{name}"))
    printed = [line.split() for line in capsys.readouterr().out.splitlines()]
    facts = {name: words for name, *words in filter(None, printed)}
    for fact in ("n", "epochs", "epoch", "seed"):
        assert facts[fact] == [str(state[fact])]


def test_each_kind_has_its_files_and_no_file_is_without_a_kind():
    for folder, kinds in (("core", CORE), ("shards", SHARDS)):
        written = {path.stem for path in (FOLDER / folder).glob("*.json")}
        saved = {path.name.split(".")[0] for path in (FOLDER / folder).glob("*.npz")}
        assert written == saved == kinds.keys()


@pytest.mark.parametrize("name", ["top_between", "greedy_within", "finished"])
def test_a_run_with_another_argument_is_refused_by_name(name):
    kind = CORE[name]
    pruner = ted.Pruner(40, epochs=8, **{**kind.options, "seed": 77})
    with pytest.raises(ted.CheckpointError, match="`seed` must equal the saved one"):
        pruner.load_state_dict(ted.load_state(saved_core.path(f"core/{name}")))
