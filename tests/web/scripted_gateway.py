"""A real gateway whose answers are scripted, as a process: what a page meets, without models.

``python -m tests.web.scripted_gateway serve …`` takes the flags of ``csgate serve``. The text of a message says what is
answered; a picture is answered with its format and size.
"""

import io
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any
from unittest import mock

import trio
from PIL import Image

from csgate.cli.main import main
from csgate.errors import BadImage, Overloaded
from csgate.events import Draft, Intent, Sentiment, Tag
from csgate.gateway import node

FORMATTED = """\
Your order **12345** left *yesterday*; see `FS-99812`.

1. Carrier: FastShip
2. Status: on its way

- one
- two

> quoted

```
code <b>
```

[Track it](https://example.com/track?x=1&y=2), https://example.com/help."""
HOSTILE = """\
<img src=x onerror="window.pwned=1"><script>window.pwned=2</script><b>bold</b>
[script](javascript:window.pwned=3) [data](data:text/html,<script>window.pwned=4</script>) [file](file:///etc/passwd)
**<svg onload=window.pwned=5>** `<iframe src=javascript:window.pwned=6>` javascript:window.pwned=7
[x](https://example.com/"onmouseover="window.pwned=8")"""


class ScriptedDialog:
    """Stands where ``Dialog`` stands."""

    def __init__(self, *_: object) -> None:
        self._refused = False

    async def prepare(self) -> None:
        """Nothing to read up on."""

    async def answer(self, turn: Any) -> Draft:
        turn.progress("understanding")
        if turn.picture is not None:
            return self._picture(turn)
        match turn.text:
            case "formatted":
                return Draft(text=FORMATTED, quick_replies=("formatted", "plain"))
            case "hostile":
                return Draft(text=HOSTILE, quick_replies=("<img src=x onerror=window.pwned=9>",), analysis="<b>x</b>")
            case "streamed":
                for piece in ("This ", "is **stream", "ed**."):
                    turn.delta(piece)
                    await trio.sleep(0.15)
                return Draft(text="This is **streamed**.")
            case "broken":
                raise Overloaded("scripted")
        return Draft(
            text=f"You said: {turn.text}",
            intent=Intent("order_status", 0.973),
            sentiment=Sentiment("negative", -0.5),
            timing={"total": 12.3},
        )

    def _picture(self, turn: Any) -> Draft:
        try:
            picture = Image.open(io.BytesIO(bytes(turn.picture.data)))
        except OSError as error:
            raise BadImage(str(error)) from error
        tags = (Tag("cat_face", "cat face", 0.9), Tag("joy", "joy", 0.5))
        text = f"{picture.format} {picture.width}x{picture.height} {turn.text or ''}".strip()
        return Draft(text=text, tags=tags, analysis="A cat that laughs.")


@asynccontextmanager
async def scripted_engine(*_: object) -> AsyncIterator[Any]:
    models = {"intent": SimpleNamespace(name="scripted", version="1")}
    yield SimpleNamespace(info=SimpleNamespace(provider="CPUExecutionProvider", precision="int8", models=models))


if __name__ == "__main__":
    with (
        mock.patch.object(node, "open_engine", scripted_engine),
        mock.patch.object(node, "Dialog", ScriptedDialog),
    ):
        sys.exit(main())
