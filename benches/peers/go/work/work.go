// Package work is the work of a Go peer: that of work.rs, with spans.
package work

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/trace"
	api "go.opentelemetry.io/otel/trace"
)

const batch = 512

// Run makes as many spans as the program's first argument says, flushes after each batch of them, and shuts down. Its
// exporter and its batch processor take their settings from the environment. With the arguments `load RATE`, it is Load.
func Run(ctx context.Context, exporter trace.SpanExporter) error {
	if os.Args[1] == "load" {
		return Load(ctx, exporter, os.Args[2])
	}
	count, err := strconv.ParseInt(os.Args[1], 10, 64)
	if err != nil {
		return err
	}
	provider := trace.NewTracerProvider(trace.WithBatcher(exporter))
	tracer := provider.Tracer("checkout")
	for number := int64(1); number <= count; number++ {
		_, span := tracer.Start(ctx, "GET /orders/{order_id}",
			api.WithSpanKind(api.SpanKindServer), api.WithAttributes(attributes(number)...))
		span.End()
		if number%batch == 0 || number == count {
			if err := provider.ForceFlush(ctx); err != nil {
				return err
			}
		}
	}
	if err := provider.Shutdown(ctx); err != nil {
		return err
	}
	fmt.Println("done")
	_, err = io.ReadAll(os.Stdin)
	return err
}

func attributes(number int64) []attribute.KeyValue {
	return []attribute.KeyValue{
		attribute.String("http.request.method", "GET"),
		attribute.String("http.route", "/orders/{order_id}"),
		attribute.Int64("http.response.status_code", 200),
		attribute.String("url.scheme", "https"),
		attribute.String("url.path", "/orders/"+strconv.FormatInt(1_000_000_000_000+number, 10)),
		attribute.String("server.address", "checkout.shop.svc.cluster.local"),
		attribute.Int64("server.port", 8443),
		attribute.String("user_agent.original", "grpc-java-okhttp/1.71.0"),
	}
}
