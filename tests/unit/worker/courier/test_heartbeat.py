"""What a courier's heartbeat stands for."""

from __future__ import annotations

import logging

import pytest
from pydantic import SecretStr

from shared.connection import connect, run
from shared.scripts import couriers
from shared.settings import Settings
from tests.conftest import settings_for
from tests.servers import RedisServer, free_port
from worker.courier import heartbeat
from worker.courier.heartbeat import Heartbeat


def is_heard(settings: Settings) -> bool:
    with connect(settings) as client:
        return "me" in run(client, couriers(life_s=60))


def test_it_beats_between_shifts_and_while_one_goes_on(redis_settings: Settings) -> None:
    with connect(redis_settings) as client:
        beating = Heartbeat("me", client)
        assert not is_heard(redis_settings)

        beating.move()
        beating.beat()
        assert is_heard(redis_settings)


def test_it_is_silent_while_a_shift_hangs(redis_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "HANGS_AFTER_S", 0.0)
    with connect(redis_settings) as client:
        beating = Heartbeat("me", client)
        beating.move()
        beating.beat()
        assert not is_heard(redis_settings)

        beating.rest()
        beating.beat()
        assert is_heard(redis_settings)


def test_an_outage_is_told_once_and_borne(redis_settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    del redis_settings
    caplog.set_level(logging.WARNING)
    nowhere = Settings(redis_url=SecretStr(f"redis://127.0.0.1:{free_port()}/0"))
    with connect(nowhere) as client:
        beating = Heartbeat("me", client)
        for _ in range(3):
            beating.beat()
    assert caplog.messages == ["no heartbeat: the queue does not answer"]


def test_another_trouble_is_told_too_and_the_same_again_once_it_was_over(
    own_redis_server: RedisServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.WARNING)
    monkeypatch.setattr(heartbeat, "HANGS_AFTER_S", 0.0)
    with connect(settings_for(own_redis_server)) as client:
        beating = Heartbeat("me", client)
        for is_away in (False, True):
            if is_away:
                own_redis_server.kill()
            beating.move()
            beating.beat()
            beating.beat()
            beating.rest()
            beating.beat()
            beating.beat()

    hangs, away = "no heartbeat: the shift hangs", "no heartbeat: the queue does not answer"
    assert caplog.messages == [hangs, hangs, away]
