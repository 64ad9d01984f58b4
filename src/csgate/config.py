"""One typed settings tree. Precedence: flags over environment (``CSGATE_SERVER__PORT=8081``) over the TOML file
over the defaults. Frozen once loaded; every part is handed the section that it needs.

docs/configuration.md is generated from this tree (``csgate config --reference``); a test keeps the two together.
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from csgate.errors import ConfigError

MIB: Final = 1024 * 1024
ENVIRONMENT_PREFIX: Final = "CSGATE_"
ENVIRONMENT_DELIMITER: Final = "__"

PositiveInt = Annotated[int, Field(gt=0)]
PositiveFloat = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Port = Annotated[int, Field(ge=0, le=65535)]
Algorithm = Literal["HS256", "HS384", "HS512", "RS256", "ES256", "EdDSA"]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=False)


class ServerSettings(Section):
    """Where csgate listens and whom it lets in."""

    host: str = Field("127.0.0.1", description="address to listen on; `0.0.0.0` or `::` for every one of the machine")
    port: Port = Field(8080, description="port of WebSocket and HTTP; 0 picks a free one")
    tls_certificate: Path | None = Field(None, description="PEM file with the certificate chain; turns TLS on")
    tls_key: Path | None = Field(None, description="PEM file with the certificate's private key")
    operator_host: str | None = Field(
        None, description="address of `operator_port`; default: the same as `server.host`"
    )
    operator_port: Port | None = Field(
        None, description="serve /metrics, /healthz and /readyz on a port of their own instead of the public one"
    )
    origins: tuple[str, ...] = Field((), description="allowed Origin values; empty: same host only; `*`: any")
    trusted_proxies: tuple[str, ...] = Field(
        (), description="addresses or networks of proxies whose X-Forwarded-For is believed"
    )
    data_dir: Path = Field(Path(".data"), description="folder for what must survive a restart")
    drain_seconds: PositiveFloat = Field(20.0, description="time for answers in progress after SIGTERM")
    page: bool = Field(
        True, description="serve the page at /; the scripts for other sites, /csgate.js and its like, are served anyhow"
    )
    backlog: PositiveInt = Field(1024, description="connections that the system may queue before they are accepted")

    @model_validator(mode="after")
    def _pairs(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key belong together; give both or neither")
        if self.operator_host is not None and self.operator_port is None:
            raise ValueError("operator_host needs operator_port as well")
        return self


class LimitSettings(Section):
    """Every bound at the door."""

    max_message_bytes: PositiveInt = Field(8 * MIB, description="largest message that is read; above: `too_large`")
    max_frame_bytes: PositiveInt = Field(16 * MIB, description="largest message that is drained; above: close 1009")
    receive_budget_bytes: PositiveInt = Field(
        256 * MIB, description="messages of all connections that come or are being taken in; above: close 1013"
    )
    outbound_queue_bytes: PositiveInt = Field(MIB, description="waiting for one slow reader; above: close 4003")
    max_json_depth: PositiveInt = Field(8, description="nesting levels in a message")
    max_text_chars: PositiveInt = Field(8000, description="characters in a message's text")
    head_bytes: PositiveInt = Field(16 * 1024, description="largest HTTP head")
    head_seconds: PositiveFloat = Field(10.0, description="time for the HTTP head to arrive")
    authenticate_seconds: PositiveFloat = Field(10.0, description="time to authenticate; then close 4502")
    message_seconds: PositiveFloat = Field(20.0, description="time for a message to be whole, and in addition …")
    message_bytes_per_second: PositiveInt = Field(8 * 1024, description="… a second for so many bytes of it")
    ping_after_seconds: PositiveFloat = Field(25.0, description="silence after which the server pings")
    pong_seconds: PositiveFloat = Field(8.0, description="time for the pong; then close 4002")
    close_seconds: PositiveFloat = Field(5.0, description="time for the peer to answer a close frame")
    send_seconds: PositiveFloat = Field(30.0, description="time for one send to make progress")
    connections: PositiveInt = Field(20_000, description="open connections in all")
    connections_per_principal: PositiveInt = Field(20, description="open connections of one principal")
    connections_per_address: PositiveInt = Field(2_000, description="open connections from one address")
    messages_per_second: PositiveFloat = Field(5.0, description="messages of a principal, sustained")
    messages_burst: PositiveInt = Field(20, description="messages of a principal at once")
    picture_bytes_per_second: PositiveFloat = Field(2.0 * MIB, description="picture bytes of a principal, sustained")
    picture_bytes_burst: PositiveInt = Field(32 * MIB, description="picture bytes of a principal at once")
    guests_per_minute: PositiveFloat = Field(30.0, description="guest tokens an address may ask for")
    requests_per_second: PositiveFloat = Field(50.0, description="HTTP requests of an address")


class AuthSettings(Section):
    """Which tokens pass. Without a secret, a key or a JWKS URL, a secret is made and kept in ``data_dir/secret``."""

    algorithms: tuple[Algorithm, ...] = Field(("HS256",), min_length=1, description="accepted signature algorithms")
    secret: SecretStr | None = Field(None, description="shared secret of the HS algorithms, 32 bytes or more")
    public_key_file: Path | None = Field(None, description="PEM public key of the RS, ES or EdDSA algorithms")
    jwks_url: str | None = Field(None, description="URL of a JSON Web Key Set with such keys")
    jwks_cache_seconds: PositiveFloat = Field(300.0, description="how long a fetched key set is used")
    audience: str | None = Field(None, description="`aud` that a token must carry")
    issuer: str | None = Field(None, description="`iss` that a token must carry")
    leeway_seconds: float = Field(30.0, ge=0, le=300, description="clock difference that is forgiven")
    query_token: bool = Field(False, description="accept `?token=`; URLs end up in logs, so better not")
    guests: bool = Field(True, description="give guest tokens at POST /v1/guest")
    guest_seconds: PositiveFloat = Field(3600.0, description="lifetime of a guest token")
    guest_renew_seconds: PositiveFloat = Field(
        7 * 86400.0, description="how long after its end a guest token may still be renewed"
    )
    ticket_seconds: PositiveFloat = Field(30.0, description="lifetime of a ticket")
    max_tickets: PositiveInt = Field(10_000, description="tickets given and not yet used")


class SessionSettings(Section):
    """The conversation log and its turns."""

    store: Literal["sqlite", "memory", "redis"] = Field(
        "sqlite",
        description="where conversations are kept: in `data_dir/csgate.db`, only as long as the process, or in a Redis "
        "that several nodes share (see `redis` and `cluster`)",
    )
    durability: Literal["full", "normal"] = Field(
        "full",
        description="`full`: what was acknowledged survives a power failure; `normal`: it survives the end of the "
        "process, and a power failure may cost the last moments",
    )
    queue_items: PositiveInt = Field(
        4096, description="reads, and writes, that may wait for the disk; above: `overloaded`"
    )
    cache_bytes: int = Field(
        64 * MIB, ge=0, description="memory for the newest events of conversations in `data_dir/csgate.db`, estimated"
    )
    max_conversations: PositiveInt = Field(100_000, description="conversations kept")
    max_events: PositiveInt = Field(1_000, description="events kept of a conversation; the oldest are forgotten first")
    max_age_seconds: PositiveFloat = Field(86_400.0, description="how long a silent conversation is kept")
    page_events: PositiveInt = Field(50, description="events in a starting page")
    max_waiting: PositiveInt = Field(16, description="messages of one conversation that may wait")
    max_open_turns: PositiveInt = Field(4096, description="turns of all conversations waiting or running")
    max_open_bytes: PositiveInt = Field(
        512 * MIB, description="bytes of pictures that these turns hold together; above: `overloaded`"
    )
    max_log_bytes: PositiveInt = Field(
        1024 * MIB,
        description='with `store = "memory"`: memory for all conversations kept, estimated; above, the oldest that '
        "nobody is connected to are forgotten, and with none left new messages are `overloaded`",
    )
    max_attachments: PositiveInt = Field(16, description="connections on one conversation")
    turn_seconds: PositiveFloat = Field(30.0, description="time for one answer")
    grace_seconds: PositiveFloat = Field(60.0, description="how long an answer goes on after the last connection left")
    handoff_seconds: PositiveFloat = Field(60.0, description="time for a person to take over before the bot is back")


class RedisSettings(Section):
    """The Redis (or Valkey, 6.2 or newer) of `session.store = "redis"`."""

    url: SecretStr | None = Field(
        None,
        description="`redis://user:password@host:6379/0`, `rediss://…` with TLS, or `unix:///path`; "
        "default: this machine",
    )
    accept_loss: bool = Field(
        False,
        description="serve although Redis may lose what it acknowledged (anything but `appendonly yes`, "
        "`appendfsync always` and no eviction)",
    )
    prefix: str = Field("csgate", pattern=r"^[A-Za-z0-9_.:-]{1,32}$", description="what the names of keys begin with")
    connections: int = Field(4, ge=1, le=64, description="connections of a node, each shared by many commands")
    command_seconds: PositiveFloat = Field(2.0, description="time for an answer; then Redis counts as lost")


class ClusterSettings(Section):
    """This node among those that share a Redis."""

    node: str = Field("", max_length=64, description="its name, for operators; default: host name and a number")
    zone: str = Field("", max_length=64, description="where it runs; clients are sent to nodes of the same zone first")
    advertise: str = Field(
        "",
        max_length=256,
        description="URL at which clients reach it, `wss://node1.example/ws`; default: where it listens",
    )
    lease_seconds: float = Field(
        2.0, ge=0.2, le=60, description="silence after which another node takes over what this one was answering"
    )
    renew_seconds: float = Field(0.5, ge=0.05, le=20, description="how often it says that it is alive")

    @model_validator(mode="after")
    def _in_time(self) -> Self:
        if self.renew_seconds * 2 > self.lease_seconds:
            raise ValueError("renew_seconds must be at most half of lease_seconds")
        return self


class InferenceSettings(Section):
    """Models, devices and batches."""

    models_dir: Path | None = Field(None, description="folder of model folders; default: the models that csgate ships")
    device: Literal["auto", "cuda", "cpu"] = Field(
        "auto", description="`auto` takes CUDA where it works; `cuda` refuses to start without it"
    )
    device_id: int = Field(0, ge=0, description="which CUDA device")
    cuda_memory_bytes: int = Field(0, ge=0, description="memory that one model may take on the GPU; 0: no limit")
    cuda_graphs: bool = Field(
        False, description="replay each batch size as a CUDA graph: quicker where batches are small"
    )
    intra_op_threads: PositiveInt = Field(1, description="ONNX Runtime threads within one run")
    workers: PositiveInt = Field(2, description="preparing threads a model; one prepares while the other runs")
    keep_cores: bool = Field(
        True,
        description="where `workers` is the number of the process's cores, or a multiple, keep each on one core; "
        "switch off where other busy programs share the machine",
    )
    max_batch: PositiveInt = Field(32, description="items in a batch")
    queue_items: PositiveInt = Field(1024, description="items that may wait for a batch; above: `overloaded`")
    max_delay_ms: float = Field(0.0, ge=0, le=1000, description="how long an idle device may wait for a fuller batch")
    warm_up: bool = Field(True, description="run every batch size once before csgate is ready")
    cache_items: int = Field(20_000, ge=0, description="results kept for pictures and texts seen before; 0: none")
    cache_bytes: int = Field(64 * MIB, ge=0, description="memory for them")
    embeddings_dir: Path | None = Field(
        Path(".data/embeddings"), description="where a zero-shot tagger's embedded labels are kept between starts"
    )
    top_tags: PositiveInt = Field(5, le=1000, description="tags given for a picture")
    max_pixels: PositiveInt = Field(
        50_000_000, description="pixels that a JPEG may have, by its header; PNG, WebP and GIF a quarter of that"
    )

    ocr: Literal["auto", "on", "off"] = Field(
        "auto", description="read the text in screenshots and photos; `auto`: where `csgate[ocr]` is installed"
    )
    ocr_threads: PositiveInt = Field(1, description="threads of one reading")
    ocr_queue: PositiveInt = Field(16, description="pictures that may wait to be read; above, a picture goes unread")
    ocr_seconds: PositiveFloat = Field(8.0, description="time for reading one picture; then it goes unread")


class MediaSettings(Section):
    """Pictures that customers send: how they come, where they are kept, and how they are shown again."""

    keep: bool = Field(True, description="keep pictures for as long as their conversation, so that it shows them")
    store: str = Field(
        "",
        description="where: `s3://bucket/prefix`, `gs://…`, `az://…`, `memory://` or a folder; default: "
        "`data_dir/media`",
    )
    endpoint: str = Field("", description="URL of an S3-compatible server that is not Amazon's")
    region: str = Field("", description="region of the bucket")
    access_key: SecretStr | None = Field(
        None, description="access key; default: what the environment of AWS's tools says"
    )
    secret_key: SecretStr | None = Field(None, description="the secret that goes with it; better in the environment")
    store_seconds: PositiveFloat = Field(10.0, description="time for one request to the store")
    store_requests: PositiveInt = Field(32, description="requests to the store at once")
    inline_bytes: int = Field(5 * 1024, ge=0, le=65536, description="pictures up to this size stay in the log itself")
    max_width: int = Field(800, ge=64, le=8192, description="wider pictures are made this wide before they are kept")
    quality: int = Field(85, ge=1, le=100, description="quality of the JPEGs made of them")
    max_frames: PositiveInt = Field(300, description="frames of an animated sticker; further ones are left out")
    threads: int = Field(0, ge=0, description="threads that prepare pictures for keeping; 0: one for every two cores")
    results: bool = Field(True, description="make a picture that shows what was seen, and link it to the reply")
    uploads: bool = Field(True, description="take pictures at POST /v1/uploads and by pre-signed upload")
    upload_bytes: PositiveInt = Field(16 * MIB, description="largest file that is taken there")
    uploads_at_once: PositiveInt = Field(256, description="uploads under way; above: `overloaded`")
    upload_seconds: PositiveFloat = Field(3600.0, description="how long an upload waits for the message that names it")
    spool_bytes: PositiveInt = Field(MIB, description="of an upload in memory; the rest goes to a temporary file")
    public: bool = Field(False, description="give out lasting addresses to pictures instead of signed ones that expire")
    url_seconds: PositiveFloat = Field(86_400.0, description="how long a signed address works, at least")
    deliver: Literal["auto", "redirect", "proxy"] = Field(
        "auto",
        description="send readers to the bucket with a pre-signed address, or pass pictures through; `auto` redirects "
        "where the store can sign",
    )
    cdn_base_url: str = Field("", description="what addresses of pictures begin with; default: this server")
    secret: SecretStr | None = Field(
        None,
        description="signs addresses of pictures and names of uploads, 32 bytes or more; one for all nodes; default: "
        "`auth.secret`, or one that is made",
    )
    sweep_seconds: PositiveFloat = Field(
        3600.0, description="how often pictures of forgotten conversations are removed"
    )


class DialogSettings(Section):
    """What csgate answers."""

    pack: str = Field("shop", description="a shipped pack's name, or a folder")
    language: Literal["en", "zh"] = Field("en", description="language where a message does not show one")


class GenerationSettings(Section):
    """Who writes answers that are not canned. One line switches: `generator`."""

    generator: str = Field(
        "canned",
        description="`canned`: the pack's own replies; `shop`: the small model that csgate ships; a folder with a "
        "model in onnxruntime-genai's format; or the base URL of an OpenAI-compatible server, such as `https://host/v1`",
    )
    fallback: str = Field(
        "canned", description="who answers when a remote generator cannot: `canned`, `shop` or a model's folder"
    )
    model: str = Field("", description="the model to ask a remote server for")
    api_key: SecretStr | None = Field(None, description="API key of the remote server; better in the environment")
    api_key_file: Path | None = Field(None, description="file that holds the API key")
    ca_file: Path | None = Field(None, description="PEM file with certificate authorities to trust beside the usual")
    proxy: SecretStr | None = Field(
        None, description="URL of a proxy to reach the remote server by; those of the environment are not used"
    )
    pictures: bool = Field(False, description="show the remote model the customers' pictures; it must take them")
    temperature: float = Field(0.3, ge=0, le=2, description="0: always the likeliest word; 1: as the model was trained")
    top_p: float = Field(0.9, gt=0, le=1, description="share of the likeliest words that is chosen from")
    max_tokens: PositiveInt = Field(96, description="longest answer, in tokens")
    seed: int | None = Field(None, description="makes answers repeatable")
    stop: tuple[str, ...] = Field((), max_length=4, description="strings that end an answer")
    prompt_tokens: PositiveInt = Field(1024, description="longest prompt; the oldest turns are left out first")
    history_turns: int = Field(6, ge=0, description="earlier messages and replies that go into the prompt")
    max_batch: PositiveInt = Field(16, description="conversations that a local model answers at once on the CPU")
    workers: PositiveInt = Field(2, description="threads that share the conversations of a step on the CPU")
    max_batch_cuda: PositiveInt = Field(64, description="the same on CUDA")
    queue_items: PositiveInt = Field(256, description="requests that may wait; above: `overloaded`")
    concurrency: PositiveInt = Field(32, description="requests to the remote server at once")
    connect_seconds: PositiveFloat = Field(3.0, description="time to reach the remote server")
    first_token_seconds: PositiveFloat = Field(10.0, description="time for its first piece of text …")
    silence_seconds: PositiveFloat = Field(10.0, description="… and between two of them")
    total_seconds: PositiveFloat = Field(25.0, description="time for one answer, retries included")
    retries: int = Field(2, ge=0, le=10, description="further tries after 429, 5xx or no connection")
    breaker_failures: PositiveInt = Field(5, description="failures in a row after which the server is left alone …")
    breaker_seconds: PositiveFloat = Field(15.0, description="… for so long")

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        if self.api_key is not None and self.api_key_file is not None:
            raise ValueError("api_key and api_key_file are two places for one key; give one")
        return self


class LogSettings(Section):
    """What csgate writes to standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="the least important level written")
    format: Literal["json", "console"] = Field("json", description="JSON lines, or text for a person")


