"""One exception tree for everything csgate refuses or fails at.

Every class carries the protocol's error code, the WebSocket close code that follows it (``None`` where the connection
stays open), the HTTP status it becomes, and a sentence that is safe to show to a stranger, in English and Chinese.
``detail`` is for the log only; it never reaches a peer.  ``public`` replaces the stock sentence where a caller has a
more exact one that is safe as well (a position, a limit).
"""

from enum import IntEnum
from typing import ClassVar, Protocol, TypeVar


class CloseCode(IntEnum):
    """WebSocket close codes: RFC 6455 section 7.4.1, its IANA registry, and csgate's private range."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    INVALID_PAYLOAD = 1007
    POLICY_VIOLATION = 1008
    TOO_BIG = 1009
    INTERNAL_ERROR = 1011
    TRY_AGAIN_LATER = 1013
    # 4000-4499: come back.
    DRAINING = 4001
    PONG_TIMEOUT = 4002
    SLOW_READER = 4003
    RESUME_NEEDED = 4004
    MESSAGE_STALLED = 4006
    # 4500-4999: do not.
    BAD_TOKEN = 4500
    TOKEN_EXPIRED = 4501
    NOT_AUTHENTICATED = 4502
    ABUSE = 4503
    PROTOCOL_MISUSE = 4504
    ORIGIN_REFUSED = 4505


class CsgateError(Exception):
    """Root of the tree; by itself an unexplained internal failure."""

    code: ClassVar[str] = "internal"
    close_code: ClassVar[CloseCode | None] = None
    http_status: ClassVar[int] = 500
    safe_en: ClassVar[str] = "Something went wrong on our side. Please try again."
    safe_zh: ClassVar[str] = "我们这边出了点问题，请再试一次。"

    def __init__(
        self,
        detail: str = "",
        *,
        public: str | None = None,
        public_zh: str | None = None,
        retry_after: float | None = None,
        max_bytes: int | None = None,
    ) -> None:
        super().__init__(detail or public or self.safe_en)
        self.detail = detail
        self.public = public
        self.public_zh = public_zh
        self.retry_after = retry_after
        self.max_bytes = max_bytes

    def text(self, language: str = "en") -> str:
        """The sentence to show, in ``language`` (``zh`` or anything else for English)."""
        if language == "zh":
            return self.public_zh or self.safe_zh
        return self.public or self.safe_en


# --- What stops start-up -------------------------------------------------------------------------------------------


class ConfigError(CsgateError):
    """A setting is wrong. The message is one sentence that says how to mend it; shown by the command line."""


class ModelError(ConfigError):
    """A model folder, manifest or ONNX file cannot be used."""


class PackError(ConfigError):
    """A dialog pack cannot be used."""


# --- What a peer did wrong -----------------------------------------------------------------------------------------


class PeerError(CsgateError):
    """The peer's doing: reported to it, logged at info, counted by code."""

    http_status = 400


class BadJson(PeerError):
    code = "bad_json"
    safe_en = "The message is not valid JSON."
    safe_zh = "消息不是有效的 JSON。"


class BadEnvelope(PeerError):
    code = "bad_envelope"
    safe_en = "The message does not have the expected fields."
    safe_zh = "消息的字段不符合要求。"


class UnknownType(PeerError):
    code = "unknown_type"
    safe_en = "This message type is not known."
    safe_zh = "未知的消息类型。"


class BadBase64(PeerError):
    code = "bad_base64"
    safe_en = "The picture is not valid Base64."
    safe_zh = "图片的 Base64 编码无效。"


class BadImage(PeerError):
    code = "bad_image"
    safe_en = "The picture is damaged and cannot be opened."
    safe_zh = "图片已损坏，无法打开。"


class UnsupportedImage(PeerError):
    code = "unsupported_image"
    http_status = 415
    safe_en = "This kind of picture is not supported. Please send JPEG, PNG, WebP or GIF."
    safe_zh = "不支持这种图片格式，请发送 JPEG、PNG、WebP 或 GIF。"


class ImageTooLarge(PeerError):
    code = "image_too_large"
    http_status = 413
    safe_en = "The picture has too many pixels."
    safe_zh = "图片的像素过多。"


class TooLarge(PeerError):
    code = "too_large"
    http_status = 413
    safe_en = "The message is too large."
    safe_zh = "消息过大。"


class DuplicateMismatch(PeerError):
    code = "duplicate_mismatch"
    http_status = 409
    safe_en = "This message id was used before with other content."
    safe_zh = "这个消息编号已用于其他内容。"


class RateLimited(PeerError):
    code = "rate_limited"
    http_status = 429
    safe_en = "Too many messages. Please wait a moment."
    safe_zh = "消息过于频繁，请稍候。"


class Unauthorized(PeerError):
    code = "unauthorized"
    close_code = CloseCode.BAD_TOKEN
    http_status = 401
    safe_en = "The token is missing or not valid."
    safe_zh = "令牌缺失或无效。"


class Expired(Unauthorized):
    code = "expired"
    close_code = CloseCode.TOKEN_EXPIRED
    safe_en = "The token has expired."
    safe_zh = "令牌已过期。"


class Forbidden(PeerError):
    code = "forbidden"
    http_status = 403
    safe_en = "This is not allowed."
    safe_zh = "不允许此操作。"


class NotFound(PeerError):
    code = "not_found"
    http_status = 404
    safe_en = "There is nothing here by that name."
    safe_zh = "找不到该内容。"


# --- What csgate could not do ---------------------------------------------------------------------------------------


class Overloaded(CsgateError):
    """A bound was met. Refused at the door with ``retry_after``; never absorbed."""

    code = "overloaded"
    http_status = 503
    safe_en = "We are very busy right now. Please try again shortly."
    safe_zh = "目前咨询量较大，请稍后再试。"


class StoreUnavailable(Overloaded):
    """The conversation store could not do it now (disk full, file locked or damaged). What was asked did not happen."""

    safe_en = "This cannot be stored right now. Please try again shortly."
    safe_zh = "暂时无法保存，请稍后再试。"


class MediaUnavailable(Overloaded):
    """The store of pictures does not answer, or cannot do it now. What was asked may be asked again."""

    safe_en = "Pictures cannot be stored or fetched right now. Please try again shortly."
    safe_zh = "暂时无法保存或读取图片，请稍后再试。"


class TurnTimeout(CsgateError):
    code = "timeout"
    http_status = 504
    safe_en = "The answer took too long. Please try again."
    safe_zh = "回答超时，请再试一次。"


class TurnCancelled(CsgateError):
    code = "cancelled"
    http_status = 499
    safe_en = "The answer was stopped."
    safe_zh = "回答已停止。"


class EngineUnavailable(CsgateError):
    code = "engine_unavailable"
    http_status = 503
    safe_en = "The assistant is not available right now. Please try again shortly."
    safe_zh = "助手暂时不可用，请稍后再试。"


class Internal(CsgateError):
    """An unexpected failure, already logged under the reference that the peer is given."""


_Error = TypeVar("_Error", bound=Exception)


class Failing(Protocol[_Error]):
    """What somebody waits for, and the error that it ended with."""

    error: _Error | None


def raise_error_of(job: Failing[_Error]) -> None:
    """Raises the error that ``job`` ended with, if it did, and takes it out.

    The error's traceback holds frames that hold the job: with the error left in it, what the job carries (a refused
    picture, say) would stay in memory until the collector of cycles comes by.
    """
    error, job.error = job.error, None
    if error is None:
        return
    try:
        raise error
    finally:
        del error
