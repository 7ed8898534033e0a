"""The causal networks of `transformers`, over our vocabulary, in any size.

No dropout unless `with_dropout` says so: on a CPU it costs more than it gives with 1 M parameters. The GELU is the
tanh form in torch's fused version: the same function as `gelu_new`, a fifth faster in training. Pads stand on the
right, where a causal network's real tokens cannot see them, so no pad id is set (with one, some networks look for pads
at every step). BART alone needs it: its class would take token 1, our start, for the pad, and learn nothing from
reading it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from transformers import (
    BartConfig,
    DynamicCache,
    GPT2Config,
    GPTJConfig,
    GPTNeoConfig,
    OpenAIGPTConfig,
    OpenAIGPTLMHeadModel,
)

from discovery import vocabulary
from discovery.vocabulary import END, PAD, START

CONTEXT = 32  # <start>, at most 30 atoms, <end>
OURS: Mapping[str, int] = {"vocab_size": vocabulary.SIZE, "bos_token_id": START, "eos_token_id": END}
NO_DROPOUT: Mapping[str, float] = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
DROPOUTS = (  # what the rates are called in the configurations of the families
    *NO_DROPOUT,
    *("resid_dropout", "embed_dropout", "attention_dropout", "dropout"),
    *("hidden_dropout_prob", "attention_probs_dropout_prob"),
)
GELU = "gelu_pytorch_tanh"

Step = Callable[[Any, torch.Tensor, DynamicCache], torch.Tensor]
"""(network, tokens of shape (rows, 1), cache of what was read) -> logits, shape (rows, 1, vocabulary)."""


def gpt_config(layers: int, width: int, heads: int) -> OpenAIGPTConfig:
    """GPT (Radford et al. 2018): norms after the residual sums. Its class knows no other name for the GELU."""
    return OpenAIGPTConfig(n_positions=CONTEXT, n_layer=layers, n_embd=width, n_head=heads, **OURS, **NO_DROPOUT)


def gpt2_config(layers: int, width: int, heads: int) -> GPT2Config:
    """GPT-2 (Radford et al. 2019): norms before attention and feed-forward, embedding and output tied."""
    return GPT2Config(
        n_positions=CONTEXT,
        n_layer=layers,
        n_embd=width,
        n_head=heads,
        activation_function=GELU,
        **OURS,
        **NO_DROPOUT,
    )


def gptneo_config(layers: int, width: int, heads: int) -> GPTNeoConfig:
    """GPT-Neo (Black et al. 2021): as GPT-2, scores not divided by a root, every second layer with a local window.

    The window of 256 tokens, as published, holds our whole context: local layers see as much as global ones.
    """
    types = [[["global", "local"], layers // 2]] + ([[["global"], 1]] if layers % 2 else [])
    return GPTNeoConfig(
        max_position_embeddings=CONTEXT,
        num_layers=layers,
        hidden_size=width,
        num_heads=heads,
        attention_types=types,
        activation_function=GELU,
        **OURS,
    )


def gptj_config(layers: int, width: int, heads: int) -> GPTJConfig:
    """GPT-J (Wang & Komatsuzaki 2021): rotary positions, attention beside the feed-forward, output layer of its own."""
    rotated = width // heads // 2 * 2  # the largest even number that a head holds
    return GPTJConfig(
        n_positions=CONTEXT,
        n_layer=layers,
        n_embd=width,
        n_head=heads,
        rotary_dim=rotated,
        activation_function=GELU,
        **OURS,
        **NO_DROPOUT,
    )


def bart_config(layers: int, width: int, heads: int) -> BartConfig:
    """The decoder of BART (Lewis et al. 2020) alone, feed-forward four times the width.

    Its layers hold weights of a cross-attention that nothing runs through: the class brings them with it.
    """
    sizes = {"layers": layers, "attention_heads": heads, "ffn_dim": 4 * width}
    return BartConfig(
        max_position_embeddings=CONTEXT,
        d_model=width,
        activation_function=GELU,
        dropout=0.0,
        pad_token_id=PAD,
        decoder_start_token_id=START,
        forced_eos_token_id=None,
        is_decoder=True,
        is_encoder_decoder=False,
        **{f"{side}_{name}": value for side in ("encoder", "decoder") for name, value in sizes.items()},
        **OURS,
    )


def with_dropout(config: Any, rate: float) -> Any:
    """The configuration, of any family, with one rate of dropout everywhere."""
    rates = {name: rate for name in DROPOUTS if hasattr(config, name)}
    return type(config).from_dict({**config.to_dict(), **rates})


def gpt_network(config: OpenAIGPTConfig) -> OpenAIGPTLMHeadModel:
    """A GPT whose GELU is the fused one: the same function."""
    network = OpenAIGPTLMHeadModel(config)
    for block in network.transformer.h:
        block.mlp.act = torch.nn.GELU(approximate="tanh")
    return network


def cached_step(network: Any, tokens: torch.Tensor, cache: DynamicCache) -> torch.Tensor:
    """One more token per row, by the network's own cache."""
    logits: torch.Tensor = network(input_ids=tokens, past_key_values=cache, use_cache=True).logits
    return logits


def gpt_step(network: OpenAIGPTLMHeadModel, tokens: torch.Tensor, cache: DynamicCache) -> torch.Tensor:
    """One more token per row of a GPT, whose class keeps nothing: its blocks, with keys and values from the cache."""
    body = network.transformer
    hidden = body.tokens_embed(tokens) + body.positions_embed.weight[cache.get_seq_length()]  # (rows, 1, width)
    for index, block in enumerate(body.h):
        parts = block.attn.c_attn(hidden).chunk(3, dim=-1)
        query, key, value = (part.unflatten(-1, (block.attn.n_head, -1)).transpose(1, 2) for part in parts)
        keys, values = cache.update(key, value, index)  # (rows, heads, tokens so far, width / heads)
        seen = torch.nn.functional.scaled_dot_product_attention(query, keys, values)
        hidden = block.ln_1(hidden + block.attn.c_proj(seen.transpose(1, 2).flatten(2)))
        hidden = block.ln_2(hidden + block.mlp(hidden))
    logits: torch.Tensor = network.lm_head(hidden)
    return logits
