"""Tiny random models of every architecture that transformers builds: default configurations with their sizes shrunk."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

import numpy as np
import torch
import transformers
from transformers import CONFIG_MAPPING
from transformers.models.auto import modeling_auto

from journeyman.agent.data import Segment
from journeyman.agent.learning.forward.layouts import plan
from journeyman.agent.learning.forward.scoring import Scorer

VOCABULARY = 99

_SIZES: dict[int, tuple[str, ...]] = {
    VOCABULARY: ("vocab_size", "vocab_size_per_layer_input", "encoder_hash_byte_group_vocab", "shape_vocab_size"),
    512: ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "context_length", "max_target_positions"),
    256: ("max_source_positions", "position_bias_max_distance"),
    64: ("intermediate_size", "moe_intermediate_size", "decoder_ffn_dim", "encoder_ffn_dim", "dim_ff", "dff", "ffn_dim",
         "shared_expert_intermediate_size", "shared_intermediate_size", "intermediate_size_mlp", "ffn_hidden_size",
         "expert_ffn_hidden_size", "dense_intermediate_size", "feed_forward_size", "d_inner", "n_inner",
         "moe_shared_expert_intermediate_size", "prompt_mid_dim", "mamba_d_ssm", "classifier_proj_size"),
    32: ("hidden_size", "d_model", "n_embd", "emb_dim", "embedding_size", "input_embedding_size", "lru_width",
         "output_embedding_size", "projection_dim", "linear_num_heads_size"),
    16: ("q_lora_rank", "kv_lora_rank", "o_lora_rank", "mamba_d_state", "hidden_size_per_layer_input",
         "router_hidden_size", "adapter_rank", "laurel_rank", "pronunciation_embed_dim", "shape_embed_dim",
         "state_size", "ssm_state_size", "num_mel_bins", "gated_norm_rank", "hc_lowrank", "mamba_head_dim"),
    8: ("head_dim", "v_head_dim", "qk_rope_head_dim", "qk_nope_head_dim", "swa_head_dim", "index_head_dim", "dim_head",
        "linear_key_head_dim", "linear_value_head_dim", "linear_head_dim", "kv_channels", "attention_head_size",
        "global_head_dim", "rotary_dim", "query_pre_attn_scalar", "d_rel", "block_size"),
    4: ("num_attention_heads", "decoder_attention_heads", "encoder_attention_heads", "n_head", "n_heads", "num_heads",
        "attention_heads", "num_encoder_attention_heads", "num_decoder_attention_heads", "num_experts",
        "n_routed_experts", "num_local_experts", "moe_num_experts", "index_n_heads", "linear_num_key_heads",
        "linear_num_value_heads", "linear_num_heads", "swa_num_attention_heads", "mamba_num_heads", "mamba_n_heads"),
    2: ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers", "encoder_layers",
        "num_encoder_layers", "num_decoder_layers", "num_key_value_heads", "swa_num_key_value_heads",
        "num_experts_per_tok", "n_groups", "moe_topk", "top_k_experts", "num_codebooks", "depth"),
    1: ("n_group", "topk_group", "n_shared_experts", "num_global_key_value_heads", "first_k_dense_replace"),
    9: ("sliding_window", "attention_chunk_size", "window_size", "sliding_window_size", "local_attention",
        "attention_window_size"),
}  # fmt: skip
SMALL = {name: size for size, names in _SIZES.items() for name in names}

_MLA = {"num_key_value_heads": 4}
_HEADED = {"head_dim": 8, "num_key_value_heads": 2}
_AXES = {
    "rope_parameters": {
        "rope_type": "default",
        "rope_theta": 1e4,
        "mrope_section": [1, 1, 2],
        "partial_rotary_factor": 1.0,
    }
}
EXCEPTIONS: dict[str, dict[str, Any]] = {
    "axk1": _MLA,
    "axk2": _MLA,
    "blt": {"encoder_hash_byte_group_size": [3, 4]},
    "blt_global_transformer": {"intermediate_size": 64},
    "blt_local_decoder": {"hidden_size_global": 32, "intermediate_size": 64},
    "blt_local_encoder": {"hidden_size_global": 32, "intermediate_size": 64},
    "cohere_compass_text": {
        "rope_parameters": {
            kind: {"rope_type": "default", "rope_theta": 1e4} for kind in ("full_attention", "sliding_attention")
        }
    },
    "deepseek_v2": _MLA | {"num_experts_per_tok": 2},
    "deepseek_v3": _MLA,
    "deepseek_v32": _MLA,
    "dots1": {"n_routed_experts": 4, "num_experts_per_tok": 2, "n_shared_experts": 1},
    "ernie4_5_moe": {"moe_k": 2},
    "gemma3n_text": {"num_kv_shared_layers": 0},
    "glm4_moe_lite": _MLA,
    "glm4v_text": _AXES,
    "glm4v_moe_text": _AXES,
    "glm_ocr_text": _AXES,
    "glm_moe_dsa": _MLA,
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "hrm_text": {"initializer_range": 0.1},
    "hunyuan_v1_dense": _HEADED,
    "hunyuan_v1_moe": _HEADED,
    "lfm2_moe": {"layer_types": ["conv", "full_attention"], "num_dense_layers": 1},
    "mamba2": {"num_heads": 8},
    "minicpm3": _MLA | {"initializer_range": 0.1},
    "ministral": _HEADED,
    "nemotron": _HEADED,
    "paddleocr_vl_text": _AXES,
    "qwen2_5_omni_text": _AXES,
    "qwen2_5_vl_text": _AXES,
    "qwen2_vl_text": _AXES,
    "qwen3_5_text": {"initializer_range": 0.1},
    "reformer": {"axial_pos_embds_dim": (16, 16), "axial_pos_shape": (8, 8), "max_position_embeddings": 64},
    "xmod": {"default_language": "en_XX"},
    "youtu": _MLA,
    "zamba": {"layers_block_type": ["mamba", "hybrid", "hybrid"], "num_hidden_layers": 3},
    "zamba2": {"layers_block_type": ["mamba", "hybrid"]},
    "zaya": {"num_experts_per_tok": 1},
}
"""By model type, what the shrunken sizes do not fit together for."""


def causal_types() -> list[str]:
    """Every model type that has a causal language model."""
    return list(modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


def tiny_config(model_type: str) -> Any:
    """A configuration with two layers of width 32, 99 tokens and windows of 9 tokens."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _shrunk(CONFIG_MAPPING[model_type])


