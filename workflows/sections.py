"""The sections of the settings file: one class a table, each field with its default, range and what it means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator

from journeyman.agent.data import Json
from journeyman.agent.errors import suggestion
from journeyman.storage.hindsight import Strategy
from journeyman.storage.replay_pools import Kind
from journeyman.verifiers.rewrites import REWRITES
from journeyman.verifiers.rubric import Term


def _numbers_are_weights(rubric: Any) -> Any:
    if not isinstance(rubric, Mapping):
        return rubric
    is_number = {name: isinstance(term, int | float) for name, term in rubric.items()}
    return {name: {"weight": term} if is_number[name] else term for name, term in rubric.items()}


Terms: TypeAlias = Annotated[Mapping[str, Term], BeforeValidator(_numbers_are_weights)]
"""A rubric as settings write it: verifier names with a weight, or a table of `weight`, `gate` and `shaping`."""


class Section(BaseModel):
    """A table of the settings file."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


class RunSettings(Section):
    """What the run is called and how it is driven."""

    name: str = Field(default="journeyman", min_length=1, max_length=100, pattern=r"^[\w.-]+$")
    """Of the run; letters, digits, ".", "_" and "-"."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Key of all random numbers, and of the `tiny` model's weights."""
    iterations: int = Field(default=8, ge=0)
    """Turns of the loop after the warm start."""
    engine: Literal["prefect", "none"] = "prefect"
    """`none` runs the same stages without Prefect."""
    continues: bool = False
    """Begin with the newest promoted policy of the earlier runs of this name (scheduled runs do)."""
    output: str = "runs"
    """Folder for plots and summaries; each run gets one of its own in it."""


class StoreSettings(Section):
    """Where rows and weights live."""

    url: str = "sqlite:///runs/journeyman.db"
    """SQLAlchemy URL of the database; it may not hold a password."""
    artifacts: str = "runs/artifacts"
    """Folder of the weights."""
    keep_last: int = Field(default=2, ge=1)
    """Weights kept beside the promoted ones: those of the last so many versions."""


class TaskSettings(Section):
    """How many tasks of each split; they are disjoint by canonical hash."""

    train: int = Field(default=2000, ge=1)
    """Learned from."""
    validation: int = Field(default=200, ge=1)
    """Decide when the warm start stops and what is promoted."""
    test: int = Field(default=500, ge=0)
    """Reported at the end, and nothing else."""


class VerificationSettings(Section):
    """What one verdict may use in a worker process; what takes more is recorded as `timeout` or `error`, never as 0."""

    seconds: float = Field(default=10.0, gt=0)
    """Wall-clock time."""
    cpu_seconds: int = Field(default=10, ge=0)
    """Time on a processor; 0 is no limit."""
    memory_mb: int = Field(default=4096, ge=0)
    """Address space of a worker; 0 is no limit."""
    workers: int = Field(default=0, ge=0)
    """Worker processes; 0 is one for each core."""


class ModelSettings(Section):
    """The model to begin with."""

    name: str = "tiny"
    """`tiny`, a folder, or a Hugging Face name."""
    hidden: int = Field(default=128, ge=16)
    """Width of `tiny`: an even number below 64, or a multiple of 32."""
    layers: int = Field(default=4, ge=1)
    """Depth of `tiny`."""
    tool_format: Literal["auto", "hermes", "positional"] = "auto"
    """How tool calls are written; `auto` is what the model's tokenizer says, else hermes."""
    lora_rank: int = Field(default=0, ge=0)
    """0 trains the full weights."""
    lora_alpha: int = Field(default=32, ge=1)
    """Scale of the adapter, over its rank."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of weights and activations; `auto` is bfloat16 on a GPU, else float32."""

    @field_validator("hidden")
    @classmethod
    def _has_heads(cls, hidden: int) -> int:
        if hidden % 32 and (hidden > 64 or hidden % 2):
            raise ValueError("attention heads are 32 wide: write an even number below 64, or a multiple of 32")
        return hidden


