"""The JSON body of a chat completion request. Pure; safe from any thread, since pictures make it slow."""

import base64
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from csgate.errors import BadEnvelope
from csgate.events import Picture
from csgate.inference.generation.request import Sampling, Utterance
from csgate.pictures import file_bytes, sniff

MAX_STOPS: Final = 4
"""OpenAI refuses more."""


def request_body(utterances: Sequence[Utterance], sampling: Sampling, model: str, *, pictures: bool) -> bytes:
    """The body, UTF-8 JSON. Tools are off: none are offered. ``pictures``: whether the model is shown them.

    Raises:
        BadEnvelope: more stop strings than the interface takes, or text that is not Unicode.
        BadBase64: a picture is not what it is said to be.
        UnsupportedImage: a picture is not JPEG, PNG, WebP or GIF.
    """
    if len(sampling.stop) > MAX_STOPS:
        raise BadEnvelope(f"{len(sampling.stop)} stop strings", public=f"At most {MAX_STOPS} stop strings are taken.")
    body: dict[str, Any] = {
        "messages": [_message(utterance, pictures) for utterance in utterances],
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if model:
        body["model"] = model
    if sampling.seed is not None:
        body["seed"] = sampling.seed
    if sampling.stop:
        body["stop"] = sampling.stop
    try:
        return msgspec.json.encode(body)
    except UnicodeEncodeError as error:
        raise BadEnvelope(f"a prompt that is not Unicode: {error.reason}") from None


def _message(utterance: Utterance, pictures: bool) -> dict[str, Any]:
    if not (pictures and utterance.pictures):
        return {"role": utterance.speaker, "content": utterance.text}
    parts: list[dict[str, Any]] = [{"type": "text", "text": utterance.text}] if utterance.text else []
    parts += [{"type": "image_url", "image_url": {"url": _data_url(picture)}} for picture in utterance.pictures]
    return {"role": utterance.speaker, "content": parts}


def _data_url(picture: Picture) -> str:
    # Decoded and encoded anew, with the type that it really has: what came may carry a prefix of the sender's choice.
    data = file_bytes(picture)
    return f"data:image/{sniff(data)};base64,{base64.b64encode(data).decode('ascii')}"
