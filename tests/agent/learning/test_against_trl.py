"""Loss and gradient equal those that TRL's trainers compute, over random masks, lengths and ratios.

GRPOTrainer's for the policy loss, DPOTrainer's for preferences. Both models are in float64, so that what could differ
are the formulas: in float32 rounding alone comes to 1e-5 in rare cases.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from journeyman.agent.learning.forward.scoring import Scorer
from journeyman.agent.learning.learner import Learner, LearnerSettings, TrainingRow
from journeyman.agent.learning.objective import Fixed, objective
from journeyman.agent.learning.preferences import Pair, PairLoss, apart, prefer
from journeyman.agent.learning.rows import denominators, most_uncertain

TEMPERATURE, MAX_COMPLETION, BETA = 0.7, 11, 0.1


@pytest.fixture(scope="module")
def trainer(policy, tmp_path_factory):
    datasets = pytest.importorskip("datasets")
    trl = pytest.importorskip("trl")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    args = trl.GRPOConfig(
        output_dir=str(tmp_path_factory.mktemp("trl")),
        report_to="none",
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        per_device_train_batch_size=4,
        num_generations=4,
        beta=BETA,  # makes the trainer load a reference model
        temperature=TEMPERATURE,
        max_completion_length=MAX_COMPLETION,
    )
    made = trl.GRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(policy.path),
        reward_funcs=lambda **_: [0.0],
        args=args,
        train_dataset=datasets.Dataset.from_dict({"prompt": ["w3"] * 4}),
        processing_class=AutoTokenizer.from_pretrained(policy.path),
    )
    made.current_gradient_accumulation_steps = 1
    made.args.steps_per_generation = 1
    with torch.no_grad():
        for parameter in made.ref_model.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    made.model.double()
    made.ref_model.double()
    return made


def padded(segments):
    """TRL's tensors: prompts padded on the left, completions on the right, holes of the loss mask as a tool mask."""
    rows = len(segments)
    prompt, longest = max(len(s.prompt_ids) for s in segments), max(len(s.completion_ids) for s in segments)
    widths = {"prompt_ids": prompt, "prompt_mask": prompt}
    widths |= dict.fromkeys(("completion_ids", "completion_mask", "tool_mask"), longest)
    inputs = {name: torch.zeros(rows, width, dtype=torch.long) for name, width in widths.items()}
    for row, segment in enumerate(segments):
        p, c = len(segment.prompt_ids), len(segment.completion_ids)
        inputs["prompt_ids"][row, prompt - p :] = torch.tensor(segment.prompt_ids)
        inputs["prompt_mask"][row, prompt - p :] = 1
        inputs["completion_ids"][row, :c] = torch.tensor(segment.completion_ids)
        inputs["completion_mask"][row, :c] = 1
        inputs["tool_mask"][row, :c] = torch.tensor(segment.loss_mask)
    return inputs


def theirs(trainer, segments, values, config, tokens, beta):
    """TRL's loss and gradient. `values`: for each segment its advantage, old, behaviour and reference log-probs."""
    inputs = padded(segments)
    mask = (inputs["completion_mask"] * inputs["tool_mask"]).bool()

    def spread(column):
        wide = torch.zeros(mask.shape)
        wide[mask] = torch.from_numpy(np.concatenate([v[column] for v in values]))
        return wide

    inputs["advantages"] = torch.tensor([v[0] for v in values], dtype=torch.float32)
    inputs["old_per_token_logps"] = spread(1)
    inputs["ref_per_token_logps"] = spread(3)
    inputs["num_items_in_batch"] = torch.tensor(float(tokens))
    inputs["importance_sampling_ratio"] = (spread(1) - spread(2)).exp().clamp(max=config.correction_max)
    trainer.loss_type, trainer.beta = "grpo" if config.loss == "gspo" else config.loss, beta
    trainer.importance_sampling_level = "sequence" if config.loss == "gspo" else "token"
    trainer.epsilon_low, trainer.epsilon_high = config.eps, config.eps if config.eps_high is None else config.eps_high
    trainer.args.use_bias_correction_kl = config.kl == "k3_ratio"
    trainer.top_entropy_quantile = config.top_entropy
    trainer.use_vllm = trainer.vllm_importance_sampling_correction = True
    trainer.model.train()
    trainer.model.zero_grad()
    loss = trainer._compute_loss(trainer.model, inputs)
    loss.backward()
    return loss.item(), gradient(trainer.model)


