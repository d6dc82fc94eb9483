"""Dialogues of τ²-bench made of the tasks of a world."""

from typing import Any

from toolorchestra.worlds.tasks import Task


def dialogue(task: Task) -> dict[str, Any]:
    """A task as τ²-bench writes one, whose user says who they are when they are asked."""
    instructions = {"reason_for_call": task.user.opening, "known_info": "You are the passenger.", "task_instructions": ""}
    return {
        "id": f"[{task.intent}] {task.id}",
        "user_scenario": {"persona": None, "instructions": instructions},
        "initial_state": None,
        "evaluation_criteria": {
            "actions": [{"action_id": one.id, "name": one.tool, "arguments": one.arguments} for one in task.golden],
            "communicate_info": [fact.value for fact in task.facts if isinstance(fact.value, str)],
            "reward_basis": ["DB", "COMMUNICATE"],
        },
    }
