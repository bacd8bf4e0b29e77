from __future__ import annotations

import pytest
import redis

from tests.desk import Desk


@pytest.fixture
def desk(queue: redis.Redis) -> Desk:
    """The queue, empty."""
    return Desk(queue)
