from __future__ import annotations

import numpy as np
import parallel_run
import pytest


@pytest.fixture(scope="module")
def ranks(rank_records):
    return rank_records["parallel"]


@pytest.fixture(scope="module", params=parallel_run.SITES)
def alone(request):
    return request.param, parallel_run.trained(lambda net: net, request.param)


@pytest.mark.parametrize("wrap", parallel_run.WRAPS)
def test_training_in_parallel_is_that_of_one_process_with_its_batches(
    ranks, alone, wrap
):
    site, want = alone
    for record in ranks:
        found = record[f"{wrap} {site}"]
        assert found["orders"] == want["orders"]
        np.testing.assert_allclose(found["scores"], want["scores"], rtol=2e-4)
        np.testing.assert_allclose(found["losses"], want["losses"], rtol=2e-4)
        assert found["scores"] == ranks[0][f"{wrap} {site}"]["scores"]


@pytest.mark.parametrize("wrap", parallel_run.WRAPS)
def test_the_steps_of_a_process_are_those_promised(ranks, alone, wrap):
    site, _ = alone
    for record in ranks:
        steps, foretold = record[f"{wrap} {site}"]["steps"]
        assert steps == foretold


def test_ddp_may_leave_out_the_exchange_of_accumulated_gradients(ranks):
    for record in ranks:
        want, found = record["accumulated"], record["accumulated, no_sync"]
        assert found["orders"] == want["orders"]
        assert found["steps"] == [want["steps"][1]] * 2
        assert want["steps"][0] < record["DDP logits"]["steps"][0]
        np.testing.assert_allclose(found["scores"], want["scores"], rtol=1e-5)
        np.testing.assert_allclose(found["losses"], want["losses"], rtol=1e-5)
