"""Somebody who uses the page, and everything that the browser says of it meanwhile."""

import json
import re
from base64 import urlsafe_b64decode
from typing import Any, Literal
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Dialog, Locator, Page, Request, WebSocket, expect

WATCH = """
document.addEventListener("securitypolicyviolation", event =>
    told("policy " + event.violatedDirective + " " + event.blockedURI));
"""
"""Runs before the page's own scripts, in every page of the visitor."""

GIVE_FILE = """(field, [kind, name, type, text]) => {
    const transfer = new DataTransfer();
    transfer.items.add(new File([Uint8Array.from(atob(text), letter => letter.charCodeAt(0))], name, { type }));
    const how = { bubbles: true, composed: true, cancelable: true };
    const make = kind => kind === "paste"
        ? new ClipboardEvent(kind, { ...how, clipboardData: transfer })
        : new DragEvent(kind, { ...how, dataTransfer: transfer });
    if (kind === "drop") field.dispatchEvent(make("dragover"));
    return field.dispatchEvent(make(kind));
}"""
NETWORK = re.compile(
    r"ERR_(CONNECTION_REFUSED|CONNECTION_RESET|INTERNET_DISCONNECTED|EMPTY_RESPONSE)|WebSocket connection to"
)


class Visitor:
    """A browser profile of its own on the page of ``home``.

    ``complaints`` must be empty in the end: errors of scripts, warnings, dialogs, violations of the
    Content-Security-Policy and requests to other hosts.
    """

    def __init__(
        self, browser: Browser, home: str, *, path: str | None = "/", network_fails: bool = False, **options: Any
    ) -> None:
        self.home = home
        self.complaints: list[str] = []
        self.frames: list[str | bytes] = []
        self.received: list[str | bytes] = []
        self.sockets: list[WebSocket] = []
        self.uploads: list[Request] = []
        self._network_fails = network_fails
        self.context = browser.new_context(**{"locale": "en-US", "viewport": {"width": 900, "height": 760}, **options})
        self.context.expose_function("told", lambda said: self.complaints.append(said))
        self.context.add_init_script(WATCH)
        self.context.on("request", self._requested)
        self.page = self.open(path)

    def open(self, path: str | None = "/") -> Page:
        """One more tab; with None it stays empty."""
        page = self.context.new_page()
        page.set_default_timeout(30_000)
        page.on("dialog", self._asked)
        page.on("pageerror", lambda error: self.complaints.append(f"error {error}"))
        page.on("console", lambda said: self._said(said.type, said.text))
        page.on("websocket", self._connected)
        if path is not None:
            page.goto(self.home + path)
        return page

    def close(self) -> None:
        self.context.close()
        assert not self.complaints, self.complaints

    # --- what is done ------------------------------------------------------------------------------------------------

    def say(self, text: str, page: Page | None = None) -> None:
        field(page or self.page).fill(text)
        field(page or self.page).press("Enter")

    def give(self, kind: Literal["paste", "drop"], name: str, type: str, data: str) -> None:
        """Pastes or drops a file whose content is Base64."""
        field(self.page).evaluate(GIVE_FILE, [kind, name, type, data])

    def send(self) -> None:
        self.page.get_by_role("button", name=re.compile("^(Send|发送)$")).click()

    def online(self, page: Page | None = None) -> None:
        expect((page or self.page).locator("[data-connection=online]")).to_be_visible()

    def subject(self) -> str:
        """The guest's name."""
        token = self.page.evaluate(
            """() => new Promise(done => {
                const opening = indexedDB.open("csgate");
                opening.onsuccess = () => {
                    const asking = opening.result.transaction("values").objectStore("values").get("guest");
                    asking.onsuccess = () => { opening.result.close(); done(asking.result); };
                };
            })"""
        )
        body = str(token).split(".")[1]
        return str(json.loads(urlsafe_b64decode(body + "=" * (-len(body) % 4)))["sub"])

    # --- what is heard -----------------------------------------------------------------------------------------------

    def _said(self, kind: str, text: str) -> None:
        if kind in ("error", "warning") and not (self._network_fails and NETWORK.search(text)):
            self.complaints.append(f"{kind} {text}")

    def _asked(self, dialog: Dialog) -> None:
        self.complaints.append(f"dialog {dialog.message}")
        dialog.dismiss()

    def _requested(self, request: Request) -> None:
        if request.method == "POST" and "/v1/uploads" in request.url:
            self.uploads.append(request)
        parts = urlsplit(request.url)
        if parts.scheme in ("http", "https", "ws", "wss") and parts.hostname not in ("127.0.0.1", "localhost"):
            self.complaints.append(f"request {request.url}")

    def _connected(self, socket: WebSocket) -> None:
        self.sockets.append(socket)
        # Playwright cannot mark the methods of built-in types as its listeners.
        socket.on("framesent", lambda frame: self.frames.append(frame))
        socket.on("framereceived", lambda frame: self.received.append(frame))


def field(page: Page) -> Locator:
    return page.get_by_label("Write a message").or_(page.get_by_label("输入消息"))


def answers(page: Page) -> Locator:
    """Those that are whole."""
    return page.locator(".row.reply[aria-busy=false]:not(.error) .md")


def growing(page: Page) -> Locator:
    return page.locator(".row.reply[aria-busy=true] .md")


def own(page: Page) -> Locator:
    return page.locator(".row.own .bubble")


def pictures_in(page: Page, row: str) -> Locator:
    """Pictures in rows of that kind that have been loaded."""
    return page.locator(f".row.{row} .pic:not(.wait):not(.broken) img")
