"""The views: the user's interface to SQL, kept stable while the tables may change. docs/queries.md asks them.

They only look things up by keys: what each attempt and group came to is in `outcome` and `group_tally`, which verdicts
count in `score.counts` (see `outcomes`). What is summed is asked for each row, so that a condition on an id or a run
reaches the tables' indexes on both databases.
"""

from __future__ import annotations

COUNTED_SCORE = """
SELECT trajectory_id, verifier, version, config_hash, attempt, status, score, raw, step_scores, extracted, expected,
       explanation, latency_ms, created_at
FROM score WHERE counts
"""

V_SUCCESS = """
SELECT outcome.trajectory_id, outcome.score, outcome.success, trajectory_group.run_id
FROM outcome
JOIN trajectory ON trajectory.id = outcome.trajectory_id
JOIN trajectory_group ON trajectory_group.id = trajectory.group_id
WHERE outcome.asked
"""

V_TRAJECTORY = """
SELECT trajectory.id, run.name AS run, run.id AS run_id, trajectory_group.iteration, trajectory_group.source,
       task.split, task.environment, task.hash AS task, trajectory_group.id AS group_id,
       policy_version.number AS policy, trajectory.attempt, trajectory.parent_id, trajectory.relabeller,
       trajectory.stop_reason, trajectory.error, trajectory.turn_count, trajectory.prompt_tokens,
       trajectory.completion_tokens, trajectory.trained_tokens, trajectory.seconds,
       outcome.score, outcome.success, outcome.verdicts_ok, outcome.verdicts_failed,
       (SELECT COUNT(*) FROM training_use WHERE training_use.trajectory_id = trajectory.id) AS uses,
       CASE (
           SELECT MAX(
               CASE WHEN nll_weight > 0 THEN 3 WHEN advantage <> 0 THEN 2 WHEN reward IS NULL THEN 1 ELSE 0 END
           )
           FROM training_use WHERE training_use.trajectory_id = trajectory.id
       )
           WHEN 3 THEN 'positive'
           WHEN 2 THEN 'policy loss'
           WHEN 1 THEN CASE WHEN task.split <> 'train' THEN 'held out' ELSE 'dropped: a verifier failed' END
           WHEN 0 THEN CASE WHEN task.split <> 'train' THEN 'held out' ELSE 'dropped: its group has no contrast' END
           ELSE CASE
               WHEN task.split <> 'train' THEN 'held out'
               WHEN COALESCE(outcome.verdicts_ok, 0) = 0 THEN 'not scored'
               ELSE 'not drawn'
           END
       END AS fate,
       trajectory.created_at
FROM trajectory
JOIN trajectory_group ON trajectory_group.id = trajectory.group_id
JOIN task ON task.id = trajectory_group.task_id
JOIN run ON run.id = trajectory_group.run_id
LEFT JOIN policy_version ON policy_version.id = trajectory_group.policy_version_id
LEFT JOIN outcome ON outcome.trajectory_id = trajectory.id
"""

V_GROUP = """
SELECT trajectory_group.id, run.name AS run, run.id AS run_id, trajectory_group.iteration, trajectory_group.source,
       task.split, task.environment, task.hash AS task, policy_version.number AS policy, group_tally.attempts,
       group_tally.scored, group_tally.successes, group_tally.mean_score
FROM trajectory_group
JOIN task ON task.id = trajectory_group.task_id
JOIN run ON run.id = trajectory_group.run_id
JOIN group_tally ON group_tally.group_id = trajectory_group.id
LEFT JOIN policy_version ON policy_version.id = trajectory_group.policy_version_id
"""

_MADE = """(
    SELECT CAST(COALESCE(SUM({what}), 0) AS INTEGER) FROM trajectory_group
    JOIN task ON task.id = trajectory_group.task_id
    JOIN group_tally ON group_tally.group_id = trajectory_group.id
    WHERE trajectory_group.run_id = iteration.run_id AND trajectory_group.iteration = iteration.number
      AND trajectory_group.source = '{source}' AND task.split = 'train'
)"""

V_ITERATION = f"""
SELECT run.name AS run, run.id AS run_id, iteration.number AS iteration, iteration.started_at, iteration.finished_at,
       {_MADE.format(what="group_tally.attempts", source="policy")} AS attempts,
       {_MADE.format(what="group_tally.successes", source="policy")} AS solved,
       {_MADE.format(what="group_tally.attempts", source="hindsight")} AS relabels,
       policy_version.number AS policy, policy_version.promoted,
       evaluation.pass_at_1 AS validation_pass_at_1, evaluation.pass_at_k AS validation_pass_at_k
FROM iteration
JOIN run ON run.id = iteration.run_id
LEFT JOIN policy_version
    ON policy_version.run_id = iteration.run_id AND policy_version.number = iteration.number + 1
LEFT JOIN evaluation ON evaluation.policy_version_id = policy_version.id
    AND evaluation.split = 'validation' AND evaluation.iteration = iteration.number
"""

