"""The peer on websockets (asyncio) and uvloop, with orjson and pybase64, compression off."""

import argparse
import asyncio
import contextlib

import orjson
import pybase64
import uvloop
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed


async def chat(ws: ServerConnection) -> None:
    with contextlib.suppress(ConnectionClosed):
        async for data in ws:
            message = orjson.loads(data)
            picture = pybase64.b64decode(message.get("image", ""), validate=True)
            await ws.send(orjson.dumps({"reply": message["text"], "n": len(picture)}), text=True)


async def main(port: int) -> None:
    async with serve(chat, "127.0.0.1", port, compression=None, max_size=2**24) as server:
        print(f"listening on 127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
        await asyncio.Future()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    uvloop.run(main(parser.parse_args().port))
