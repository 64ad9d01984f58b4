"""Metrics: one registry each, names that a dashboard can rely on."""

from prometheus_client.parser import text_string_to_metric_families

from csgate.telemetry import Metrics


def test_every_metric_is_ours_and_documented() -> None:
    families = list(text_string_to_metric_families(Metrics().render().decode()))
    assert len(families) > 20
    for family in families:
        assert family.name.startswith("csgate_")
        assert family.documentation


def test_the_metrics_that_dashboards_need() -> None:
    names = {family.name for family in text_string_to_metric_families(Metrics().render().decode())}
    assert names >= {
        "csgate_connections",
        "csgate_messages",
        "csgate_errors",
        "csgate_closes",
        "csgate_turn_seconds",
        "csgate_inference_queue_seconds",
        "csgate_inference_batch_size",
        "csgate_inference_prepare_seconds",
        "csgate_inference_run_seconds",
        "csgate_inference_total_seconds",
        "csgate_inference_queue_depth",
        "csgate_inference_cache_hits",
    }


def test_counts_are_rendered_and_registries_are_apart() -> None:
    one, other = Metrics(), Metrics()
    one.errors.labels("rate_limited").inc()
    one.batch_size.labels("shop-intent").observe(3)
    assert b'csgate_errors_total{code="rate_limited"} 1.0' in one.render()
    assert b'csgate_inference_batch_size_bucket{le="4.0",model="shop-intent"} 1.0' in one.render()
    assert b"rate_limited" not in other.render()
