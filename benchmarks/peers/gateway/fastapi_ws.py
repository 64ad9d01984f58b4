"""Peer: FastAPI on uvicorn (uvloop), WebSocket, one model run a message in a worker thread."""

import asyncio
import json
import sys

import numpy as np
import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from tagging import Tagger

app = FastAPI()
tagger = Tagger(sys.argv[2])


def answer(text: str) -> str:
    message = json.loads(text)
    return json.dumps({"tags": tagger.run(np.expand_dims(tagger.decode(message["image"]), 0))[0]})


@app.websocket("/ws")
async def chat(socket: WebSocket) -> None:
    await socket.accept()
    try:
        while True:
            text = await socket.receive_text()
            await socket.send_text(await asyncio.to_thread(answer, text))
    except WebSocketDisconnect:
        pass


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), loop="uvloop", log_level="warning", ws_max_size=2**24)
