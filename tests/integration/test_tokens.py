"""`POST /v1/tokens` at a real gateway, by the demo model's tokenizers; `worker/` shows that workers say the same."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from shared.client import AsyncClient, Client
from shared.errors import InvalidRequest, NoModel, NoVocabulary
from shared.notes import reading_of, warnings_of
from shared.reading import MAX_WINDOWS, TextReader
from shared.texts import clean_text
from shared.vocabulary import Vocabulary
from tests.integration.either import either
from tests.integration.keyholders import bearer, code_of, make_key
from tests.integration.serving import CARD, Hand, Serving, serving
from tests.servers import wait_until
from tests.vocabulary import TEXTS, demo_vocabulary

A_TOKEN_A_LETTER = Vocabulary.pack(
    [
        {
            "version": "1.0",
            "added_tokens": [],
            "model": {"type": "BPE", "unk_token": "?", "vocab": {"?": 0, "a": 1, "b": 2}, "merges": []},
        }
    ],
    window=5,
)
"""Of a model whose window has five tokens."""


@pytest.fixture(scope="module")
def loaded(gateway: Serving) -> Iterator[Hand]:
    with Hand(gateway.settings, vocabulary=demo_vocabulary()) as one:
        yield one


@pytest.fixture
def hand(loaded: Hand) -> Hand:
    """A worker that has loaded its model."""
    loaded.forget_all()
    loaded.arrive()
    return loaded


@pytest.fixture(params=[Client, AsyncClient])
def either_client(request: pytest.FixtureRequest, gateway: Serving) -> Iterator[Client]:
    with either(request.param, gateway.url) as client:
        yield client


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_is_read_as_its_model_s_encoders_read_it(name: str, hand: Hand, client: Client) -> None:
    told = client.count_tokens(TEXTS[name], negative_prompt="blurry!")
    reader = TextReader(demo_vocabulary())
    texts = reader.read(clean_text(TEXTS[name])).measure, reader.read("blurry!").measure
    assert (told.model, told.max_windows) == (hand.card.id, MAX_WINDOWS)
    assert told.reading == reading_of(*texts)
    assert told.warnings == warnings_of(*texts)


@pytest.mark.usefixtures("hand")
def test_both_clients_are_told(either_client: Client) -> None:
    told = either_client.count_tokens("a (red)1.2 circle on a blue ground, " * 60)
    assert told.reading.negative_prompt is None
    assert told.reading.prompt.tokens > MAX_WINDOWS * told.reading.prompt.window
    assert told.reading.prompt.cut.endswith("on a blue ground,")
    assert told.reading.prompt.weights[0].text == "red"
    assert [warning.code for warning in told.warnings] == ["prompt_truncated"]


def test_no_text_has_no_tokens(hand: Hand, client: Client) -> None:
    prompt = client.count_tokens("", model=hand.card.id).reading.prompt
    assert (prompt.tokens, prompt.window, prompt.windows, prompt.cut) == (0, 75, 1, "")


def test_each_model_reads_by_its_own(hand: Hand, gateway: Serving, client: Client) -> None:
    other = CARD.model_copy(update={"id": "test/of-letters"})
    with Hand(gateway.settings, other, A_TOKEN_A_LETTER):
        for _ in range(2):
            assert client.count_tokens("ab" * 12, model=other.id).reading.prompt.cut == "abab"
            assert client.count_tokens("ab" * 12, model=hand.card.id).reading.prompt.cut == ""


def test_another_gateway_tells_the_same(hand: Hand, gateway: Serving, client: Client) -> None:
    model = hand.card.id  # the gateway may still remember others, which were served a moment ago
    with serving(gateway.settings) as other, Client(other.url) as there:
        for text in TEXTS.values():
            assert there.count_tokens(text, model=model) == client.count_tokens(text, model=model)


def test_a_worker_that_comes_with_another_vocabulary_is_believed(hand: Hand, gateway: Serving, client: Client) -> None:
    model = hand.card.id
    before = client.count_tokens("abab", model=model).reading.prompt
    with Hand(gateway.settings, hand.card, A_TOKEN_A_LETTER):
        after = client.count_tokens("abab", model=model).reading.prompt
    assert (before.window, after.window, after.tokens) == (75, 5, 4)


def test_a_model_that_nobody_has_loaded_yet_is_not_told_of(gateway: Serving, hand: Hand, client: Client) -> None:
    hand.forget_all()
    # An older worker, or one that warms up.
    with Hand(gateway.settings) as other, pytest.raises(NoVocabulary, match=other.card.id):
        client.count_tokens("a fox", model=other.card.id)
    hand.arrive()
    assert client.count_tokens("a fox", model=hand.card.id).reading.prompt.tokens


def test_without_any_model_nothing_is_told(gateway: Serving, hand: Hand) -> None:
    hand.forget_all()

    def code() -> str:  # for a second the gateway remembers the worker
        return code_of(gateway.http.post("/v1/tokens", json={"prompt": "a fox"}))

    wait_until(lambda: code() == NoModel.code, limit_s=20, what="the gateway misses the model")


@pytest.mark.usefixtures("hand")
def test_a_vocabulary_that_cannot_be_read_here_is_none(gateway: Serving, client: Client) -> None:
    unknown = Vocabulary.pack([{"model": {"type": "Of next year"}, "added_tokens": []}], window=75)
    newer = CARD.model_copy(update={"id": "test/newer"})
    with Hand(gateway.settings, newer, unknown), pytest.raises(NoVocabulary, match="test/newer"):
        client.count_tokens("a fox", model=newer.id)


@pytest.mark.usefixtures("hand")
def test_what_is_wrong_is_told_as_of_a_job(client: Client, gateway: Serving) -> None:
    with pytest.raises(InvalidRequest, match="There is no such model here") as unknown:
        client.count_tokens("a fox", model="test/none")
    assert [error.field for error in unknown.value.errors] == ["model"]
    answer = gateway.http.post("/v1/tokens", json={"prompt": "x" * 4001, "negative_prompt": 5, "seed": 1})
    assert (answer.status_code, code_of(answer)) == (422, "invalid_request")
    assert {error["field"] for error in answer.json()["errors"]} == {"prompt", "negative_prompt", "seed"}


@pytest.mark.usefixtures("hand")
def test_it_needs_the_scope_that_a_job_needs(guarded: Serving) -> None:
    asked = {"prompt": "a fox"}
    reads, submits = (make_key(guarded, "ann", scopes=[scope]).key for scope in ("read", "submit"))
    assert code_of(guarded.http.post("/v1/tokens", json=asked, headers=bearer(reads))) == "scope_missing"
    assert guarded.http.post("/v1/tokens", json=asked, headers=bearer(submits)).status_code == 200
