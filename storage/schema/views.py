"""The views: the user's interface to SQL, kept stable while the tables may change. docs/queries.md asks them.

`counted_score` is their foundation: of each trajectory and verifier the one verdict that counts, the latest `ok` or
else the latest, without what was retracted. `v_success` weighs them as the run's rubric does (`Rubric.succeeded`).
"""

from __future__ import annotations

COUNTED_SCORE = """
SELECT trajectory_id, verifier, version, config_hash, attempt, status, score, raw, step_scores, extracted, expected,
       explanation, latency_ms, created_at
FROM (
    SELECT score.*, ROW_NUMBER() OVER (
        PARTITION BY trajectory_id, verifier, version, config_hash
        ORDER BY CASE WHEN status = 'ok' THEN 0 ELSE 1 END, attempt DESC
    ) AS place
    FROM score
    WHERE NOT EXISTS (
        SELECT 1 FROM retraction
        WHERE retraction.verifier = score.verifier AND retraction.version = score.version
          AND retraction.config_hash IN ('*', score.config_hash)
    )
) AS ordered
WHERE place = 1
"""

V_SUCCESS = """
SELECT trajectory_id, MIN(CASE WHEN weight > 0 THEN score END) AS score,
       CASE
           WHEN COUNT(holds) = COUNT(*)
           THEN MIN(holds) * MAX(CASE WHEN status = 'ok' AND weight <> 0 THEN 1 ELSE 0 END)
       END AS success
FROM (
    SELECT asked.*,
           CASE
               WHEN status = 'ok' AND weight * score < (CASE WHEN weight > 0 THEN weight ELSE 0 END) - 1e-9 THEN 0
               WHEN status = 'ok' AND score < gate THEN 0
               WHEN status = 'abstain' AND weight > 0 THEN 0
               WHEN status IN ('ok', 'abstain') THEN 1
           END AS holds
    FROM (
        SELECT trajectory.id AS trajectory_id, rubric_term.gate, verdict.status, verdict.score,
               CASE WHEN rubric_term.shaping THEN 0 ELSE rubric_term.weight END AS weight
        FROM trajectory
        JOIN trajectory_group ON trajectory_group.id = trajectory.group_id
        JOIN task ON task.id = trajectory_group.task_id
        JOIN rubric_term ON rubric_term.run_id = trajectory_group.run_id
            AND rubric_term.guard = CASE WHEN task.split = 'guard' THEN SUBSTR(task.origin, 7) ELSE '' END
        LEFT JOIN counted_score AS verdict
            ON verdict.trajectory_id = trajectory.id AND verdict.verifier = rubric_term.verifier
        WHERE (rubric_term.weight <> 0 AND NOT rubric_term.shaping) OR rubric_term.gate IS NOT NULL
        UNION ALL
        SELECT verdict.trajectory_id, NULL AS gate, verdict.status, verdict.score, 1 AS weight
        FROM counted_score AS verdict
        JOIN trajectory ON trajectory.id = verdict.trajectory_id
        JOIN trajectory_group ON trajectory_group.id = trajectory.group_id
        WHERE NOT EXISTS (SELECT 1 FROM rubric_term WHERE rubric_term.run_id = trajectory_group.run_id)
    ) AS asked
) AS told
GROUP BY trajectory_id
"""

V_TRAJECTORY = """
SELECT trajectory.id, run.name AS run, run.id AS run_id, trajectory_group.iteration, trajectory_group.source,
       task.split, task.environment, task.hash AS task, trajectory_group.id AS group_id,
       policy_version.number AS policy, trajectory.attempt, trajectory.parent_id, trajectory.relabeller,
       trajectory.stop_reason, trajectory.error, trajectory.turn_count, trajectory.prompt_tokens,
       trajectory.completion_tokens, trajectory.trained_tokens, trajectory.seconds,
       told.score, told.success, verdict.ok AS verdicts_ok, verdict.failed AS verdicts_failed,
       COALESCE(used.uses, 0) AS uses,
       CASE
           WHEN used.positives > 0 THEN 'positive'
           WHEN used.contrasts > 0 THEN 'policy loss'
           WHEN task.split <> 'train' THEN 'held out'
           WHEN used.masked > 0 THEN 'dropped: a verifier failed'
           WHEN used.uses > 0 THEN 'dropped: its group has no contrast'
           WHEN COALESCE(verdict.ok, 0) = 0 THEN 'not scored'
           ELSE 'not drawn'
       END AS fate,
       trajectory.created_at
FROM trajectory
JOIN trajectory_group ON trajectory_group.id = trajectory.group_id
JOIN task ON task.id = trajectory_group.task_id
JOIN run ON run.id = trajectory_group.run_id
LEFT JOIN policy_version ON policy_version.id = trajectory_group.policy_version_id
LEFT JOIN v_success AS told ON told.trajectory_id = trajectory.id
LEFT JOIN (
    SELECT trajectory_id, CAST(SUM(CASE WHEN status = 'ok' THEN 1 ELSE 0 END) AS INTEGER) AS ok,
           SUM(CASE WHEN status IN ('error', 'timeout') THEN 1 ELSE 0 END) AS failed
    FROM counted_score GROUP BY trajectory_id
) AS verdict ON verdict.trajectory_id = trajectory.id
LEFT JOIN (
    SELECT trajectory_id, COUNT(*) AS uses,
           CAST(SUM(CASE WHEN nll_weight > 0 THEN 1 ELSE 0 END) AS INTEGER) AS positives,
           CAST(SUM(CASE WHEN advantage <> 0 THEN 1 ELSE 0 END) AS INTEGER) AS contrasts,
           CAST(SUM(CASE WHEN reward IS NULL THEN 1 ELSE 0 END) AS INTEGER) AS masked
    FROM training_use GROUP BY trajectory_id
) AS used ON used.trajectory_id = trajectory.id
"""

