"""A fork goes on alone, and what verification plays by forks is what a replay from the beginning plays."""

import pytest

from tests.support.library import LIBRARY, calls, task
from toolorchestra.worlds.loading import load_world
from toolorchestra.worlds.session import Session
from toolorchestra.worlds.tasks import GoldenCall
from toolorchestra.worlds.verify import Verification, first_drop, verify

LEND = ("lend", {"member_id": "ME-100", "book_id": "BO-4", "due": "2026-03-16", "note": None})


@pytest.fixture
def world():
    return load_world(LIBRARY)


def results(session):
    return [(result.ok, result.content, result.rows, result.error_code) for result in session.results]


def test_a_fork_is_the_same_until_one_of_them_goes_on(world):
    first = Session.replay(world, calls(LEND))
    other = first.fork()
    assert (other.state_hash, other.calls, results(other)) == (first.state_hash, first.calls, results(first))
    before = first.state_hash
    other.call(*LEND)
    assert (first.state_hash, len(first.calls)) == (before, 1)
    assert other.state_hash == Session.replay(world, calls(LEND, LEND)).state_hash != before
    first.call("find_member", {"email": "nobody@post.example"})
    assert [result.ok for result in other.results] == [True, True]


def test_every_episode_of_a_verification_ends_as_its_replay_does(world):
    verification = Verification(world, task())
    episodes = [calls for _, _, calls, _ in (*verification.wrong_episodes({}), *verification.right_episodes())]
    assert len(episodes) > 20
    for episode in [*episodes, *reversed(episodes)]:
        played, replayed = verification.play(episode), Session.replay(world, episode)
        assert played.state_hash == replayed.state_hash
        assert results(played) == results(replayed)
        assert played.calls == replayed.calls


def test_the_first_drop_is_the_first_of_all(world):
    idle = task(golden=(GoldenCall(id="c1", tool="find_member", arguments={"email": "ada@post.example"}),), facts=())
    assert first_drop(world, idle) == verify(world, idle)[0]
    assert first_drop(world, task()) is None
    assert verify(world, task()) == ()
