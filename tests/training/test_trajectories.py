"""What an episode wrote: only the policy's own tokens carry loss, nothing is encoded twice, prompts only grow."""

import pytest

from toolorchestra.core.policyformat import START, STOP
from toolorchestra.training.grpo.trajectories import PrefixError, Trajectory

PROMPT = f"{START}user\nWhat is 11 + 22?{STOP}\n{START}assistant\n"


def test_own_tokens_are_those_that_were_written(codec):
    trajectory = Trajectory(codec)
    shown = trajectory.show(PROMPT)
    ids = [*codec.encode('call onyx {"expression": "11 + 22"}'), codec.stop]
    text = trajectory.write(ids, [-0.5] * len(ids))
    assert text == 'call onyx {"expression": "11 + 22"}'
    again = trajectory.show(f"{PROMPT}{text}{STOP}\n{START}user\nresult 1/1 onyx: 33{STOP}\n{START}assistant\n")
    assert again[: len(shown) + len(ids)] == shown + ids
    assert again.count(codec.stop) == 3  # the mark that was sampled is not shown once more
    assert [i for i, own in zip(trajectory.ids, trajectory.own, strict=True) if own] == ids
    assert sum(trajectory.logprobs) == pytest.approx(-0.5 * len(ids))
    assert trajectory.prompt == len(shown)
    assert codec.decode(trajectory.ids) == f"{PROMPT}{text}{STOP}\n{START}user\nresult 1/1 onyx: 33{STOP}\n{START}assistant\n"


def test_what_exploration_wrote_is_the_policys_own_and_marked(codec):
    trajectory = Trajectory(codec)
    trajectory.show(f"{PROMPT}call onyx", begun="call onyx")
    assert trajectory.prompt == len(codec.encode(PROMPT))
    forced = [token for token, mark in zip(trajectory.ids, trajectory.forced, strict=True) if mark]
    assert codec.decode(forced) == "call onyx"
    assert trajectory.own == trajectory.forced


def test_sampled_ids_stay_whatever_the_text_would_be_encoded_to(codec):
    trajectory = Trajectory(codec)
    trajectory.show(PROMPT)
    letters = [token for letter in "answer" for token in codec.encode(letter)]
    assert letters != codec.encode("answer")
    text = trajectory.write([*letters, codec.stop], [0.0] * (len(letters) + 1))
    ids = trajectory.show(f"{PROMPT}{text}{STOP}\n")
    assert ids[trajectory.prompt : trajectory.prompt + len(letters)] == letters


def test_a_turn_without_its_mark_is_truncated_and_the_mark_is_not_the_policys(codec):
    trajectory = Trajectory(codec)
    trajectory.show(PROMPT)
    ids = codec.encode("call onyx")
    text = trajectory.write(ids, [0.0] * len(ids))
    trajectory.show(f"{PROMPT}{text}{STOP}\n")
    assert trajectory.truncated
    assert sum(trajectory.own) == len(ids)


def test_a_prompt_that_does_not_go_on_is_refused(codec):
    trajectory = Trajectory(codec)
    trajectory.show(PROMPT)
    trajectory.write([codec.stop], [0.0])
    with pytest.raises(PrefixError, match="turn 2"):
        trajectory.show(f"{START}user\nsomething else{STOP}")
