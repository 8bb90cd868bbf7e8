"""The OTLP exporters of the Python SDK, configured by the environment; the work is that of work.rs."""

import os
import sys

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind

if os.environ["OTEL_EXPORTER_OTLP_PROTOCOL"] == "grpc":
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
else:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

BATCH = 512


def attributes(number):
    return {
        "http.request.method": "GET",
        "http.route": "/orders/{order_id}",
        "http.response.status_code": 200,
        "url.scheme": "https",
        "url.path": f"/orders/{1_000_000_000_000 + number}",
        "server.address": "checkout.shop.svc.cluster.local",
        "server.port": 8443,
        "user_agent.original": "grpc-java-okhttp/1.71.0",
    }


count = int(sys.argv[1])
provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
tracer = provider.get_tracer("checkout")
for number in range(1, count + 1):
    span = tracer.start_span(
        "GET /orders/{order_id}", kind=SpanKind.SERVER, attributes=attributes(number)
    )
    span.end()
    if number % BATCH == 0 or number == count:
        assert provider.force_flush()
provider.shutdown()
print("done", flush=True)
sys.stdin.read()
