#!/usr/bin/env python3
"""An OTLP/gRPC collector over mutual TLS on a stack that is not ours: grpcio, on C-core and BoringSSL.

    grpc_collector.py --cert server.crt --key server.key --client-ca ca.crt

Prints `listening PORT` once it serves on 127.0.0.1, then one line of JSON per export it accepted:

    {"signal": "traces", "items": 2, "names": ["GET /", "query"], "client_cn": "my-application"}

`names` are those of the spans or metrics, or the bodies of the log records; `items` is their number. Ends when its
standard input does, so that it cannot outlive the test that started it.
"""

import argparse
import json
import sys
import threading
from concurrent import futures
from pathlib import Path

import grpc
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

_stdout = threading.Lock()


def say(line):
    with _stdout:
        print(line, flush=True)


def report(signal, names, context):
    # Absent only if the server did not ask for a certificate, and this one does.
    (common_name,) = context.auth_context()["x509_common_name"]
    say(json.dumps({"signal": signal, "items": len(names), "names": names, "client_cn": common_name.decode()}))


class Traces(trace_service_pb2_grpc.TraceServiceServicer):
    def Export(self, request, context):
        names = [span.name for r in request.resource_spans for s in r.scope_spans for span in s.spans]
        report("traces", names, context)
        return trace_service_pb2.ExportTraceServiceResponse()


class Metrics(metrics_service_pb2_grpc.MetricsServiceServicer):
    def Export(self, request, context):
        names = [metric.name for r in request.resource_metrics for s in r.scope_metrics for metric in s.metrics]
        report("metrics", names, context)
        return metrics_service_pb2.ExportMetricsServiceResponse()


class Logs(logs_service_pb2_grpc.LogsServiceServicer):
    def Export(self, request, context):
        records = [record for r in request.resource_logs for s in r.scope_logs for record in s.log_records]
        report("logs", [record.body.string_value for record in records], context)
        return logs_service_pb2.ExportLogsServiceResponse()


def main():
    arguments = argparse.ArgumentParser(description="An OTLP/gRPC collector that demands client certificates.")
    for name, what in [
        ("--cert", "the server's certificate, PEM"),
        ("--key", "its private key, PEM"),
        ("--client-ca", "the CA that clients' certificates come from, PEM"),
    ]:
        arguments.add_argument(name, type=Path, required=True, help=what, metavar="FILE")
    arguments = arguments.parse_args()

    credentials = grpc.ssl_server_credentials(
        [(arguments.key.read_bytes(), arguments.cert.read_bytes())],
        root_certificates=arguments.client_ca.read_bytes(),
        require_client_auth=True,
    )
    # Messages over 4 MiB are refused: grpcio's default is the Collector's too.
    server = grpc.server(futures.ThreadPoolExecutor())
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Traces(), server)
    metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(Metrics(), server)
    logs_service_pb2_grpc.add_LogsServiceServicer_to_server(Logs(), server)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    say(f"listening {port}")

    sys.stdin.buffer.read()
    server.stop(grace=None).wait()


if __name__ == "__main__":
    main()
