// The OTLP exporters of the Node SDK, configured by the environment; the work is that of work.rs.
"use strict";

const fs = require("node:fs");
const { SpanKind } = require("@opentelemetry/api");
const { BasicTracerProvider, BatchSpanProcessor } = require("@opentelemetry/sdk-trace-base");
const { OTLPTraceExporter } =
  process.env.OTEL_EXPORTER_OTLP_PROTOCOL === "grpc"
    ? require("@opentelemetry/exporter-trace-otlp-grpc")
    : require("@opentelemetry/exporter-trace-otlp-proto");

const BATCH = 512;

const attributes = (number) => ({
  "http.request.method": "GET",
  "http.route": "/orders/{order_id}",
  "http.response.status_code": 200,
  "url.scheme": "https",
  "url.path": `/orders/${1_000_000_000_000 + number}`,
  "server.address": "checkout.shop.svc.cluster.local",
  "server.port": 8443,
  "user_agent.original": "grpc-java-okhttp/1.71.0",
});

async function main(count, warmUp) {
  const processor = new BatchSpanProcessor(new OTLPTraceExporter());
  const provider = new BasicTracerProvider({ spanProcessors: [processor] });
  const tracer = provider.getTracer("checkout");
  for (let number = 1; number <= count; number++) {
    const options = { kind: SpanKind.SERVER, attributes: attributes(number) };
    tracer.startSpan("GET /orders/{order_id}", options).end();
    if (number % BATCH === 0 || number === count) {
      await provider.forceFlush();
    }
    if (number === warmUp) {
      fs.writeSync(1, "warm\n");
      fs.readSync(0, Buffer.alloc(1));
    }
  }
  await provider.shutdown();
  fs.writeSync(1, "done\n");
  fs.readFileSync(0);
}

main(Number(process.argv[2]), Number(process.argv[6]));
