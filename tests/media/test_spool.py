"""Uploads on their way in, where the disk is no help."""

from pathlib import Path

import pytest

from csgate.errors import Overloaded
from csgate.media.spool import Spool
from csgate.telemetry import Telemetry


def spool_in(folder: Path, spool_bytes: int = 4) -> Spool:
    return Spool(folder, Telemetry(), upload_bytes=100, spool_bytes=spool_bytes, at_once=1)


async def test_a_disk_that_takes_nothing_is_no_fault_of_the_sender(tmp_path: Path) -> None:
    spool = spool_in(tmp_path / "none")
    with spool.open() as file:
        await file.write(b"123")
        with pytest.raises(Overloaded) as refused:
            await file.write(b"45")
    assert refused.value.retry_after
    assert spool.used == 0
    with spool.open():
        pass  # its place is free again


async def test_a_disk_that_is_full_at_the_end(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    with spool.open() as file:
        await file.write(b"1234")
        assert file.spooled
        await file.write(b"5")
        assert file._file is not None
        file._file.close()
        file._file = open("/dev/full", "r+b", 0)  # noqa: SIM115, ASYNC230
        with pytest.raises(Overloaded):
            file.content()
    assert spool.used == 0
