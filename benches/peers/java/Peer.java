import io.opentelemetry.api.common.Attributes;
import io.opentelemetry.api.trace.SpanKind;
import io.opentelemetry.api.trace.Tracer;
import io.opentelemetry.sdk.autoconfigure.AutoConfiguredOpenTelemetrySdk;
import io.opentelemetry.sdk.common.CompletableResultCode;
import io.opentelemetry.sdk.trace.SdkTracerProvider;
import java.io.IOException;
import java.util.concurrent.TimeUnit;

/** The OTLP exporters of the Java SDK, configured by the environment; the work is that of work.rs. */
final class Peer {
  private static final long BATCH = 512;

  public static void main(String[] arguments) throws IOException {
    long count = Long.parseLong(arguments[0]);
    SdkTracerProvider provider =
        AutoConfiguredOpenTelemetrySdk.initialize().getOpenTelemetrySdk().getSdkTracerProvider();
    Tracer tracer = provider.get("checkout");
    for (long number = 1; number <= count; number++) {
      tracer
          .spanBuilder("GET /orders/{order_id}")
          .setSpanKind(SpanKind.SERVER)
          .setAllAttributes(attributes(number))
          .startSpan()
          .end();
      if (number % BATCH == 0 || number == count) {
        await(provider.forceFlush());
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

  private static void await(CompletableResultCode result) {
    if (!result.join(60, TimeUnit.SECONDS).isSuccess()) {
      throw new IllegalStateException("the sink accepts all");
    }
  }
}
