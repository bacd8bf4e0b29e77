"""A person at the page: what they do and what they see."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from playwright.sync_api import ConsoleMessage, Error, Locator, Page, Request, expect

WITHIN_MS: Final = 300_000
"""A limit, not a wait: the page answers in milliseconds on an idle machine."""

MANY: Final = 4


class Visitor:
    """One browser's page, and the log of what it asked for."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self._url = url
        self.foreign_requests: list[str] = []
        self.script_errors: list[str] = []
        self.failed_requests: list[str] = []
        """For whoever reads a failed test: a page that went away leaves some too."""
        page.set_default_timeout(WITHIN_MS)
        expect.set_options(timeout=WITHIN_MS)
        page.on("request", self._note_request)
        page.on("requestfailed", self._note_failure)
        page.on("console", self._note_console)
        page.on("pageerror", self._note_error)

    def _note_request(self, request: Request) -> None:
        if not request.url.startswith((self._url, "data:", "blob:")):
            self.foreign_requests.append(request.url)

    def _note_failure(self, request: Request) -> None:
        self.failed_requests.append(f"{request.url}: {request.failure}")

    def _note_console(self, message: ConsoleMessage) -> None:
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.script_errors.append(message.text)

    def _note_error(self, error: Error) -> None:
        self.script_errors.append(str(error))

    def open(self) -> None:
        """Open the page and wait until a model is named."""
        self.page.goto(self._url)
        expect(self.generate).to_be_enabled()

    @property
    def prompt(self) -> Locator:
        return self.page.locator("#prompt textarea")

    @property
    def generate(self) -> Locator:
        return self.page.locator("#generate")

    @property
    def notices(self) -> Locator:
        return self.page.locator("#notices")

    @property
    def cards(self) -> Locator:
        """The jobs in the feed, newest first."""
        return self.page.locator("#feed > li.card")

    @property
    def newest(self) -> Locator:
        return self.cards.first

    @property
    def pictures(self) -> Locator:
        """Those of the newest job that are done."""
        return self.newest.locator("figure.done")

    def problem(self, field: str) -> Locator:
        """Find what is said under a control."""
        return self.page.locator(f"#problem-{field} p")

    def press(self, what: str, card: Locator | None = None) -> None:
        """Press a button of a card, the newest one unless another is said; in its menu if it is there."""
        button = (card or self.newest).locator(f'[data-do="{what}"]').first
        menu = button.locator("xpath=ancestor::details[not(@open)]/summary")
        if menu.count():
            menu.first.click()
        button.click()

    def preset(self, title: str) -> Locator:
        """Find a preset by its title."""
        return self.page.locator("#preset").get_by_role("radio", name=title, exact=True)

    def number(self, field: str) -> Locator:
        """Find the box of a control that holds a number."""
        return self.page.locator(f"#{field} input[type=number]")

    def open_more(self) -> None:
        """Open what is under "More settings"."""
        if not self.number("num_inference_steps").is_visible():
            self.page.locator("#more button").first.click()

    def lock_seed(self, seed: int) -> None:
        """Have the same seed used from now on."""
        self.open_more()
        self.set_number("seed", seed)
        expect(self.page.locator("#seed_locked input")).to_be_checked()

    def set_number(self, field: str, value: int) -> None:
        """Type a number as a person does, and leave the box."""
        self.number(field).fill(str(value))
        self.number(field).blur()

    def ask_for(self, prompt: str) -> None:
        """Ask for a picture, and wait until its card is there."""
        self.prompt.fill(prompt)
        self.generate.click()
        expect(self.newest.locator(".prompt")).to_have_text(prompt)

    def ask_for_much(self, prompt: str, *, steps: int = 30) -> None:
        """Ask for so much that there is time to do something meanwhile: by default seconds on an idle machine."""
        self.open_more()
        self.set_number("num_images", MANY)
        self.set_number("num_inference_steps", steps)
        self.ask_for(prompt)

    def expect_newest(self, status: str) -> None:
        """Wait until the newest job waits, runs, or has ended in some way."""
        expect(self.newest).to_have_attribute("data-status", status)

    def job_id(self) -> str:
        """Read the newest job's id."""
        return self.newest.get_attribute("data-job") or ""

    def download(self, index: int, into: Path) -> tuple[str, bytes]:
        """Press a picture's download link; the file's name and its bytes."""
        with self.page.expect_download() as started:
            self.pictures.nth(index).locator("a[download]").click()
        file = into / "download"
        started.value.save_as(file)
        return started.value.suggested_filename, file.read_bytes()

    def mark(self) -> None:
        """Leave something in the page that a reload would lose."""
        self.page.evaluate("window.marked = true")

    def is_marked(self) -> bool:
        """Tell whether the page is still the one that was marked."""
        return bool(self.page.evaluate("window.marked === true"))