V_VERIFIER_DISAGREEMENT = """
SELECT one.trajectory_id, one.verifier AS verifier, one.version AS version, one.score AS score,
       other.verifier AS other_verifier, other.version AS other_version, other.score AS other_score,
       ABS(one.score - other.score) AS difference, trajectory_group.run_id
FROM score AS one
JOIN score AS other ON other.trajectory_id = one.trajectory_id
    AND (one.verifier < other.verifier
         OR (one.verifier = other.verifier AND one.version < other.version)
         OR (one.verifier = other.verifier AND one.version = other.version AND one.config_hash < other.config_hash))
JOIN trajectory ON trajectory.id = one.trajectory_id
JOIN trajectory_group ON trajectory_group.id = trajectory.group_id
WHERE one.counts AND other.counts AND one.score <> other.score
"""

_LEARNED = """(
    SELECT {what} FROM training_use JOIN policy_version AS trained ON trained.id = training_use.policy_version_id
    WHERE training_use.trajectory_id = child.id AND (training_use.nll_weight > 0 OR training_use.advantage <> 0)
)"""

V_LINEAGE = f"""
SELECT child.id AS trajectory_id, child.relabeller, parent.id AS parent_id, child_task.hash AS task,
       parent_task.hash AS parent_task, policy_version.number AS policy, child_group.run_id,
       child_group.iteration, {_LEARNED.format(what="COUNT(*)")} AS uses,
       {_LEARNED.format(what="MIN(trained.number)")} AS first_policy,
       {_LEARNED.format(what="MAX(trained.number)")} AS last_policy
FROM trajectory AS child
JOIN trajectory_group AS child_group ON child_group.id = child.group_id
JOIN task AS child_task ON child_task.id = child_group.task_id
JOIN trajectory AS parent ON parent.id = child.parent_id
JOIN trajectory_group AS parent_group ON parent_group.id = parent.group_id
JOIN task AS parent_task ON parent_task.id = parent_group.task_id
LEFT JOIN policy_version ON policy_version.id = parent_group.policy_version_id
"""

V_GUARD = """
SELECT run.name AS run, run.id AS run_id, evaluation.iteration, evaluation.guard, policy_version.number AS policy,
       policy_version.promoted, evaluation.tasks, evaluation.k, evaluation.pass_at_1, evaluation.pass_at_k,
       parent.number AS parent, before.pass_at_1 AS parent_pass_at_1,
       evaluation.pass_at_1 - before.pass_at_1 AS change
FROM evaluation
JOIN policy_version ON policy_version.id = evaluation.policy_version_id
JOIN run ON run.id = policy_version.run_id
LEFT JOIN policy_version AS parent ON parent.id = policy_version.parent_id AND parent.run_id = policy_version.run_id
LEFT JOIN evaluation AS before ON before.policy_version_id = parent.id AND before.split = 'guard'
    AND before.guard = evaluation.guard AND before.iteration = parent.iteration
WHERE evaluation.split = 'guard'
"""

V_AUDIT = """
SELECT run.name AS run, run.id AS run_id, policy_version.iteration, policy_version.number AS policy,
       policy_version.promoted, audit.split, audit.metric, audit.value, audit.count
FROM audit
JOIN policy_version ON policy_version.id = audit.policy_version_id
JOIN run ON run.id = policy_version.run_id
"""

V_TURN = """
SELECT turn.trajectory_id, turn.position, {said} AS said, {answered} AS answered, turn.reward, trajectory_group.run_id,
       trajectory_group.iteration, task.hash AS task
FROM turn
JOIN trajectory ON trajectory.id = turn.trajectory_id
JOIN trajectory_group ON trajectory_group.id = trajectory.group_id
JOIN task ON task.id = trajectory_group.task_id
"""

_TEXTS = {
    "sqlite": {
        "said": "json_extract(turn.action, '$.content')",
        "answered": "json_extract(turn.observation, '$[0].content')",
    },
    "postgresql": {  # which reads JSON texts, but none with a NUL in it
        "said": r"REPLACE(turn.action::text, '\u0000', '\ufffd')::json ->> 'content'",
        "answered": r"REPLACE(turn.observation::text, '\u0000', '\ufffd')::json -> 0 ->> 'content'",
    },
}

VIEWS = {
    "counted_score": COUNTED_SCORE,
    "v_success": V_SUCCESS,
    "v_trajectory": V_TRAJECTORY,
    "v_group": V_GROUP,
    "v_iteration": V_ITERATION,
    "v_verifier_disagreement": V_VERIFIER_DISAGREEMENT,
    "v_lineage": V_LINEAGE,
    "v_guard": V_GUARD,
    "v_audit": V_AUDIT,
    "v_turn": V_TURN,
}
"""Name -> query; see `query_of`."""


def query_of(view: str, dialect: str) -> str:
    """The view's query on `sqlite` or `postgresql`, which read JSON each in its own way."""
    return VIEWS[view].format(**_TEXTS[dialect])
