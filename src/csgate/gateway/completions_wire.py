"""What goes out of the OpenAI-compatible endpoint: errors, completions, chunks of a stream. Pure."""

from typing import Any, Final

import msgspec

from csgate.errors import CsgateError, Overloaded
from csgate.events import Draft, Language
from csgate.gateway.completions_request import BadRequest
from csgate.inference.generation import FinishReason

COMPLETIONS_PATH: Final = "/v1/chat/completions"
MODELS_PATH: Final = "/v1/models"
DONE: Final = b"data: [DONE]\n\n"

_TYPES: Final = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
}


class Usage(msgspec.Struct, frozen=True):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Outcome(msgspec.Struct, frozen=True):
    """A finished answer. ``usage`` is ``None`` where nobody counted; ``draft`` where csgate itself answered."""

    text: str
    finish: FinishReason
    model: str
    usage: Usage | None = None
    draft: Draft | None = None


class Head(msgspec.Struct, frozen=True):
    """What every chunk of one completion says. ``created`` is Unix time in seconds."""

    id: str
    created: int
    model: str


def speaks_openai(path: str) -> bool:
    """Whether refusals at ``path`` have OpenAI's form."""
    return path in (COMPLETIONS_PATH, MODELS_PATH) or path.startswith(f"{MODELS_PATH}/")


def status_of(error: CsgateError) -> int:
    """The HTTP status: overload is 429 here, which OpenAI's clients come back after; else the error's own."""
    return 429 if isinstance(error, Overloaded) else error.http_status


def error_body(error: CsgateError, language: Language = "en") -> dict[str, Any]:
    """``{"error": {"message", "type", "param", "code"}}``: the safe sentence, never the detail."""
    status = status_of(error)
    bad = error if isinstance(error, BadRequest) else None
    return {
        "error": {
            "message": error.text(language),
            "type": _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error"),
            "param": bad.param if bad is not None else None,
            "code": bad.reason if bad is not None else error.code,
        }
    }


def model_entry(name: str, created: int) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": created, "owned_by": "csgate"}


def completion(head: Head, outcome: Outcome) -> dict[str, Any]:
    """The whole answer at once."""
    body: dict[str, Any] = {
        "id": head.id,
        "object": "chat.completion",
        "created": head.created,
        "model": outcome.model,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": outcome.text, "refusal": None},
                "logprobs": None,
                "finish_reason": outcome.finish,
            }
        ],
    }
    if outcome.usage is not None:
        body["usage"] = outcome.usage
    return body | _about(outcome)


def event(body: Any) -> bytes:
    """One server-sent event."""
    return b"data: " + msgspec.json.encode(body) + b"\n\n"


def first_chunk(head: Head, include_usage: bool) -> bytes:
    """Who speaks."""
    return _chunk(head, {"role": "assistant", "content": ""}, None, include_usage)


def text_chunk(head: Head, text: str, include_usage: bool) -> bytes:
    return _chunk(head, {"content": text}, None, include_usage)


def last_chunks(head: Head, outcome: Outcome, include_usage: bool) -> bytes:
    """Why it ended, the usage where asked for (``null`` where nobody counted), and the end of the stream."""
    end = _chunk(head, {}, outcome.finish, include_usage, _about(outcome))
    if include_usage:
        end += event(_body(head) | {"choices": [], "usage": outcome.usage})
    return end + DONE


def _chunk(
    head: Head,
    delta: dict[str, str],
    finish: FinishReason | None,
    include_usage: bool,
    more: dict[str, Any] | None = None,
) -> bytes:
    body = _body(head) | {"choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]}
    if include_usage:
        body["usage"] = None
    return event(body | (more or {}))


def _body(head: Head) -> dict[str, Any]:
    return {"id": head.id, "object": "chat.completion.chunk", "created": head.created, "model": head.model}


def _about(outcome: Outcome) -> dict[str, Any]:
    """What csgate understood, in a field of its own, which clients that do not know it pass over."""
    draft = outcome.draft
    if draft is None:
        return {}
    return {
        "csgate": {
            "intent": draft.intent,
            "sentiment": draft.sentiment,
            "tags": draft.tags,
            "analysis": draft.analysis,
            "source": draft.source,
            "quick_replies": draft.quick_replies,
            "hand_over": draft.hand_over,
        }
    }
