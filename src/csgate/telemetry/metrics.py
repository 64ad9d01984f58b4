"""Prometheus metrics, all in one registry of their own. Times are seconds, as Prometheus has it."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from csgate.telemetry.histogram import QuickHistogram

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_RATES = (5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """Every metric that csgate exports, by name."""

    def __init__(self) -> None:
        r = self.registry = CollectorRegistry()
        # Gateway
        self.connections = Gauge("csgate_connections", "Open WebSocket connections", registry=r)
        self.connections_total = Counter("csgate_connections_accepted", "WebSocket connections accepted", registry=r)
        self.messages = Counter("csgate_messages", "Messages received", ["kind"], registry=r)
        # Finding a child by its label costs more than counting; these two are counted for every message.
        self.text_messages = self.messages.labels("text")
        self.binary_messages = self.messages.labels("binary")
        self.replies = Counter("csgate_replies", "Final replies", ["source"], registry=r)
        self.errors = Counter("csgate_errors", "Errors told to peers", ["code"], registry=r)
        self.closes = Counter("csgate_closes", "WebSocket closes by the code sent or received", ["code"], registry=r)
        self.refused = Counter("csgate_refused", "Connections refused at the door", ["reason"], registry=r)
        self.receive_bytes = Gauge("csgate_receive_buffer_bytes", "Bytes held by unfinished messages", registry=r)
        # Turns
        self.turn_seconds = Histogram(
            "csgate_turn_seconds", "From acknowledgement to final event", buckets=_SECONDS, registry=r
        )
        self.turns_open = Gauge("csgate_turns_open", "Turns waiting or running", registry=r)
        self.conversations = Gauge("csgate_conversations", "Conversations held", registry=r)
        # Inference, by model
        self.queue_wait = QuickHistogram(
            "csgate_inference_queue_seconds", "Wait in the batch queue", "model", buckets=_SECONDS, registry=r
        )
        self.prepare = QuickHistogram(
            "csgate_inference_prepare_seconds", "Decoding and preparing one item", "model", buckets=_SECONDS, registry=r
        )
        self.run = Histogram(
            "csgate_inference_run_seconds", "One batch on the device", ["model"], buckets=_SECONDS, registry=r
        )
        self.total = QuickHistogram(
            "csgate_inference_total_seconds", "From submission to result", "model", buckets=_SECONDS, registry=r
        )
        self.batch_size = Histogram(
            "csgate_inference_batch_size", "Items a batch", ["model"], buckets=_SIZES, registry=r
        )
        self.queue_depth = Gauge("csgate_inference_queue_depth", "Items waiting", ["model"], registry=r)
        self.cache_hits = Counter("csgate_inference_cache_hits", "Results served from the cache", ["model"], registry=r)
        self.cache_misses = Counter(
            "csgate_inference_cache_misses", "Results that had to be computed", ["model"], registry=r
        )
        # Pictures that are kept
        self.media_requests = Counter(
            "csgate_media_requests", "Requests to the store of pictures", ["operation", "outcome"], registry=r
        )
        self.media_seconds = Histogram(
            "csgate_media_request_seconds", "One request to it", ["operation"], buckets=_SECONDS, registry=r
        )
        self.media_prepared = Counter(
            "csgate_media_prepared", "Pictures prepared for keeping, by what was done", ["outcome"], registry=r
        )
        self.uploads = Counter("csgate_uploads", "Uploads by door and outcome", ["door", "outcome"], registry=r)
        self.media_kept = Counter(
            "csgate_media_kept", "Pictures of messages kept: new, or repeated", ["outcome"], registry=r
        )
        self.media_sent_bytes = Counter("csgate_media_sent_bytes", "Bytes of pictures sent to readers", registry=r)
        self.media_uploads = Gauge("csgate_media_uploads", "Uploads under way", registry=r)
        self.media_spooled_bytes = Gauge("csgate_media_spooled_bytes", "Bytes of them in memory", registry=r)
        self.pictures_read = Counter(
            "csgate_pictures_read", "Pictures looked at for text, by outcome", ["outcome"], registry=r
        )
        # Generation, by model
        self.first_token = Histogram(
            "csgate_generation_first_token_seconds",
            "From request to first token",
            ["model"],
            buckets=_SECONDS,
            registry=r,
        )
        self.tokens_per_second = Histogram(
            "csgate_generation_tokens_per_second",
            "Tokens a second of one answer, after its first",
            ["model"],
            buckets=_RATES,
            registry=r,
        )
        self.generated_tokens = Counter("csgate_generation_tokens", "Tokens generated", ["model"], registry=r)
        self.generations = Counter("csgate_generations", "Generations by outcome", ["model", "outcome"], registry=r)
        self.generating = Gauge("csgate_generation_running", "Answers being generated", ["model"], registry=r)
        self.generation_waiting = Gauge("csgate_generation_waiting", "Requests that wait", ["model"], registry=r)
        self.model_info = Gauge(
            "csgate_model_info", "1 for each model in use", ["model", "version", "provider", "precision"], registry=r
        )

    def render(self) -> bytes:
        """The exposition text (``text/plain; version=0.0.4``)."""
        return generate_latest(self.registry)