class SamplerSettings(Section):
    """The engine that generates."""

    kind: Literal["auto", "vllm", "transformers"] = "auto"
    """`auto` is vLLM where it is installed."""
    batch: int = Field(default=256, ge=1)
    """Completions under way at once."""
    max_context: int = Field(default=1024, ge=16)
    """Tokens of prompt and completion together."""
    gpu_memory: float = Field(default=0.4, gt=0, le=1)
    """Share of a GPU's memory that vLLM takes; the learner needs the rest."""


class OptimizerSettings(Section):
    """AdamW, for the warm start and for every update."""

    beta1: float = Field(default=0.9, ge=0, lt=1)
    """Decay of the gradient's mean."""
    beta2: float = Field(default=0.999, ge=0, lt=1)
    """Decay of its square's mean."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Of matrices only."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    """Longer gradients are cut to this."""


class WarmStartSettings(Section):
    """Behavioural cloning of demonstrations, stopped early by validation."""

    demonstrations: int = Field(default=500, ge=0)
    """At most so many; 0 begins with the base model."""
    file: str | None = None
    """JSONL of chat messages to learn from, instead of the environment's expert."""
    max_epochs: int = Field(default=60, ge=1)
    """Passes over the demonstrations."""
    check_every: int = Field(default=2, ge=1)
    """Epochs between two looks at the share of validation tasks solved."""
    patience: int = Field(default=5, ge=1)
    """Looks without a better share before it stops."""
    batch: int = Field(default=64, ge=1)
    """Demonstrations of one optimizer step."""
    learning_rate: float = Field(default=1e-3, gt=0)
    """At its highest; it decays to 0 at `max_epochs`."""
    warmup: float = Field(default=0.05, gt=0, lt=1)
    """Share of the steps of `max_epochs`."""


class GenerateSettings(Section):
    """Attempts made in an iteration."""

    tasks: int = Field(default=256, ge=1)
    """Training tasks of an iteration."""
    attempts: int = Field(default=8, ge=1)
    """G, the size of a group."""
    temperature: float = Field(default=1.0, gt=0)
    """The learner learns the distribution at this temperature."""
    max_tokens: int = Field(default=64, ge=1)
    """Of one turn."""
    chunk: int = Field(default=64, ge=1)
    """Tasks whose groups are generated and stored in one piece; an interrupted piece is redone whole."""
    lease_seconds: float = Field(default=120.0, gt=0)
    """How long a worker may be silent before its piece goes to another; it renews its lease while at work."""


class CurriculumSettings(Section):
    """Which training tasks an iteration attempts."""

    strategy: Literal["passes", "ucb", "thompson"] = "passes"
    """Pass after pass over all, or those whose groups promise contrast by UCB or Thompson sampling."""
    explore: float = Field(default=0.25, ge=0)
    """Of `ucb`: weight of the bonus for being tried seldom; 1 is UCB1's own."""
    max_age: int = Field(default=8, ge=1)
    """Iterations back whose attempts tell a task's success rate; the policy has changed since older ones."""


class NoveltySettings(Section):
    """A bonus on the reward for reaching what was seldom reached: goals, or final texts where there are no goals."""

    kind: Literal["none", "counts", "rnd"] = "none"
    """`counts` is 1 / sqrt(n); `rnd` the error of predicting a random network, over its running deviation."""
    weight: float = Field(default=0.1, ge=0)
    """What the bonus is multiplied by; the rubric's weights are its measure."""
    scope: Literal["run", "task"] = "run"
    """Of `counts`: whether what was reached is counted over the whole run, or for each task apart."""
    memory: int = Field(default=10_000, ge=0)
    """Attempts of earlier iterations that are remembered, the newest ones."""


