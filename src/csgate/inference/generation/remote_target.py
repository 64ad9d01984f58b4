"""Where the remote server is and what it is shown: URL, key, certificate authorities. All is checked once, at start-up.

The key lives in the headers of one HTTP client from then on. No sentence made here contains it.
"""

import ipaddress
import ssl
from pathlib import Path
from typing import Final

import httpx

from csgate.config import GenerationSettings
from csgate.errors import ConfigError

PATH: Final = "/chat/completions"
MAX_KEY_CHARS: Final = 4096


def chat_url(base_url: str) -> httpx.URL:
    """``base_url`` (``https://host/v1``) with the path of chat completions added.

    Raises:
        ConfigError: not http(s), no host, or with a user name, password, query or fragment.
    """
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL as error:
        raise ConfigError(f"generation.generator is not a usable URL: {error}") from None
    if url.userinfo:
        raise ConfigError(
            "generation.generator must not contain a user name or password; give the key as generation.api_key_file."
        )
    if url.query or url.fragment:
        raise ConfigError("generation.generator is a base URL such as https://host/v1, without '?' or '#'.")
    if url.scheme not in ("http", "https") or not url.host or not 0 < (url.port or 1) < 65536:
        raise ConfigError(f"generation.generator must be a URL such as https://host/v1 (given: {base_url!r}).")
    path = url.path.rstrip("/")
    return url.copy_with(path=path if path.endswith(PATH) else path + PATH)


def origin(url: httpx.URL) -> str:
    """Scheme, host and port: what may be logged."""
    return f"{url.scheme}://{url.netloc.decode('ascii')}"


def read_key(settings: GenerationSettings) -> str | None:
    """The API key, or None.

    Raises:
        ConfigError: the file cannot be read or holds no key, or the key cannot go into an HTTP header.
    """
    if settings.api_key is not None:
        key, name = settings.api_key.get_secret_value().strip(), "generation.api_key"
    elif settings.api_key_file is not None:
        key, name = _key_in(settings.api_key_file), "generation.api_key_file"
    else:
        return None
    if not key:
        raise ConfigError(f"{name} holds no key; put the key there or leave the setting out.")
    if len(key) > MAX_KEY_CHARS or not all("!" <= character <= "~" for character in key):
        raise ConfigError(f"{name} holds no API key: a key is one line of plain ASCII characters without spaces.")
    return key


def _key_in(file: Path) -> str:
    try:
        with file.open(encoding="ascii") as opened:
            return opened.read(MAX_KEY_CHARS + 64).strip()
    except OSError as error:
        raise ConfigError(f"Cannot read generation.api_key_file {file}: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise ConfigError(f"generation.api_key_file {file} is not plain text.") from None


def is_exposed(url: httpx.URL) -> bool:
    """Whether a key sent there crosses a network unencrypted."""
    if url.scheme == "https" or url.host == "localhost":
        return False
    try:
        return not ipaddress.ip_address(url.host).is_loopback
    except ValueError:
        return True


def open_transport(settings: GenerationSettings) -> httpx.AsyncHTTPTransport:
    """Connections to the server: TLS verified, through ``generation.proxy`` if set and never one of the environment.

    Raises:
        ConfigError: the file of certificate authorities or the proxy's URL is of no use.
    """
    context = httpx.create_ssl_context(trust_env=False)
    if settings.ca_file is not None:
        try:
            context.load_verify_locations(settings.ca_file)
        except ssl.SSLError:
            raise ConfigError(f"generation.ca_file {settings.ca_file} holds no PEM certificates.") from None
        except OSError as error:
            raise ConfigError(f"Cannot read generation.ca_file {settings.ca_file}: {error.strerror}.") from None
    try:
        proxy = httpx.Proxy(settings.proxy.get_secret_value()) if settings.proxy is not None else None
    except (httpx.InvalidURL, ValueError):
        raise ConfigError("generation.proxy must be a URL such as http://proxy:3128.") from None
    return httpx.AsyncHTTPTransport(
        verify=context,
        trust_env=False,
        proxy=proxy,
        # How many there are is decided by Places; a second limit here could only make a request wait unseen.
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=settings.concurrency, keepalive_expiry=30),
    )
