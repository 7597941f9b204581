"""Tiny models whose greedy choices are decisive, and a LoRA adapter."""

import numpy as np
import pytest
import torch

from journeyman.agent.data import PolicyRef
from journeyman.agent.manifests import seal, version_of
from journeyman.agent.models import load_causal_lm, make_tiny


@pytest.fixture(scope="session")
def policies(tmp_path_factory):
    """Three full policies of one shape; their logits are spread out, so that rounding cannot swap the best two."""
    root = tmp_path_factory.mktemp("policies")
    refs = []
    for number in range(3):
        folder = make_tiny(root / f"v{number}", number)
        refs.append(PolicyRef(number, str(folder)))
        model = load_causal_lm(PolicyRef(0, str(folder)), dtype=torch.float32, device="cpu")
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if weight.dim() == 2:
                    weight.mul_(20 if name == "lm_head.weight" else 3)
        model.save_pretrained(folder)
        seal(folder, version_of(folder), parent=None, base=None)
    return refs


@pytest.fixture(scope="session")
def adapters(policies, tmp_path_factory):
    """Two adapters on the first policy that change its choices."""
    from peft import LoraConfig, get_peft_model

    refs = []
    for number in (4, 5):
        folder = tmp_path_factory.mktemp("adapters") / f"v{number}"
        base = load_causal_lm(policies[0], dtype=torch.float32, device="cpu")
        torch.manual_seed(number)
        targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
        config = LoraConfig(r=4, lora_alpha=8, target_modules=targets, init_lora_weights=False)
        get_peft_model(base, config).save_pretrained(folder)
        seal(folder, version_of(folder), parent=None, base=policies[0].path)
        refs.append(PolicyRef(number, policies[0].path, str(folder)))
    return refs


@pytest.fixture(scope="session")
def prompts():
    """Prompts of bytes, short and over 300 tokens (more than two of vLLM's default cache blocks on CPU)."""
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, n).tolist() for n in (5, 30, 31, 33, 300, 310, 390)]


@pytest.fixture(scope="session")
def truth():
    """Greedy tokens and their log-probs by full forward passes without any cache.

    They stop before a token whose lead over the runner-up is so small that rounding could decide.
    """
    known = {}

    def compute(policy, prompt, steps):
        key = (policy, tuple(prompt), steps)
        if key not in known:
            known[key] = greedy_path(load_causal_lm(policy, dtype=torch.float32, device="cpu"), prompt, steps)
        return known[key]

    return compute


@torch.inference_mode()
def greedy_path(model, prompt, steps):
    tokens, logprobs = [], []
    while len(tokens) < steps:
        best = model(torch.tensor([[*prompt, *tokens]])).logits[0, -1].log_softmax(-1).topk(2)
        if best.values[0] - best.values[1] < 0.01:
            break
        tokens.append(int(best.indices[0]))
        logprobs.append(float(best.values[0]))
    return tokens, logprobs