def ours(model, segments, values, config, beta):
    model.zero_grad()
    rows = [
        TrainingRow(replace(s, behaviour_logprobs=v[2]), v[0], reference=beta or None)
        for s, v in zip(segments, values, strict=True)
    ]
    scorer = Scorer(model, torch.float32, config.temperature, token_budget=48)
    (counts,) = denominators(rows, [range(len(rows))])
    if config.top_entropy < 1:
        entropies = scorer.logprobs_and_entropies(segments, range(len(segments)))[1]
        rows = most_uncertain(rows, entropies, config.top_entropy)
    fixed = Fixed(dict(enumerate(v[1] for v in values)), dict(enumerate(v[3] for v in values)) if beta else None)
    total = 0.0
    for batch_rows in scorer.plan(segments, range(len(segments))):
        batch, _, logprobs, entropy = scorer.forward(segments, batch_rows, entropy_moves=config.entropy_weight > 0)
        loss, _ = objective(logprobs, entropy, batch, rows, fixed, config, counts)
        loss.backward()
        total += loss.item()
    return total, gradient(model)


def gradient(model):
    return torch.cat([p.grad.flatten() for p in model.parameters()]).double()


PLAIN = 0.0
CASES = [
    (LearnerSettings(loss="grpo"), PLAIN),
    (LearnerSettings(loss="gspo", eps=3e-2, eps_high=4e-2), PLAIN),
    (LearnerSettings(loss="grpo", kl="k3"), BETA),
    (LearnerSettings(loss="grpo", kl="k3_ratio"), BETA),
    (LearnerSettings(loss="bnpo", eps_high=0.28), PLAIN),
    (LearnerSettings(loss="dr_grpo", max_completion=MAX_COMPLETION), PLAIN),
    (LearnerSettings(loss="dr_grpo", max_completion=MAX_COMPLETION, kl="k3"), BETA),
    (LearnerSettings(loss="dapo", eps_high=0.28), PLAIN),
    (LearnerSettings(loss="dapo", kl="k3"), BETA),
    (LearnerSettings(loss="cispo", eps_high=1.1), PLAIN),
    (LearnerSettings(loss="sapo"), PLAIN),
    (LearnerSettings(loss="grpo", kl="k3", top_entropy=0.25), BETA),
]


@pytest.mark.parametrize(
    ("config", "beta"), CASES, ids=[f"{c.loss}-{c.kl if b else 'plain'}-{c.top_entropy}" for c, b in CASES]
)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1))
def test_loss_and_gradient_equal_trls(trainer, segments_of, config, beta, seed):
    config = replace(config, temperature=TEMPERATURE)
    segments = segments_of(seed)
    chance = np.random.default_rng(seed)
    current = Scorer(trainer.model, torch.float32, TEMPERATURE).logprobs(segments, range(len(segments)))
    reference = Scorer(trainer.ref_model, torch.float32, TEMPERATURE).logprobs(segments, range(len(segments)))
    values = []
    for i in range(len(segments)):
        old, behaviour = (current[i] + chance.normal(0, s, current[i].shape).astype(np.float32) for s in (0.25, 0.5))
        values.append((float(chance.normal()), old, behaviour, reference[i]))
    tokens = sum(int(s.loss_mask.sum()) for s in segments)

    their_loss, their_gradient = theirs(trainer, segments, values, config, tokens, beta)
    our_loss, our_gradient = ours(trainer.model, segments, values, config, beta)

    # a loss is a sum whose terms are about as large as the advantages and may cancel: float32 errs by those terms
    size = max(abs(their_loss), np.mean([abs(advantage) for advantage, *_ in values]))
    assert abs(our_loss - their_loss) <= 1e-5 * size
    assert (our_gradient - their_gradient).norm() <= 1e-5 * their_gradient.norm()


