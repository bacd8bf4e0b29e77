"""The page over a real gateway with real Redis and S3; a `Hand` plays the worker, step by step."""

from __future__ import annotations

import pytest

from shared.client import Client
from tests.integration.conftest import client, gateway, hand, worker
from ui.handlers import Handlers

__all__ = ["client", "gateway", "hand", "worker"]


@pytest.fixture
def handlers(client: Client) -> Handlers:
    return Handlers(client)
