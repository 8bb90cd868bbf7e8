// The exporter otlptracegrpc of the Go SDK, configured by the environment.
package main

import (
	"context"
	"log"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"

	"peers/work"
)

func main() {
	ctx := context.Background()
	exporter, err := otlptracegrpc.New(ctx)
	if err == nil {
		err = work.Run(ctx, exporter)
	}
	if err != nil {
		log.Fatal(err)
	}
}
