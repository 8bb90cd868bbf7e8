//! Events on the I/O thread, which only a global subscriber receives.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_executor::block_on;
use opentelemetry_sdk::trace::SpanExporter as _;
use otlp_mtls::testing::{Collector, Reply};
use otlp_mtls::{Exporters, RetryPolicy};
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::exporter::span;
use crate::in_a_process;

type Fields = BTreeMap<&'static str, String>;

/// Records the fields of retried attempts.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<Fields>>>);

struct Reader<'a>(&'a mut Fields);

impl Visit for Reader<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

impl<S: tracing::Subscriber> Layer<S> for Heard {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if event.metadata().name() == "otlp_mtls.export.retried" {
            let mut fields = Fields::new();
            event.record(&mut Reader(&mut fields));
            self.0.lock().unwrap().push(fields);
        }
    }
}

#[test]
fn each_retry_is_one_event() {
    in_a_process("events::each_retry_is_one_event", &[], || {
        let heard = Heard::default();
        let subscriber = tracing_subscriber::registry().with(heard.clone());
        tracing::subscriber::set_global_default(subscriber).unwrap();
        let collector = Collector::builder().start().unwrap();
        collector.set_reply(|_| Reply::Http { status: 503, headers: Vec::new() });
        let retry = RetryPolicy::default()
            .with_max_attempts(3)
            .with_initial_backoff(Duration::from_millis(1));
        let exporters = Exporters::builder()
            .with_endpoint(collector.endpoint())
            .with_retry(retry)
            .build()
            .unwrap();
        let exporter = exporters.span_exporter().unwrap();
        block_on(exporter.export(vec![span("a span")])).unwrap_err();
        let heard = heard.0.lock().unwrap();
        assert_eq!(heard.len(), 2, "{heard:?}");
        for fields in heard.iter() {
            assert_eq!((&*fields["signal"], &*fields["kind"]), ("traces", "http_5xx"));
        }
    });
}