V_GROUP = """
SELECT trajectory_group.id, run.name AS run, run.id AS run_id, trajectory_group.iteration, trajectory_group.source,
       task.split, task.environment, task.hash AS task, policy_version.number AS policy, counted.attempts,
       counted.scored, counted.successes, counted.mean_score
FROM trajectory_group
JOIN task ON task.id = trajectory_group.task_id
JOIN run ON run.id = trajectory_group.run_id
LEFT JOIN policy_version ON policy_version.id = trajectory_group.policy_version_id
JOIN (
    SELECT trajectory.group_id, COUNT(*) AS attempts, COUNT(told.success) AS scored,
           CAST(COALESCE(SUM(told.success), 0) AS INTEGER) AS successes, AVG(told.score) AS mean_score
    FROM trajectory
    LEFT JOIN v_success AS told ON told.trajectory_id = trajectory.id
    GROUP BY trajectory.group_id
) AS counted ON counted.group_id = trajectory_group.id
"""

V_ITERATION = """
SELECT run.name AS run, run.id AS run_id, iteration.number AS iteration, iteration.started_at, iteration.finished_at,
       COALESCE(made.attempts, 0) AS attempts, COALESCE(made.solved, 0) AS solved,
       COALESCE(made.relabels, 0) AS relabels, policy_version.number AS policy, policy_version.promoted,
       evaluation.pass_at_1 AS validation_pass_at_1, evaluation.pass_at_k AS validation_pass_at_k
FROM iteration
JOIN run ON run.id = iteration.run_id
LEFT JOIN (
    SELECT run_id, iteration, CAST(SUM(CASE WHEN source = 'policy' THEN attempts ELSE 0 END) AS INTEGER) AS attempts,
           CAST(SUM(CASE WHEN source = 'policy' THEN successes ELSE 0 END) AS INTEGER) AS solved,
           CAST(SUM(CASE WHEN source = 'hindsight' THEN attempts ELSE 0 END) AS INTEGER) AS relabels
    FROM v_group WHERE split = 'train' GROUP BY run_id, iteration
) AS made ON made.run_id = iteration.run_id AND made.iteration = iteration.number
LEFT JOIN policy_version
    ON policy_version.run_id = iteration.run_id AND policy_version.number = iteration.number + 1
LEFT JOIN evaluation ON evaluation.policy_version_id = policy_version.id
    AND evaluation.split = 'validation' AND evaluation.iteration = iteration.number
"""

V_VERIFIER_DISAGREEMENT = """
SELECT one.trajectory_id, one.verifier AS verifier, one.version AS version, one.score AS score,
       other.verifier AS other_verifier, other.version AS other_version, other.score AS other_score,
       ABS(one.score - other.score) AS difference
FROM counted_score AS one
JOIN counted_score AS other ON other.trajectory_id = one.trajectory_id
    AND (one.verifier < other.verifier
         OR (one.verifier = other.verifier AND one.version < other.version)
         OR (one.verifier = other.verifier AND one.version = other.version AND one.config_hash < other.config_hash))
WHERE one.score <> other.score
"""

V_LINEAGE = """
SELECT child.id AS trajectory_id, child.relabeller, parent.id AS parent_id, child_task.hash AS task,
       parent_task.hash AS parent_task, policy_version.number AS policy, child_group.run_id,
       child_group.iteration, COALESCE(used.uses, 0) AS uses, used.first_policy, used.last_policy
FROM trajectory AS child
JOIN trajectory_group AS child_group ON child_group.id = child.group_id
JOIN task AS child_task ON child_task.id = child_group.task_id
JOIN trajectory AS parent ON parent.id = child.parent_id
JOIN trajectory_group AS parent_group ON parent_group.id = parent.group_id
JOIN task AS parent_task ON parent_task.id = parent_group.task_id
LEFT JOIN policy_version ON policy_version.id = parent_group.policy_version_id
LEFT JOIN (
    SELECT training_use.trajectory_id, COUNT(*) AS uses, MIN(trained.number) AS first_policy,
           MAX(trained.number) AS last_policy
    FROM training_use JOIN policy_version AS trained ON trained.id = training_use.policy_version_id
    WHERE training_use.nll_weight > 0 OR training_use.advantage <> 0
    GROUP BY training_use.trajectory_id
) AS used ON used.trajectory_id = child.id
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
}
"""Name -> query, in an order in which they can be made."""