@pytest.fixture(scope="module")
def preference_trainer(policy, tmp_path_factory):
    datasets = pytest.importorskip("datasets")
    trl = pytest.importorskip("trl")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    args = trl.DPOConfig(
        output_dir=str(tmp_path_factory.mktemp("trl-dpo")),
        report_to="none",
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
    )
    made = trl.DPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(policy.path),
        ref_model=AutoModelForCausalLM.from_pretrained(policy.path),
        args=args,
        train_dataset=datasets.Dataset.from_dict({"prompt": ["w3"], "chosen": [" w4"], "rejected": [" w5"]}),
        processing_class=AutoTokenizer.from_pretrained(policy.path),
    )
    made.model.double()
    made.ref_model.double()
    return made


@pytest.fixture(scope="module")
def learner(policy):
    config = LearnerSettings(max_grad_norm=1e9, micro_batch_tokens=48, device="cpu")
    made = Learner(policy, config, reference=policy)
    made.model.double()
    return made


def random_pairs(segments_of, seed):
    """Of attempts at one task each; some attempts are in several pairs."""
    groups = {}
    for segment in segments_of(seed, groups=5):
        groups.setdefault(segment.prompt_ids.tobytes(), []).append(segment)
    chance = np.random.default_rng(seed)
    pairs = []
    for members in groups.values():
        for _ in range(len(members) - 1):
            chosen, rejected = chance.choice(len(members), 2, replace=False)
            pairs.append(Pair((members[chosen],), (members[rejected],)))
    return pairs


def their_preference_loss(trainer, pairs, loss, beta, nll_weight):
    inputs = padded([pair.chosen[0] for pair in pairs] + [pair.rejected[0] for pair in pairs])
    told = {
        "input_ids": torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1),
        "attention_mask": torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], 1),
        "completion_mask": torch.cat([0 * inputs["prompt_mask"], inputs["tool_mask"]], 1),
    }
    trainer.loss_types, trainer.loss_weights, trainer.beta = [loss, "sft"], [1.0, nll_weight], beta
    trainer.model.train()
    trainer.model.zero_grad()
    found = trainer._compute_loss(trainer.model, told, return_outputs=False)
    found.backward()
    return (
        found.item(),
        gradient(trainer.model),
        {name: values[-1] for name, values in trainer._metrics["train"].items()},
    )


@pytest.mark.parametrize(("loss", "theirs"), [("dpo", "sigmoid"), ("ipo", "ipo"), ("apo_zero", "apo_zero")])
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1), beta=st.floats(0.01, 2.0), nll_weight=st.sampled_from([0.0, 0.4]))
def test_preferences_equal_trls(preference_trainer, learner, segments_of, loss, theirs, seed, beta, nll_weight):
    pairs = random_pairs(segments_of, seed)
    assume(any(pair.chosen[0].loss_mask.any() for pair in map(apart, pairs)))  # TRL takes a mean of no tokens else
    trainer = preference_trainer
    chance = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for own, other, start in zip(
            learner.model.parameters(), trainer.model.parameters(), trainer.ref_model.parameters(), strict=True
        ):
            other.copy_(start + 0.05 * torch.randn(start.shape, generator=chance))
            own.copy_(other)
    apart_pairs = [apart(pair) for pair in pairs]
    their_loss, their_gradient, metrics = their_preference_loss(trainer, apart_pairs, theirs, beta, nll_weight)
    stats = prefer(learner, pairs, PairLoss(loss, beta, nll_weight), seed=0, learning_rate=0.0)

    assert stats["loss"] == pytest.approx(their_loss, rel=1e-5)
    assert (gradient(learner.model) - their_gradient).norm() <= 1e-5 * their_gradient.norm()
    assert stats["accuracy"] == pytest.approx(metrics["rewards/accuracies"], abs=1e-6)
    for name, metric in (("margin", "margins"), ("chosen_log_ratio", "chosen"), ("rejected_log_ratio", "rejected")):
        assert beta * stats[name] == pytest.approx(metrics[f"rewards/{metric}"], rel=1e-4, abs=1e-5)