def _shrunk(kind: Any) -> Any:
    known = {field.name: field.default for field in dataclasses.fields(kind)}
    told = {name: size for name, size in SMALL.items() if known.get(name) is not None and name in known}
    told |= {
        name: index for name, index in (("bos_token_id", 1), ("eos_token_id", 1), ("pad_token_id", 2)) if name in known
    }
    told |= {"initializer_range": 0.3} if "initializer_range" in known else {}
    told |= {name: True for name in ("is_decoder",) if name in known}
    for name, sub in (getattr(kind, "sub_configs", None) or {}).items():
        told[name] = _shrunk(type(getattr(kind(), name)) if sub is transformers.AutoConfig else sub)
    return kind(**(told | EXCEPTIONS.get(kind.model_type, {})))


def multimodal_types() -> list[str]:
    """Every model type whose text is written by a class that is for images or sound too."""
    known = {
        **modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
        **modeling_auto.MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES,
    }
    return [name for name in known if name not in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES]


def tiny_model(model_type: str) -> Any:
    """The model in evaluation mode with random weights, which depend on its shape alone."""
    config = tiny_config(model_type)
    causal = model_type in modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    kind: Any = transformers.AutoModelForCausalLM if causal else transformers.AutoModelForMultimodalLM
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return kind.from_config(config).eval()


@dataclasses.dataclass(frozen=True)
class Gaps:
    """How far the learner is from a plain forward pass, in plain, padded, flat micro-batches (None: it makes none)."""

    logprobs: tuple[float, float, float | None]
    """The largest of a token, in nats."""
    gradients: tuple[float, float, float | None]
    """The norm of the difference, as a share of the gradient's."""


def gaps(model: Any, groups: int = 3) -> Gaps:
    """Compares random groups of segments; raises UsageError where the learner refuses the model."""
    scorer = Scorer(model, torch.float32, temperature=0.8)
    work = scorer.work
    segments = _segments(groups)
    wanted = [i for i, s in enumerate(segments) if s.loss_mask.any()]
    weight = {
        i: torch.randn(int(segments[i].loss_mask.sum()), generator=torch.Generator().manual_seed(i)) for i in wanted
    }
    expected = {i: _alone(model, segments[i], 0.8) for i in wanted}
    target = _gradient(model, sum((expected[i] * weight[i]).sum() for i in wanted))
    found: list[tuple[float | None, float | None]] = []
    plain = dataclasses.replace(work, shares_prompts=False)
    for layout, budget in ((plain, 1), (plain, 64), (work, 64)):
        if layout is work and not work.shares_prompts:
            found.append((None, None))
            continue
        pieces: dict[int, Any] = {}
        for rows in plan(segments, wanted, layout, budget):
            batch, _, logprobs_RT, _ = scorer.forward(segments, rows)
            pieces |= {i: logprobs_RT[r][batch.mask_RT[r] > 0] for r, i in enumerate(batch.members)}
        gap = max(float((pieces[i] - expected[i]).detach().abs().max()) for i in wanted)
        gradient = _gradient(model, sum((pieces[i] * weight[i]).sum() for i in wanted))
        found.append((gap, float((gradient - target).norm() / target.norm())))
    logprobs, gradients = zip(*found, strict=True)
    return Gaps(logprobs, gradients)


def _segments(groups: int) -> list[Segment]:
    """Groups of four completions behind prompts of one to nine tokens, with holes in what is trained."""
    chance = np.random.default_rng(0)
    segments = []
    for _ in range(groups):
        prompt = chance.integers(3, VOCABULARY, chance.integers(1, 10)).astype(np.int32)
        for _ in range(4):
            ids = chance.integers(3, VOCABULARY, chance.integers(1, 8)).astype(np.int32)
            segments.append(Segment(prompt, ids, chance.random(len(ids)) < 0.7, None))
    return segments


def _alone(model: Any, segment: Segment, temperature: float) -> Any:
    """Log-probs of a segment's trained tokens the plain way."""
    ids = torch.tensor(np.concatenate([segment.prompt_ids, segment.completion_ids]), dtype=torch.long)
    logprobs_LV = (model(input_ids=ids[None], use_cache=False).logits[0, :-1].float() / temperature).log_softmax(-1)
    taken = logprobs_LV.gather(-1, ids[1:, None])[len(segment.prompt_ids) - 1 :, 0]
    return taken[torch.from_numpy(segment.loss_mask)]


def _gradient(model: Any, loss: Any) -> Any:
    model.zero_grad()
    loss.backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
