import io.opentelemetry.api.common.Attributes;
import io.opentelemetry.api.trace.SpanKind;
import io.opentelemetry.api.trace.Tracer;
import io.opentelemetry.sdk.autoconfigure.AutoConfiguredOpenTelemetrySdk;
import io.opentelemetry.sdk.common.CompletableResultCode;
import io.opentelemetry.sdk.trace.SdkTracerProvider;
import java.io.IOException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;

/** The OTLP exporters of the Java SDK, configured by the environment; the work is that of work.rs. */
final class Peer {
  private static final long BATCH = 512;

  public static void main(String[] arguments) throws IOException {
    long count = Long.parseLong(arguments[0]);
    long warmUp = Long.parseLong(arguments[4]);
    SdkTracerProvider provider =
        AutoConfiguredOpenTelemetrySdk.initialize().getOpenTelemetrySdk().getSdkTracerProvider();
    Tracer tracer = provider.get("checkout");
    CompletableResultCode flushed = null;
    for (long number = 1; number <= count; number++) {
      tracer
          .spanBuilder("GET /orders/{order_id}")
          .setSpanKind(SpanKind.SERVER)
          .setAllAttributes(attributes(number))
          .startSpan()
          .end();
      if (number % BATCH == 0 || number == count) {
        flushed = flush(provider, flushed);
      }
      if (number == warmUp) {
        System.out.print("warm\n");
        System.out.flush();
        System.in.read();
      }
    }
    await(provider.shutdown());
    System.out.print("done\n");
    System.out.flush();
    System.in.readAllBytes();
    // Its HTTP client's threads would otherwise keep the process for a minute.
    System.exit(0);
  }

  private static Attributes attributes(long number) {
    return Attributes.builder()
        .put("http.request.method", "GET")
        .put("http.route", "/orders/{order_id}")
        .put("http.response.status_code", 200)
        .put("url.scheme", "https")
        .put("url.path", "/orders/" + (1_000_000_000_000L + number))
        .put("server.address", "checkout.shop.svc.cluster.local")
        .put("server.port", 8443)
        .put("user_agent.original", "grpc-java-okhttp/1.71.0")
        .build();
  }

  /**
   * Flushes once. The processor's thread completes a flush before it forgets it. In between, it
   * answers a request with the completed flush, or with a success, and does not flush: the spans
   * would stay in the queue until the next request, and those that no longer fit would be dropped.
   */
  private static CompletableResultCode flush(
      SdkTracerProvider provider, CompletableResultCode previous) {
    CompletableResultCode result = provider.forceFlush();
    while (result == previous || result == CompletableResultCode.ofSuccess()) {
      // Sleeping costs less than trying again at once.
      LockSupport.parkNanos(100_000);
      result = provider.forceFlush();
    }
    await(result);
    return result;
  }

  private static void await(CompletableResultCode result) {
    if (!result.join(60, TimeUnit.SECONDS).isSuccess()) {
      throw new IllegalStateException("the sink accepts all");
    }
  }
}
