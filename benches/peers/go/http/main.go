// The exporter otlptracehttp of the Go SDK, configured by the environment.
package main

import (
	"context"
	"log"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"

	"peers/work"
)

func main() {
	ctx := context.Background()
	exporter, err := otlptracehttp.New(ctx)
	if err == nil {
		err = work.Run(ctx, exporter)
	}
	if err != nil {
		log.Fatal(err)
	}
}
