"""What the page serves beside itself: pictures large and small, those in the making, contact sheets, its scripts."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO

import pytest
from fastapi import FastAPI, Request
from PIL import Image
from starlette.testclient import TestClient

from shared.client import Client
from shared.contract import JobBody
from shared.errors import JobNotFound
from shared.jobs import new_job_id
from tests.integration.serving import Hand
from ui import assets
from ui.pictures import picture_routes
from ui.prints import THUMBNAIL_SIDE, Frame, Shelf, contact_sheet, sheet_font, shown


def painted(colour: str, size: tuple[int, int] = (1200, 800)) -> bytes:
    written = BytesIO()
    Image.new("RGB", size, colour).save(written, "PNG")
    return written.getvalue()


def opened(data: bytes) -> Image.Image:
    return Image.open(BytesIO(data))


class Strangers(Client):
    """As the gateway answers somebody whose job it is not."""

    def job(self, job_id: str) -> JobBody:
        raise JobNotFound(job_id)

    def image(self, job_id: str, index: int, *, redirect: bool = True) -> bytes:
        del index, redirect
        raise JobNotFound(job_id)

    def preview(self, job_id: str) -> bytes | None:
        raise JobNotFound(job_id)


@pytest.fixture
def browser(client: Client) -> Iterator[TestClient]:
    """A browser; with the header `Stranger` it asks as somebody else."""
    stranger = Strangers()

    def client_of(request: Request) -> Client:
        return stranger if "Stranger" in request.headers else client

    app = FastAPI()
    app.include_router(picture_routes(client_of))
    app.mount(assets.PATH, assets.scripts())
    with TestClient(app) as opened_browser:
        yield opened_browser
    stranger.close()


@pytest.fixture
def drawn(hand: Hand, client: Client) -> JobBody:
    job = client.submit("a cube of glass on a table", num_images=2)
    claimed = hand.take()
    hand.draw(claimed, 0, painted("red"))
    hand.draw(claimed, 1, painted("blue"))
    return client.job(job.id)


def test_a_thumbnail_is_a_small_webp_of_the_same_shape(browser: TestClient, drawn: JobBody) -> None:
    answer = browser.get(f"/thumbnails/{drawn.id}/1.webp")

    small = opened(answer.content)
    assert (answer.status_code, answer.headers["Content-Type"], small.format) == (200, "image/webp", "WEBP")
    assert small.size == (THUMBNAIL_SIDE, round(THUMBNAIL_SIDE * 800 / 1200))
    assert answer.headers["Cache-Control"] == "private, no-cache"


def test_a_thumbnail_asked_for_again_is_the_same(browser: TestClient, drawn: JobBody) -> None:
    path = f"/thumbnails/{drawn.id}/0.webp"

    assert browser.get(path).content == browser.get(path).content


def test_a_thumbnail_of_a_deleted_job_is_gone_although_it_was_kept(
    browser: TestClient, client: Client, drawn: JobBody
) -> None:
    path = f"/thumbnails/{drawn.id}/0.webp"
    assert browser.get(path).status_code == 200

    client.delete(drawn.id)

    assert browser.get(path).status_code == 404


def test_a_contact_sheet_has_every_picture_of_the_job(browser: TestClient, drawn: JobBody) -> None:
    answer = browser.get(f"/sheets/{drawn.id}.png")

    sheet = opened(answer.content).convert("RGB")
    colours = {colour for _, colour in sheet.getcolors(maxcolors=2**24) or []}
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/png")
    assert {(255, 0, 0), (0, 0, 255)} <= colours
    assert f"darkroom-{drawn.id}-sheet.png" in answer.headers["Content-Disposition"]


@pytest.mark.parametrize(("count", "size"), [(8, (64, 64)), (4, (600, 1000)), (3, (1000, 600)), (1, (64, 128))])
def test_a_contact_sheet_is_whole_for_any_number_and_shape(count: int, size: tuple[int, int]) -> None:
    sheet = opened(contact_sheet([Frame(painted("lime", size), 2**32 - 1)] * count, "a word " * 300)).convert("RGB")

    width, height = sheet.size
    assert 1 / 3 < width / height < 3
    assert sheet.getpixel((width - 1, height - 1)) == sheet.getpixel((0, 0)), "a margin all around"


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("caf\u00e9 in Malm\u00f6, \u0141\u00f3d\u017a", None),
        ("\u043a\u043e\u0442 \u0432 \u0441\u0430\u043f\u043e\u0433\u0430\u0445, \u03b3\u03ac\u03c4\u03b1", None),
        ("cafe\u0301", "caf\u00e9"),
        ("\u4e00\u53ea\u732b", "[\u2026]"),
        ("a cat, \u4e00\u53ea \u732b, in ink \U0001f600", "a cat, [\u2026] in ink [\u2026]"),
        ("\u0642\u0637\u0629 sleeps", "[\u2026] sleeps"),
    ],
    ids=["latin", "cyrillic_and_greek", "decomposed", "chinese", "mixed", "arabic"],
)
def test_a_contact_sheet_leaves_out_what_its_font_lacks_and_says_so(prompt: str, words: str | None) -> None:
    said, why = shown(prompt, sheet_font(28))

    assert said == (prompt if words is None else words)
    assert bool(why) == ("[" in said)
    assert contact_sheet([Frame(painted("lime"), 7)], prompt)


def test_there_is_no_contact_sheet_without_pictures(browser: TestClient, hand: Hand, client: Client) -> None:
    assert hand.card
    job = client.submit("a cube")

    answer = browser.get(f"/sheets/{job.id}.png")

    assert (answer.status_code, answer.headers["Content-Type"]) == (404, "text/plain; charset=utf-8")


def test_no_preview_yet_is_no_error(browser: TestClient, hand: Hand, client: Client) -> None:
    assert hand.card
    answer = browser.get(f"/previews/{client.submit('a cube').id}?version=1")

    assert (answer.status_code, answer.headers["Cache-Control"]) == (204, "no-store")


def test_a_picture_is_saved_under_its_name(browser: TestClient, drawn: JobBody) -> None:
    answer = browser.get(f"/pictures/{drawn.id}/0.png")

    assert answer.content == painted("red")
    assert answer.headers["Content-Disposition"] == f'inline; filename="darkroom-{drawn.id}-0.png"'


@pytest.mark.parametrize("path", ["pictures/{}/0.png", "thumbnails/{}/0.webp", "previews/{}", "sheets/{}.png"])
def test_what_is_a_strangers_is_not_found(browser: TestClient, drawn: JobBody, path: str) -> None:
    own = f"/{path.format(drawn.id)}"
    assert browser.get(own).status_code < 300

    for answer in (browser.get(own, headers={"Stranger": "yes"}), browser.get(f"/{path.format(new_job_id())}")):
        assert (answer.status_code, answer.headers["Content-Type"]) == (404, "text/plain; charset=utf-8")


def test_scripts_are_checked_at_every_visit(browser: TestClient) -> None:
    answer = browser.get("/studio/studio.js")

    assert "javascript" in answer.headers["Content-Type"]
    assert answer.headers["Cache-Control"] == "no-cache"
    assert browser.get("/studio/studio.js", headers={"If-None-Match": answer.headers["ETag"]}).status_code == 304


def test_a_shelf_lets_go_of_what_was_not_used_for_longest() -> None:
    shelf = Shelf(most_bytes=10)
    shelf.put("a", b"1234")
    shelf.put("b", b"1234")
    assert shelf.get("a") == b"1234"

    shelf.put("c", b"1234")

    assert (shelf.get("a"), shelf.get("b"), shelf.get("c")) == (b"1234", None, b"1234")


def test_a_shelf_counts_what_is_put_twice_once() -> None:
    shelf = Shelf(most_bytes=10)
    for _ in range(5):
        shelf.put("a", b"1234")
    shelf.put("b", b"123456")

    assert shelf.get("a") == b"1234"


class TestABrowserThatHasAPicture:
    @pytest.fixture(params=["/pictures/{}/1.png", "/thumbnails/{}/1.webp", "/sheets/{}.png"])
    def path(self, request: pytest.FixtureRequest, drawn: JobBody) -> str:
        return str(request.param).format(drawn.id)

    def test_asks_whether_it_may_still_show_it_and_is_not_sent_it_again(self, browser: TestClient, path: str) -> None:
        first = browser.get(path)
        again = browser.get(path, headers={"If-None-Match": first.headers["ETag"]})

        assert first.headers["Cache-Control"] == "private, no-cache"
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["ETag"] == first.headers["ETag"]
        assert again.headers["Cache-Control"] == "private, no-cache"

    def test_is_told_of_one_that_is_gone(self, browser: TestClient, client: Client, drawn: JobBody, path: str) -> None:
        known = {"If-None-Match": browser.get(path).headers["ETag"]}
        client.delete(drawn.id)

        assert browser.get(path, headers=known).status_code == 404

    def test_is_told_of_one_that_is_not_its_visitors_any_longer(self, browser: TestClient, path: str) -> None:
        known = {"If-None-Match": browser.get(path).headers["ETag"]}

        assert browser.get(path, headers={**known, "Stranger": "yes"}).status_code == 404

    @pytest.mark.parametrize(("known", "status"), [("W/{}", 304), ('"other", {}', 304), ('"other"', 200)])
    def test_is_sent_it_unless_it_names_this_very_one(
        self, browser: TestClient, path: str, known: str, status: int
    ) -> None:
        tag = browser.get(path).headers["ETag"]

        assert browser.get(path, headers={"If-None-Match": known.format(tag)}).status_code == status


def test_a_contact_sheet_with_another_picture_on_it_is_another(browser: TestClient, hand: Hand, client: Client) -> None:
    job = client.submit("two cubes", num_images=2)
    claimed = hand.take()
    hand.draw(claimed, 0, painted("red"))
    first = browser.get(f"/sheets/{job.id}.png").headers["ETag"]
    hand.draw(claimed, 1, painted("blue"))

    assert browser.get(f"/sheets/{job.id}.png", headers={"If-None-Match": first}).status_code == 200


def test_a_picture_has_one_tag_however_it_was_asked_for(browser: TestClient, drawn: JobBody) -> None:
    tags = {image.index: f'"{image.sha256}"' for image in drawn.images}

    assert {index: browser.get(f"/pictures/{drawn.id}/{index}.png").headers["ETag"] for index in tags} == tags


@pytest.mark.parametrize("path", ["pictures/{}/2.png", "thumbnails/{}/2.webp"])
def test_a_picture_that_the_job_has_not_is_not_found(browser: TestClient, drawn: JobBody, path: str) -> None:
    answer = browser.get(f"/{path.format(drawn.id)}")

    assert (answer.status_code, answer.text) == (404, "The job has no such picture, or not yet.")