class Config(Section):
    """The whole tree."""

    server: ServerSettings = ServerSettings()
    limits: LimitSettings = LimitSettings()
    auth: AuthSettings = AuthSettings()
    session: SessionSettings = SessionSettings()
    redis: RedisSettings = RedisSettings()
    cluster: ClusterSettings = ClusterSettings()
    inference: InferenceSettings = InferenceSettings()
    media: MediaSettings = MediaSettings()
    dialog: DialogSettings = DialogSettings()
    generation: GenerationSettings = GenerationSettings()
    log: LogSettings = LogSettings()


def load_config(
    file: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Config:
    """Reads the TOML ``file``, the environment and the flags in ``overrides`` (nested by section).

    Raises:
        ConfigError: the file is missing or not TOML, or a setting is unknown or wrong; one sentence each, which names
            the setting and where it came from.
    """
    from_file = _read_file(file) if file is not None else {}
    from_environment = _read_environment(os.environ if environ is None else environ)

    class Layers(BaseSettings):
        """The sections once more, untyped: sources are merged first, and the types of ``Config`` judge the result."""

        model_config = SettingsConfigDict(extra="allow")

        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            """Most important first."""
            return (
                init_settings,
                InitSettingsSource(settings_cls, from_environment),
                InitSettingsSource(settings_cls, from_file),
            )

    try:
        return Config.model_validate(Layers(**(overrides or {})).model_dump())
    except ValidationError as error:
        raise ConfigError(_sentence(error, overrides or {}, from_environment, file)) from None


def setting_value(text: str) -> Any:
    """The value of a setting written outside TOML: lists as TOML arrays (``["https://a.example"]``), anything else as
    it stands, to be parsed by the setting's type.
    """
    if text.startswith("["):
        try:
            return tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            return text
    return text


def variable_name(section: str, key: str) -> str:
    """The environment variable of a setting."""
    return f"{ENVIRONMENT_PREFIX}{section}{ENVIRONMENT_DELIMITER}{key}".upper()


def _read_file(file: Path) -> dict[str, Any]:
    try:
        tree = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"Cannot read the configuration file {file}: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"The configuration file {file} is not valid TOML: {error}.") from error
    for name, section in tree.items():
        if name in Config.model_fields and not isinstance(section, dict):
            raise ConfigError(f"'{name}' in {file} is a section; write [{name}] and its settings below.")
    return tree


def _read_environment(environ: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """``CSGATE_SECTION__KEY`` variables by section; empty ones count as unset."""
    tree: dict[str, dict[str, Any]] = {}
    for name, text in environ.items():
        section, delimiter, key = name.removeprefix(ENVIRONMENT_PREFIX).lower().partition(ENVIRONMENT_DELIMITER)
        if name.startswith(ENVIRONMENT_PREFIX) and delimiter and text:
            tree.setdefault(section, {})[key] = setting_value(text)
    return tree


def _sentence(
    error: ValidationError,
    overrides: Mapping[str, Any],
    environment: Mapping[str, Mapping[str, Any]],
    file: Path | None,
) -> str:
    first = error.errors(include_url=False)[0]
    section, *rest = (str(part) for part in first["loc"])
    key = rest[0] if rest else ""
    name = ".".join((section, *rest))
    if key in overrides.get(section, ()):
        subject = f"Setting '{name}'"
    elif key in environment.get(section, ()) or (not key and section in environment):
        variable = variable_name(section, key or next(iter(environment[section])))
        subject = f"Environment variable {variable}"
    else:
        subject = f"Setting '{name}'" + (f" in {file}" if file is not None else "")
    if first["type"] == "extra_forbidden":
        return f"{subject} is not known; 'csgate config --reference' lists the names."
    if first["type"] == "tuple_type":
        return f"""{subject} is a list; write it as such, e.g. ["a", "b"]."""
    reason = first["msg"].removeprefix("Value error, ")
    return f"{subject} is wrong: {reason}{_given(section, key, first['input'])}."


def _given(section: str, key: str, value: object) -> str:
    """The offending value, unless it is a secret or too long to help."""
    if _is_secret(section, key) or not isinstance(value, str | int | float) or len(str(value)) > 80:
        return ""
    return f" (given: {value!r})" if isinstance(value, str) else f" (given: {value})"


def _is_secret(section: str, key: str) -> bool:
    fields = dict(settings()).get(section, {})
    return key in fields and fields[key].annotation == SecretStr | None


def settings() -> list[tuple[str, dict[str, FieldInfo]]]:
    """Every section of the tree with its settings, in order: what the reference and the command line list."""
    sections: list[tuple[str, dict[str, FieldInfo]]] = []
    for name, field in Config.model_fields.items():
        kind = field.annotation
        assert isinstance(kind, type)
        assert issubclass(kind, Section)
        sections.append((name, kind.model_fields))
    return sections
