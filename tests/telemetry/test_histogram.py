"""The quick histogram exports what the usual one does."""

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from csgate.telemetry.histogram import QuickHistogram

BUCKETS = (0.001, 0.01, 1.0)
VALUES = (0.0, 0.001, 0.0011, 0.5, 1.0, 2.0)


def samples(registry: CollectorRegistry) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = generate_latest(registry).decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def test_it_exports_what_the_usual_histogram_does() -> None:
    quick, usual = CollectorRegistry(), CollectorRegistry()
    fast = QuickHistogram("x_seconds", "X", "model", buckets=BUCKETS, registry=quick)
    slow = Histogram("x_seconds", "X", ["model"], buckets=BUCKETS, registry=usual)
    for model in ("a", "b"):
        for value in VALUES[: 6 if model == "a" else 3]:
            fast.labels(model).observe(value)
            slow.labels(model).observe(value)
    assert samples(quick) == samples(usual)
    assert quick.get_sample_value("x_seconds_count", {"model": "a"}) == 6


def test_a_label_has_one_series() -> None:
    histogram = QuickHistogram("x", "X", "model", buckets=BUCKETS, registry=CollectorRegistry())
    assert histogram.labels("a") is histogram.labels("a")
