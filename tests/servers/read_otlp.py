#!/usr/bin/env python3
"""Compares OTLP's two formats by protobuf's own reader of both.

Each line of standard input is a signal, a request as protobuf in hexadecimal digits, and the same request as JSON. Fails
at the first line of which the two differ, or of which Python's protobuf would write other bytes.
"""

import argparse
import base64
import json
import sys

from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

REQUESTS = {
    "traces": ExportTraceServiceRequest,
    "metrics": ExportMetricsServiceRequest,
    "logs": ExportLogsServiceRequest,
}


def with_base64_ids(value):
    """OTLP's JSON has identifiers in hexadecimal digits, where protobuf's has base64."""
    if isinstance(value, list):
        return [with_base64_ids(item) for item in value]
    if not isinstance(value, dict):
        return value
    ids = {"traceId", "spanId", "parentSpanId"}
    return {
        key: base64.b64encode(bytes.fromhex(item)).decode() if key in ids else with_base64_ids(item)
        for key, item in value.items()
    }


def check(line):
    signal, request, text = line.split(" ", 2)
    binary = REQUESTS[signal].FromString(bytes.fromhex(request))
    parsed = json_format.ParseDict(with_base64_ids(json.loads(text)), REQUESTS[signal]())
    # Compared as bytes, for NaN is not equal to itself.
    if binary.SerializeToString(deterministic=True) != parsed.SerializeToString(deterministic=True):
        raise SystemExit(f"not the same {signal}:\n{text}\n{json_format.MessageToJson(binary)}")


argparse.ArgumentParser(description=__doc__).parse_args()
lines = 0
for line in sys.stdin:
    check(line)
    lines += 1
if not lines:
    raise SystemExit("nothing to compare")
