"""Where the mask stands in a language model; tiny random ones of Hugging Face."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import vector_delta
from ted_torch import segment_losses, segment_mask
from ted_torch._losses import per_sample
from torch.nn import functional as F  # noqa: N812
from torch_runs import opened, recorded
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
)

WORDS = 32
SIZES = {"vocab_size": WORDS, "hidden_size": 16, "intermediate_size": 24}
SIZES |= {"num_hidden_layers": 2, "num_attention_heads": 2}
LENGTHS = [3, 7, 5, 2, 6]


@pytest.fixture(scope="module")
def llama():
    torch.manual_seed(0)
    config = LlamaConfig(**SIZES, max_position_embeddings=64, use_cache=False)
    return LlamaForCausalLM(config).eval()


@pytest.fixture(scope="module")
def bert():
    torch.manual_seed(0)
    config = BertConfig(**SIZES, max_position_embeddings=64, num_labels=3)
    return BertForSequenceClassification(config).eval()


def batch(lengths, seed=0):
    """Give padded tokens, which are none, and whose next word counts."""
    generator = torch.Generator().manual_seed(seed)
    shape = len(lengths), max(lengths)
    tokens = torch.randint(0, WORDS, shape, generator=generator)
    valid = torch.arange(shape[1]) < torch.tensor(lengths)[:, None]
    answers = valid[:, 1:] & (torch.arange(shape[1] - 1) >= 1)
    return tokens, valid, answers


def any_answer(lengths):
    return max(lengths) > 2


def token_losses(logits, tokens):
    return F.cross_entropy(logits[:, :-1].mT, tokens[:, 1:], reduction="none")


@settings(deadline=None, max_examples=10)
@given(lengths=st.lists(st.integers(2, 9), min_size=1, max_size=5).filter(any_answer))
def test_the_heads_input_brings_the_value_of_the_logits(llama, lengths):
    tokens, valid, answers = batch(lengths)
    scores = []
    for site in range(2):
        ted = opened(range(len(lengths)))
        given = {"input_ids": tokens, "attention_mask": valid.long()}
        hidden = llama.model(**given).last_hidden_state
        logits = llama.lm_head(hidden)
        losses, mask = token_losses(logits, tokens), (hidden, logits)[site]
        ids = torch.arange(len(lengths))
        ted.loss(losses, mask=mask, ids=ids, valid=answers).backward()
        scores.append(recorded(ted))
    # A sequence without an answer has no value.
    torch.testing.assert_close(*scores, rtol=1e-4, atol=1e-6, equal_nan=True)


def pack(lengths, width):
    """Give rows of (segment, position), first fit in order."""
    rows = []
    for sample, length in enumerate(lengths):
        if not rows or len(rows[-1]) + length > width:
            rows.append([])
        rows[-1] += [(sample, place) for place in range(length)]
    longest = max(len(row) for row in rows)
    rows = [row + [(-1, p) for p in range(longest - len(row))] for row in rows]
    return torch.tensor(rows).unbind(-1)


def test_packed_rows_bring_the_scores_of_one_sequence_at_a_time(llama):
    tokens, _, answers = batch(LENGTHS)
    segments, positions = pack(LENGTHS, 9)
    place = segments.clamp(min=0), positions.clamp(max=max(LENGTHS) - 1)
    words = llama.get_input_embeddings()(tokens)[place]
    states = llama.model(inputs_embeds=words, position_ids=positions)
    rows, masks = segment_mask(states.last_hidden_state, segments, len(LENGTHS))
    wanted = F.pad(answers, (0, 1))[place] & (segments >= 0)
    following = F.pad(tokens[:, 1:], (0, 1))[place]
    losses = F.cross_entropy(llama.lm_head(rows).mT, following, reduction="none")
    losses = segment_losses(losses, segments, len(LENGTHS), valid=wanted)
    ted = opened(range(len(LENGTHS)))
    valid = answers.any(1)  # a sequence without an answer has weight 0
    ids = torch.arange(len(LENGTHS))
    ted.loss(losses, mask=masks, ids=ids, valid=valid).backward()
    alone = opened(range(len(LENGTHS)))
    for sample, length in enumerate(LENGTHS):
        one = tokens[sample : sample + 1, :length]
        hidden = llama.model(input_ids=one).last_hidden_state
        own = token_losses(llama.lm_head(hidden), one)
        counts = answers[sample : sample + 1, : length - 1]
        ids = torch.tensor([sample])
        mean = per_sample(own, valid=counts)
        torch.testing.assert_close(losses[sample : sample + 1], mean)
        alone.loss(own, mask=hidden, ids=ids, valid=counts).backward()
    ours, theirs = recorded(ted), recorded(alone)
    assert ours.isnan().tolist() == (~valid).tolist()
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6, equal_nan=True)


def test_the_mask_on_word_embeddings_stands_before_position_and_norm(bert):
    tokens, valid, _ = batch(LENGTHS)
    y, ids = torch.arange(len(LENGTHS)) % 3, torch.arange(len(LENGTHS))
    attend = {"attention_mask": valid.long()}
    ted = opened(range(len(LENGTHS)))
    words = ted.mask(bert.get_input_embeddings()(tokens), ids=ids)
    logits = bert(inputs_embeds=words, **attend).logits
    ted.loss(F.cross_entropy(logits, y, reduction="none"), ids=ids).backward()
    scores = recorded(ted)
    bert.double()
    words = bert.get_input_embeddings()(tokens).detach()
    want = vector_delta.values(
        lambda x: x,
        lambda h: bert(inputs_embeds=h, **attend).logits,
        lambda z, y: F.cross_entropy(z, y, reduction="none"),
        words,
        y,
    )
    bert.float()
    np.testing.assert_allclose(scores, want, rtol=1e-3, atol=1e-6)
    assert scores.min() > 1e-4  # at the sum, which a layer norm reads, they would be 0


def test_at_the_feature_of_a_linear_rating_the_value_lacks_the_heads_bias_alone():
    torch.manual_seed(1)
    h, head, y = torch.randn(6, 4), torch.nn.Linear(4, 1), torch.rand(6) * 5
    found = []
    for site in range(2):
        ted, feature = opened(range(6)), h.clone().requires_grad_()
        z = head(feature)[:, 0]
        ted.loss((z - y) ** 2, mask=(z, feature)[site], ids=torch.arange(6)).backward()
        found.append(recorded(ted))
    z, bias = head(h)[:, 0].detach(), head.bias.detach()
    torch.testing.assert_close(found[0], (2 * z * (z - y)).abs())
    torch.testing.assert_close(found[1], (2 * (z - bias) * (z - y)).abs())
