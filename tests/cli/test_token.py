"""``csgate token``: what it mints passes where it should, and it is not minted for nonsense."""

from pathlib import Path

import pytest
import trio

from csgate.auth import open_authenticator
from csgate.cli.main import main
from csgate.config import AuthSettings, load_config
from csgate.events import Principal


def principal_of(token: str, data_dir: Path, settings: AuthSettings | None = None) -> Principal:
    async def verify() -> Principal:
        import time

        async with open_authenticator(settings or AuthSettings(), data_dir) as auth:
            return await auth.verify(token, now=time.time())

    return trio.run(verify)


def test_it_is_signed_with_the_secret_in_the_data_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["token", "--sub", "alice", "--data-dir", str(tmp_path)]) == 0
    principal = principal_of(capsys.readouterr().out.strip(), tmp_path)
    assert (principal.subject, principal.role, principal.tier) == ("alice", "customer", 1)


def test_every_claim(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = "--sub bob --role agent --tier 0 --tenant shop --conversation c1 --lifetime 8h"
    assert main(["token", *flags.split(), "--data-dir", str(tmp_path)]) == 0
    principal = principal_of(capsys.readouterr().out.strip(), tmp_path)
    assert (principal.role, principal.tier, principal.tenant, principal.conversation) == ("agent", 0, "shop", "c1")


def test_the_configured_secret_is_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CSGATE_AUTH__SECRET", "a-secret-of-thirty-two-bytes-or-more")
    assert main(["token", "--sub", "alice", "--data-dir", str(tmp_path)]) == 0
    settings = load_config().auth
    assert principal_of(capsys.readouterr().out.strip(), tmp_path / "other", settings).subject == "alice"
    assert not (tmp_path / "secret").exists()


def test_what_cannot_be_signed_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["token", "--sub", "a", "--data-dir", str(tmp_path), "--set", 'auth.algorithms=["RS256"]']
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("csgate: ")
    assert "Traceback" not in error


@pytest.mark.parametrize(
    "flags",
    [
        ["--lifetime", "soon"],
        ["--lifetime=-1h"],
        ["--lifetime", "0"],
        ["--lifetime", "inf"],
        ["--tier", "-1"],
        ["--tier", "x"],
    ],
)
def test_nonsense_is_refused(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["token", "--sub", "a", *flags])
    assert caught.value.code == 2
    assert "is not a" in capsys.readouterr().err
