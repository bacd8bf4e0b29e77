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
    def cancel(self) -> Locator:
        return self.page.locator("#cancel")

    @property
    def notices(self) -> Locator:
        return self.page.locator("#notices")

    @property
    def problems(self) -> Locator:
        return self.page.locator("#problems li")

    @property
    def pictures(self) -> Locator:
        return self.page.locator("#tray .paper.done img")

    def preset(self, title: str) -> Locator:
        """Find a preset by its title."""
        return self.page.locator("#preset").get_by_role("radio", name=title, exact=True)

    def number(self, field: str) -> Locator:
        """Find the box of a control that holds a number."""
        return self.page.locator(f"#{field} input[type=number]")

    def set_number(self, field: str, value: int) -> None:
        """Type a number as a person does, and leave the box."""
        self.number(field).fill(str(value))
        self.number(field).blur()

    def ask_for_much(self, prompt: str) -> None:
        """Ask for so much that there is time to do something meanwhile: seconds on an idle machine."""
        self.set_number("num_images", MANY)
        self.set_number("num_inference_steps", 30)
        self.prompt.fill(prompt)
        self.generate.click()

    def expect_tray(self, state: str) -> None:
        """Wait until the tray is in a state: waiting, running, or how the job ended."""
        expect(self.page.locator(f"#tray .tray.{state}")).to_be_visible()

    def job_id(self) -> str:
        """Read the job's id from the address of its first picture."""
        source = self.pictures.first.get_attribute("src") or ""
        return source.split("/")[1]

    def download(self, index: int, into: Path) -> tuple[str, bytes]:
        """Press a picture's download link; the file's name and its bytes."""
        with self.page.expect_download() as started:
            self.page.locator("#tray a.download").nth(index).click()
        file = into / "download"
        started.value.save_as(file)
        return started.value.suggested_filename, file.read_bytes()

    def mark(self) -> None:
        """Leave something in the page that a reload would lose."""
        self.page.evaluate("window.marked = true")

    def is_marked(self) -> bool:
        """Tell whether the page is still the one that was marked."""
        return bool(self.page.evaluate("window.marked === true"))
