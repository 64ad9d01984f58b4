"""One typed settings tree. Precedence: flags over environment (``CSGATE_SERVER__PORT=8081``) over the TOML file
over the defaults. Frozen once loaded; every part is handed the section that it needs.
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from csgate.errors import ConfigError

MIB: int = 1024 * 1024

PositiveInt = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
Port = Annotated[int, Field(ge=0, le=65535)]
Algorithm = Literal["HS256", "HS384", "HS512", "RS256", "ES256", "EdDSA"]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=False)


class ServerSettings(Section):
    """Where csgate listens and whom it lets in."""

    host: str = "127.0.0.1"
    port: Port = 8080
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    operator_host: str | None = Field(
        None, description="bind /metrics, /healthz and /readyz to this address instead of the public one"
    )
    operator_port: Port | None = None
    origins: tuple[str, ...] = Field((), description="allowed Origin values; empty: same host only; '*': any")
    trusted_proxies: tuple[str, ...] = Field((), description="networks whose X-Forwarded-For is believed")
    data_dir: Path = Path(".data")
    drain_seconds: PositiveFloat = 20.0
    page: bool = True
    backlog: PositiveInt = 1024


class LimitSettings(Section):
    """Every bound at the door."""

    max_message_bytes: PositiveInt = 8 * MIB
    max_frame_bytes: PositiveInt = 16 * MIB
    receive_budget_bytes: PositiveInt = 256 * MIB
    outbound_queue_bytes: PositiveInt = MIB
    max_json_depth: PositiveInt = 8
    max_text_chars: PositiveInt = 8000
    max_pixels: PositiveInt = 50_000_000
    head_bytes: PositiveInt = 16 * 1024
    head_seconds: PositiveFloat = 10.0
    authenticate_seconds: PositiveFloat = 10.0
    message_seconds: PositiveFloat = 20.0
    message_bytes_per_second: PositiveInt = 8 * 1024
    ping_after_seconds: PositiveFloat = 25.0
    pong_seconds: PositiveFloat = 8.0
    close_seconds: PositiveFloat = 5.0
    send_seconds: PositiveFloat = 30.0
    connections: PositiveInt = 20_000
    connections_per_principal: PositiveInt = 20
    connections_per_address: PositiveInt = 2_000
    messages_per_second: PositiveFloat = 5.0
    messages_burst: PositiveInt = 20
    picture_bytes_per_second: PositiveFloat = 2.0 * MIB
    picture_bytes_burst: PositiveInt = 32 * MIB
    guests_per_minute: PositiveFloat = 30.0
    requests_per_second: PositiveFloat = 50.0


class AuthSettings(Section):
    """Which tokens pass. Without a secret, a key or a JWKS URL, a secret is made and kept in ``data_dir/secret``."""

    algorithms: tuple[Algorithm, ...] = ("HS256",)
    secret: SecretStr | None = None
    public_key_file: Path | None = None
    jwks_url: str | None = None
    jwks_cache_seconds: PositiveFloat = 300.0
    audience: str | None = None
    issuer: str | None = None
    leeway_seconds: float = Field(30.0, ge=0, le=300)
    query_token: bool = False
    guests: bool = True
    guest_seconds: PositiveFloat = 3600.0
    guest_renew_seconds: PositiveFloat = 7 * 86400.0
    ticket_seconds: PositiveFloat = 30.0
    max_tickets: PositiveInt = 10_000


class SessionSettings(Section):
    """The conversation log and its turns."""

    store: Literal["memory"] = "memory"
    max_conversations: PositiveInt = 100_000
    max_events: PositiveInt = Field(1_000, description="kept a conversation; older ones are forgotten first")
    max_age_seconds: PositiveFloat = 86_400.0
    page_events: PositiveInt = Field(50, description="events in a starting page")
    max_waiting: PositiveInt = Field(16, description="messages of one conversation that may wait")
    max_open_turns: PositiveInt = Field(4096, description="turns of all conversations waiting or running")
    max_attachments: PositiveInt = Field(16, description="connections on one conversation")
    turn_seconds: PositiveFloat = 30.0
    grace_seconds: PositiveFloat = 60.0
    handoff_seconds: PositiveFloat = 60.0


class InferenceSettings(Section):
    """Models, devices and batches."""

    models_dir: Path | None = Field(None, description="default: the models that csgate ships")
    device: Literal["auto", "cuda", "cpu"] = "auto"
    device_id: int = 0
    intra_op_threads: PositiveInt = 1
    workers: PositiveInt = Field(2, description="preparing threads a model; one prepares while the other runs")
    max_batch: PositiveInt = 32
    queue_items: PositiveInt = 1024
    max_delay_ms: float = Field(0.0, ge=0, le=1000)
    warm_up: bool = True
    cache_items: int = Field(20_000, ge=0)
    cache_bytes: int = Field(64 * MIB, ge=0)
    top_tags: PositiveInt = 5
    max_pixels: PositiveInt = 50_000_000


class DialogSettings(Section):
    """What csgate answers."""

    pack: str = Field("shop", description="a shipped pack's name, or a folder")
    language: Literal["en", "zh"] = "en"


class LogSettings(Section):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "console"] = "json"


class Config(Section):
    """The whole tree."""

    server: ServerSettings = ServerSettings()
    limits: LimitSettings = LimitSettings()
    auth: AuthSettings = AuthSettings()
    session: SessionSettings = SessionSettings()
    inference: InferenceSettings = InferenceSettings()
    dialog: DialogSettings = DialogSettings()
    log: LogSettings = LogSettings()


def _merge(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, Mapping) else value
    return merged


def _sentence(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"Setting '{where}' is not known; see docs/configuration.md for the names."
    return f"Setting '{where}' is wrong: {first['msg']}."


def load_config(
    file: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Config:
    """Reads the TOML ``file``, the environment and the flags in ``overrides`` (nested by section).

    Raises:
        ConfigError: the file is missing or not TOML, or a setting is unknown or wrong; one sentence each.
    """
    tree: dict[str, Any] = {}
    if file is not None:
        try:
            tree = tomllib.loads(file.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"Cannot read the configuration file {file}: {error.strerror}.") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"The configuration file {file} is not valid TOML: {error}.") from error
    env = os.environ if environ is None else environ
    for name, value in env.items():
        section, separator, key = name.removeprefix("CSGATE_").lower().partition("__")
        if name.startswith("CSGATE_") and separator:
            tree = _merge(tree, {section: {key: _environment_value(value)}})
    tree = _merge(tree, overrides or {})
    try:
        return Config(**tree)
    except ValidationError as error:
        raise ConfigError(_sentence(error)) from None


def _environment_value(text: str) -> Any:
    """Lists are written as TOML arrays (``["https://a.example"]``); anything else is parsed by its type."""
    if text.startswith("["):
        try:
            return tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            return text
    return text
