"""The peer on picows (Cython) and uvloop, with orjson and pybase64. Fragments are put together here."""

import argparse

import orjson
import picows
import pybase64
import uvloop


class Chat(picows.WSListener):
    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        self._parts = bytearray()

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        if frame.msg_type == picows.WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code())
            transport.disconnect()
            return
        if frame.msg_type == picows.WSMsgType.PING:
            transport.send_pong(frame.get_payload_as_bytes())
            return
        if self._parts or not frame.fin:
            self._parts += frame.get_payload_as_memoryview()
            if not frame.fin:
                return
            data = bytes(self._parts)
            self._parts.clear()
            message = orjson.loads(data)
        else:
            message = orjson.loads(frame.get_payload_as_memoryview())
        picture = pybase64.b64decode(message.get("image", ""), validate=True)
        answer = orjson.dumps({"reply": message["text"], "n": len(picture)})
        transport.send(picows.WSMsgType.TEXT, answer)


async def main(port: int) -> None:
    server = await picows.ws_create_server(lambda _: Chat(), "127.0.0.1", port, max_frame_size=2**25)
    print(f"listening on 127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    uvloop.run(main(parser.parse_args().port))
