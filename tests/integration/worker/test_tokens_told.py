"""What the gateway tells of a text is what a real worker then says of the job."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from shared import scripts
from shared.client import Client
from shared.contract import TokensBody
from shared.jobs import JobStatus
from shared.keys import DEFAULT
from tests.integration.serving import serving
from tests.integration.worker.system import LIMIT_S, System
from tests.servers import wait_until
from tests.vocabulary import TEXTS

pytestmark = pytest.mark.timeout(900)  # a worker imports torch for seconds, on a busy machine for a minute


@pytest.fixture(scope="module")
def client(served: System) -> Iterator[Client]:
    with serving(served.settings) as gateway, Client(gateway.url) as client:
        yield client


@pytest.mark.parametrize("name", [name for name, text in TEXTS.items() if text.strip()])
def test_a_text_is_read_as_it_was_told_before(name: str, served: System, client: Client) -> None:
    before = client.count_tokens(TEXTS[name], negative_prompt=served.card.defaults.negative_prompt)
    ended = served.wait_ended(served.submit(prompt=TEXTS[name], steps=1))
    assert ended.status is JobStatus.SUCCEEDED
    assert ended.reading is not None
    assert before == TokensBody(model=served.card.id, max_windows=4, reading=ended.reading, warnings=ended.warnings)


def test_a_worker_hands_over_again_what_redis_has_lost(served: System, client: Client) -> None:
    told = client.count_tokens("a fox")
    served.client.delete(f"{DEFAULT.prefix}vocabulary:{served.card.id}")
    key = f"{DEFAULT.prefix}vocabulary:{served.card.id}"
    wait_until(lambda: served.client.exists(key) == 1, limit_s=LIMIT_S, what="the worker announces it again")
    assert client.count_tokens("a fox") == told
    assert served(scripts.fleet()).cards[0].id == told.model