class RelabelSettings(Section):
    """Hindsight: failed attempts told anew for goals they did reach."""

    strategies: tuple[Strategy, ...] = (Strategy.FINAL,)
    """Of `final`, `future`, `episode` and `best`; empty tells no attempt alone."""
    draws: int = Field(default=2, ge=1)
    """Goals that `future` and `episode` draw each."""
    groups: int = Field(default=0, ge=0)
    """Goals for which a group that failed whole is told anew whole, so that there is contrast (hindsight groups)."""
    per_task: int = Field(default=1, ge=1)
    """Relabels kept of one relabelled task (by its hash) in an iteration; hindsight groups are counted apart."""
    per_goal: int | None = Field(default=None, ge=1)
    """Relabels kept of one goal in an iteration; hindsight groups are counted apart."""


class DaggerSettings(Section):
    """DAgger: the environment's expert goes on from states that failed attempts were in."""

    per_attempt: int = Field(default=0, ge=0)
    """States of one failed attempt that the expert goes on from; 0 switches DAgger off."""
    limit: int = Field(default=256, ge=1)
    """Demonstrations of an iteration at most; the attempts are taken in a drawn order."""


class ReplaySettings(Section):
    """What is drawn from the store for an update, beside the iteration's own attempts."""

    groups: int = Field(default=2048, ge=0)
    """How many; an expert's demonstration and a relabel are groups of one, of a success one attempt is imitated."""
    quota: Mapping[str, float] = {"expert": 0.1, "success": 0.4, "hindsight": 0.5}
    """Shares of `expert`, `success` (own attempts), `hindsight`, and `policy` (older groups for the policy loss)."""

    @field_validator("quota")
    @classmethod
    def _known_kinds(cls, quota: Mapping[str, float]) -> Mapping[str, float]:
        for kind, share in quota.items():
            if kind not in set(Kind):
                raise ValueError(f"unknown kind {kind!r}: {suggestion(kind, [str(k) for k in Kind])}")
            if share < 0:
                raise ValueError(f"the share of {kind!r} is below 0")
        if not any(quota.values()):
            raise ValueError("no kind has a share above 0: set replay.groups to 0 to draw nothing")
        return quota

    max_age: int = Field(default=8, ge=0)
    """Staleness limit: most policy versions since the one that sampled a group; experts never age."""
    per_task: int | None = Field(default=2, ge=1)
    """Most groups of one task and kind."""
    per_goal: int | None = Field(default=None, ge=1)
    """Most groups of one goal and kind."""
    rarity: float = Field(default=0.0, ge=0)
    """Exponent of the rarity of success in a group's priority."""
    surprise: float = Field(default=0.0, ge=0)
    """Exponent of the spread of its rewards."""
    recency: float = Field(default=1.0, ge=0)
    """Exponent of 1 / (1 + age)."""
    correction: float = Field(default=0.0, ge=0, le=1)
    """How far importance weights make up for the priorities."""


