"""The peer on trio-websocket 0.12, tuned: large reads, orjson, pybase64."""

import argparse

import orjson
import pybase64
import trio
from trio_websocket import ConnectionClosed, WebSocketRequest, serve_websocket


async def chat(request: WebSocketRequest) -> None:
    ws = await request.accept()
    try:
        while True:
            message = orjson.loads(await ws.get_message())
            picture = pybase64.b64decode(message.get("image", ""), validate=True)
            await ws.send_message(orjson.dumps({"reply": message["text"], "n": len(picture)}).decode())
    except ConnectionClosed:
        pass


async def main(port: int) -> None:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(
            lambda task_status: serve_websocket(
                chat,
                "127.0.0.1",
                port,
                None,
                receive_buffer_size=256 * 1024,
                max_message_size=2**24,
                task_status=task_status,
            )
        )
        print(f"listening on 127.0.0.1:{server.port}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    trio.run(main, parser.parse_args().port)
