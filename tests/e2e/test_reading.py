"""A real server that reads: a screenshot is understood by what it says, and the reader is named where models are."""

import base64
import json
from pathlib import Path

from websockets.sync.client import connect

from .conftest import start_server

SCREENSHOTS = Path(__file__).parents[1] / "inference" / "screenshots"


def test_a_screenshot_is_answered_by_what_it_says(tmp_path: Path) -> None:
    server = start_server(tmp_path, CSGATE_INFERENCE__OCR="on")
    try:
        assert json.loads(server.get("/readyz"))["engine"]["models"]["reader"].startswith("rapidocr ")
        headers = {"Authorization": f"Bearer {server.token()}"}
        with connect(server.ws, additional_headers=headers) as socket:
            for name, word, says in (
                ("payment-en-480-dark.jpg", "SO107953331", "“Payment failed / Error 8959: card declined by bank"),
                ("payment-zh-480.jpg", "77442241", "“支付失败 / 错误"),
            ):
                file = base64.b64encode((SCREENSHOTS / name).read_bytes()).decode()
                socket.send(json.dumps({"image": file}))
                reply = json.loads(socket.recv(timeout=20))
                assert reply["intent"]["name"] == "payment_issue"
                assert word in reply["text"]
                assert says in reply["analysis"]
                assert reply["timing"]["read"] > 0
        assert server.metric('csgate_pictures_read_total{outcome="text"}') == 2
        assert server.metric('csgate_model_info{model="rapidocr"') == 1
    finally:
        assert server.stop() == 0