class FinetuneSettings(Section):
    """One iteration's update: GRPO on groups plus NLL on verified positives."""

    loss: Literal["grpo", "bnpo", "dr_grpo", "dapo", "cispo"] = "dapo"
    """How token losses are reduced, and clipped."""
    ratio: Literal["token", "sequence"] = "token"
    """Of the clip; `sequence` is GSPO."""
    scale_rewards: Literal["group", "batch", "none"] = "group"
    """What advantages are divided by: the standard deviation of the group, of all, or nothing."""
    epsilon: float = Field(default=0.2, gt=0)
    """Lower clip: ratios below 1 - epsilon."""
    epsilon_high: float = Field(default=0.28, gt=0, validate_default=True)
    """Upper clip: ratios above 1 + epsilon_high; for cispo, which has no default, the ceiling of the ratio itself."""
    kl_weight: float = Field(default=0.0, ge=0)
    """Of the KL to the run's first policy."""
    kl_estimator: Literal["k1", "k2", "k3", "k3_ratio"] = "k2"
    """Which estimate of KL(policy || reference) stands in the loss."""
    top_entropy: float = Field(default=1.0, gt=0, le=1)
    """Share of tokens, those where the policy is least certain, that the GRPO term moves; 1 moves all."""
    importance_cap: float = Field(default=3.0, gt=0)
    """C: ceiling of pi_prox / pi_behaviour."""
    policy_weight: float = Field(default=1.0, ge=0)
    """Of the GRPO term; 0 leaves plain expert iteration."""
    bc_weight: float = Field(default=1.0, ge=0)
    """Of the NLL term."""
    hindsight_loss: Literal["nll", "grpo", "both"] = "nll"
    """What relabels teach by: the successes' NLL, the policy loss of hindsight groups, or both."""
    step_verifier: str | None = None
    """A verifier of the rubric (watched will do) whose step scores weigh the steps, e.g. `prm`; none without it."""
    step_weight: float = Field(default=1.0, ge=0)
    """What the step-level advantage is multiplied by before it is added to the attempt's."""
    step_discount: float = Field(default=1.0, ge=0, le=1)
    """What a step answers for of the steps after it: 1 all, as in DeepSeekMath; 0 for itself alone."""
    epochs: int = Field(default=1, ge=1)
    """Passes over the update's rows."""
    batch: int = Field(default=512, ge=1)
    """Rows of one optimizer step."""
    learning_rate: float = Field(default=1e-3, gt=0)
    """At its highest; every update begins with a warm-up and decays to 0."""
    warmup: float = Field(default=0.07, gt=0, lt=1)
    """Share of an update's steps; where that is less than one step there is none."""

    @field_validator("epsilon_high")
    @classmethod
    def _ceiling_of_cispo(cls, epsilon_high: float, info: ValidationInfo) -> float:
        if info.data.get("loss") == "cispo" and epsilon_high < 1:
            raise ValueError(f"{epsilon_high} is below 1, but loss 'cispo' takes it as the ratio's ceiling: try 5.0")
        return epsilon_high


class EvaluateSettings(Section):
    """Validation after every update, test at the end."""

    attempts: int = Field(default=8, ge=1)
    """k of pass@k; pass@1 is the mean over them."""
    temperature: float = Field(default=1.0, ge=0)
    """0 is greedy."""
    margin: float = 0.0
    """A candidate is promoted where its validation pass@1 is at least its parent's plus this."""


class AuditSettings(Section):
    """What watches for reward hacking beside the rubric; it decides nothing. See [audit.md](audit.md)."""

    verifier: str | None = None
    """A held-out verifier, never trained on, that judges every iteration's validation attempts too."""
    passes_at: float = Field(default=1.0, gt=0, le=1)
    """Its least score that counts as a pass."""
    train: int = Field(default=0, ge=0)
    """Training attempts of an iteration, drawn by chance, that it judges as well."""
    rewrites: int = Field(default=0, ge=0)
    """Validation attempts of an iteration, drawn by chance, that are verified again after harmless rewrites."""
    kinds: tuple[str, ...] = tuple(REWRITES)
    """Which rewrites; leave out what is not harmless where every word of an answer counts."""

    @field_validator("kinds")
    @classmethod
    def _known_rewrites(cls, kinds: tuple[str, ...]) -> tuple[str, ...]:
        for kind in kinds:
            if kind not in REWRITES:
                raise ValueError(f"unknown rewrite {kind!r}: {suggestion(kind, REWRITES)}")
        return kinds


class GuardSettings(Section):
    """Tasks of another kind; who gets worse at them than its parent is not promoted. See [audit.md](audit.md)."""

    name: str = Field(min_length=1, max_length=50, pattern=r"^[\w.-]+$")
    """Of the guard; letters, digits, ".", "_" and "-"."""
    environment: Mapping[str, Json]
    """As in [environment]; its validation tasks are taken."""
    rubric: Terms = {}
    """As in [rubric]; empty takes the environment's."""
    tasks: int = Field(default=100, ge=1)
    """How many."""
    attempts: int = Field(default=4, ge=1)
    """Of each task; pass@1 is the mean over them."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Of one turn; `generate.max_tokens` without it."""
    margin: float = Field(default=0.05, ge=0)
    """How far its pass@1 may fall below the parent's."""
