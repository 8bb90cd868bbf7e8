//! The events of rotation. Files are checked on separate threads, whose events only a global subscriber
//! receives.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use futures_executor::block_on;
use opentelemetry_sdk::trace::SpanExporter as _;
use otlp_mtls::testing::{Fixture, Identity, Pki};
use otlp_mtls::{Exporters, Pem, Protocol};
use tracing::Level;
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::exporter::span;
use crate::{in_a_process, mtls_collector};

const REFUSED: &str = "otlp_mtls.credentials.refused";
const ROTATED: &str = "otlp_mtls.credentials.rotated";

#[derive(Clone, Debug)]
struct Event {
    level: Level,
    name: &'static str,
    fields: BTreeMap<&'static str, String>,
    /// The result of `status()` at the time of the event.
    generation: u64,
    refusal: Option<String>,
}

impl Visit for Event {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.fields.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.insert(field.name(), value.to_owned());
    }
}

/// Records the events of rotation, with the exporters' status during each event.
#[derive(Clone, Default)]
struct Heard {
    events: Arc<Mutex<Vec<Event>>>,
    exporters: Arc<OnceLock<Exporters>>,
}

impl<S: tracing::Subscriber> Layer<S> for Heard {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let (metadata, Some(exporters)) = (event.metadata(), self.exporters.get()) else {
            return;
        };
        if !metadata.name().starts_with("otlp_mtls.credentials.") {
            return;
        }
        let shown = exporters.status().credentials.remove(0);
        let mut heard = Event {
            level: *metadata.level(),
            name: metadata.name(),
            fields: BTreeMap::new(),
            generation: shown.generation,
            refusal: shown.refusal.map(|refusal| refusal.reason),
        };
        event.record(&mut heard);
        self.events.lock().unwrap().push(heard);
        // A subscriber must not deadlock with the exporters.
        let _ = exporters.reload();
    }
}

impl Heard {
    fn take(&self) -> Vec<Event> {
        std::mem::take(&mut self.events.lock().unwrap())
    }
}

#[test]
fn one_event_for_each_rotation_and_each_distinct_problem() {
    let name = "rotation::one_event_for_each_rotation_and_each_distinct_problem";
    in_a_process(name, &[], events);
}

fn events() {
    let (pki, directory) = (Pki::new(), tempfile::tempdir().unwrap());
    let collector = mtls_collector(&pki);
    let write = |identity: &Identity| identity.write_to(directory.path(), "client").unwrap();
    let (certificate, key) = write(&pki.client_named("first"));
    let heard = Heard::default();
    let subscriber = tracing_subscriber::registry().with(heard.clone());
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let exporters = Exporters::builder()
        .with_endpoint(collector.endpoint())
        .with_protocol(Protocol::Grpc)
        .with_ca_certificate(Pem::bytes(pki.ca_pem()))
        .with_client_identity(Pem::file(&certificate), Pem::file(&key))
        .with_reload_interval(Duration::ZERO)
        .build()
        .unwrap();
    heard.exporters.set(exporters.clone()).unwrap();
    let exporter = exporters.span_exporter().unwrap();
    let export = || {
        for _ in 0..3 {
            block_on(exporter.export(vec![span("a span")])).unwrap();
        }
    };
    export();
    assert!(heard.take().is_empty());

    let mut generation = 0;
    let good = |number: u64| pki.client_named(&format!("number {number}"));
    type Break<'a> = &'a dyn Fn();
    let expired = || drop(write(&pki.client(Fixture::Expired)));
    let early = || drop(write(&pki.client(Fixture::NotYetValid)));
    let encrypted = |pem: String| pem.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let problems: [(&str, Break<'_>); 9] = [
        ("holds no PEM", &|| fs::write(&key, "garbage").unwrap()),
        ("is empty", &|| fs::write(&key, "").unwrap()),
        ("no such file", &|| fs::remove_file(&key).unwrap()),
        ("is a directory", &|| fs::create_dir(&key).unwrap()),
        ("public keys differ", &|| {
            fs::remove_dir(&key).unwrap();
            fs::write(&key, pki.client_named("other").key_pem()).unwrap();
        }),
        ("is encrypted", &|| {
            let pem = fs::read_to_string(&key).unwrap();
            fs::write(&key, encrypted(pem)).unwrap();
        }),
        ("expired at", &expired),
        ("is not valid before", &early),
        ("is cut off", &|| fs::write(&certificate, "-----BEGIN CERTIFICATE-----\nMA==\n").unwrap()),
    ];
    for (finding, problem) in problems {
        problem();
        export();
        let events = heard.take();
        let [event] = events.as_slice() else { panic!("{finding}: {events:#?}") };
        assert_eq!((event.level, event.name), (Level::WARN, REFUSED), "{event:#?}");
        let message = &event.fields["message"];
        assert!(message.starts_with("new credentials are not used: with_client_identity(): "));
        assert!(message.contains(finding), "{event:#?}");
        assert_eq!(event.fields["generation"], generation.to_string());
        assert_eq!(event.generation, generation);
        assert!(message.ends_with(event.refusal.as_ref().unwrap()), "{event:#?}");
        // `reload` reports only new problems, too.
        exporters.reload().unwrap_err();
        assert!(heard.take().is_empty());
    }

    for _ in 0..3 {
        generation += 1;
        write(&good(generation));
        export();
        let events = heard.take();
        let [event] = events.as_slice() else { panic!("{events:#?}") };
        assert_eq!((event.level, event.name), (Level::INFO, ROTATED), "{event:#?}");
        let client = collector.requests().pop().unwrap().client_certificate.unwrap();
        assert_eq!(client.common_name(), Some(&*format!("number {generation}")));
        assert_eq!(event.fields["generation"], generation.to_string());
        assert_eq!(event.fields["subject"], client.subject());
        assert_eq!(event.fields["fingerprint"], client.fingerprint());
        assert!(event.fields.contains_key("not_after"), "{event:#?}");
        assert_eq!(event.generation, generation, "it is said when it is so");
        exporters.reload().unwrap();
        assert!(heard.take().is_empty());
    }

    // The same problem, after it was solved, is a new one.
    for _ in 0..2 {
        fs::write(&key, "").unwrap();
        export();
        generation += 1;
        write(&good(generation));
        export();
        let names: Vec<_> = heard.take().into_iter().map(|event| event.name).collect();
        assert_eq!(names, [REFUSED, ROTATED]);
    }
}
