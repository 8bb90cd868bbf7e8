package work

import (
	"context"
	"fmt"
	"log"
	"os/signal"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/sdk/trace"
)

// Load is the work of ../../../faults/load.rs: spans named by their number, at this rate, until SIGTERM.
func Load(ctx context.Context, exporter trace.SpanExporter, perSecond string) error {
	rate, err := strconv.Atoi(perSecond)
	if err != nil {
		return err
	}
	var messages atomic.Int64
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		messages.Add(1)
		log.Print(err)
	}))
	stopped, _ := signal.NotifyContext(ctx, syscall.SIGTERM)
	provider := trace.NewTracerProvider(trace.WithBatcher(exporter))
	tracer := provider.Tracer("faults")
	fmt.Println("started")
	started, emitted := time.Now(), 0
	for stopped.Err() == nil {
		_, span := tracer.Start(ctx, strconv.Itoa(emitted))
		span.End()
		emitted++
		time.Sleep(time.Until(started.Add(time.Second / time.Duration(rate) * time.Duration(emitted))))
	}
	ending, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := provider.Shutdown(ending); err != nil {
		otel.Handle(err)
	}
	// It is told no number.
	fmt.Printf("{\"emitted\":%d,\"reported\":0,\"messages\":%d}\n", emitted, messages.Load())
	return nil
}
