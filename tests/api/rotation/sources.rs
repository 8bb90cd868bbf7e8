//! Sources other than files.

use std::error::Error as StdError;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use otlp_mtls::testing::{Collector, Fixture, Identity, Pki};
use otlp_mtls::{CredentialSource, Credentials, Error, ExportersBuilder, Signal};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::{HOUR, Running, WAYS, Way};
use crate::support::{SOON, builder, once};

pub(super) type Loaded = Result<Credentials, Box<dyn StdError + Send + Sync>>;

/// Returns the result of a function of the number of earlier loads.
#[derive(Clone)]
pub(super) struct Source {
    loads: Arc<AtomicUsize>,
    load: Arc<dyn Fn(usize) -> Loaded + Send + Sync>,
}

impl Source {
    pub(super) fn new(load: impl Fn(usize) -> Loaded + Send + Sync + 'static) -> Self {
        Self { loads: Arc::default(), load: Arc::new(load) }
    }

    pub(super) fn loads(&self) -> usize {
        self.loads.load(Ordering::SeqCst)
    }
}

impl CredentialSource for Source {
    fn load(&self) -> Loaded {
        (self.load)(self.loads.fetch_add(1, Ordering::SeqCst))
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Source")
    }
}

pub(super) fn credentials(pki: &Pki, identity: &Identity) -> Credentials {
    let ca = CertificateDer::from_pem_slice(pki.ca_pem().as_bytes()).unwrap();
    Credentials::new()
        .with_trust_anchors([ca])
        .with_identity(identity.certificate_ders().to_vec(), identity.key_der())
}

struct World {
    pki: Pki,
    collector: Collector,
    way: Way,
    first: Credentials,
    second: Credentials,
}

impl World {
    fn new(way: Way) -> Self {
        let pki = Pki::new();
        let collector = way.collector(&pki, rustls::DEFAULT_VERSIONS);
        let [first, second] =
            ["first", "second"].map(|name| credentials(&pki, &pki.client_named(name)));
        Self { pki, collector, way, first, second }
    }

    /// A builder that checks the source at every export.
    fn builder(&self, source: &Source) -> ExportersBuilder {
        builder()
            .with_endpoint(self.collector.endpoint())
            .with_protocol(self.way.protocol())
            .with_credential_source(source.clone())
            .with_reload_interval(Duration::ZERO)
    }

    fn is(&self, running: &Running, connection: usize, name: &str) {
        for signal in Signal::ALL {
            assert_eq!(running.seen(&self.collector, signal), (connection, name.to_owned()));
        }
        assert!(self.collector.wait_until(SOON, |seen| seen.open_connections() == 1));
    }
}

#[test]
fn one_that_rotates() {
    for way in WAYS {
        let world = World::new(way);
        let now = Arc::new(Mutex::new(world.first.clone()));
        let source = {
            let now = Arc::clone(&now);
            Source::new(move |_| Ok(now.lock().unwrap().clone()))
        };
        let running = Running::new(world.builder(&source));
        world.is(&running, 0, "first");
        *now.lock().unwrap() = world.second.clone();
        world.is(&running, 1, "second");
        assert_eq!(running.status().generation, 1);
        assert_eq!(source.loads(), 1 + 2 * Signal::ALL.len());
    }
}

#[test]
fn one_that_reports_changes_is_loaded_only_after_one() {
    #[derive(Debug)]
    struct Telling(Source, Arc<AtomicUsize>);
    impl CredentialSource for Telling {
        fn load(&self) -> Loaded {
            self.0.load()
        }
        fn may_have_changed(&self) -> bool {
            self.1.swap(0, Ordering::SeqCst) > 0
        }
    }

    let world = World::new(Way::Grpc);
    let (first, second) = (world.first.clone(), world.second.clone());
    let source = Source::new(move |load| match load {
        0 => Ok(first.clone()),
        1 => Err("not now".into()),
        _ => Ok(second.clone()),
    });
    let changes = Arc::new(AtomicUsize::new(0));
    let telling = Telling(source.clone(), Arc::clone(&changes));
    let running = Running::new(world.builder(&source).with_credential_source(telling));
    world.is(&running, 0, "first");
    assert_eq!(source.loads(), 1);
    changes.store(1, Ordering::SeqCst);
    assert_eq!(running.seen(&world.collector, Signal::Logs), (0, "first".to_owned()));
    assert_eq!(source.loads(), 2);
    // Nothing has changed, but credentials that were refused may be valid now.
    world.is(&running, 1, "second");
    assert_eq!(source.loads(), 3);
    // `reload` always loads.
    running.exporters.reload().unwrap();
    assert_eq!(source.loads(), 4);
}

#[test]
fn one_that_fails() {
    for way in WAYS {
        let world = World::new(way);
        let (first, second) = (world.first.clone(), world.second.clone());
        let (fail, failing) = (Arc::new(AtomicUsize::new(0)), "the vault is sealed");
        let source = {
            let fail = Arc::clone(&fail);
            Source::new(move |load| match (load, fail.load(Ordering::SeqCst)) {
                (0, _) => Ok(first.clone()),
                (_, 0) => Err(failing.into()),
                _ => Ok(second.clone()),
            })
        };
        let running = Running::new(world.builder(&source));
        world.is(&running, 0, "first");
        let reason = running.refusal().unwrap();
        assert!(reason.starts_with("with_credential_source(): "), "{reason}");
        assert!(reason.ends_with("because: the vault is sealed"), "{reason}");
        let error = running.exporters.reload().unwrap_err();
        assert!(matches!(error, Error::CredentialSource { .. }), "{error}");
        assert_eq!(running.status().generation, 0);

        fail.store(1, Ordering::SeqCst);
        world.is(&running, 1, "second");
        assert_eq!(running.refusal(), None);
    }
}

#[test]
fn one_with_invalid_credentials() {
    let world = World::new(Way::Grpc);
    let (first, second) = (world.first.clone(), world.second.clone());
    let expired = credentials(&world.pki, &world.pki.client(Fixture::Expired));
    let [one, other] = ["one", "other"].map(|name| world.pki.client_named(name));
    let ours = credentials(&world.pki, &one);
    let mismatch = ours.with_identity(one.certificate_ders().to_vec(), other.key_der());
    let now = Arc::new(Mutex::new(first));
    let source = {
        let now = Arc::clone(&now);
        Source::new(move |_| Ok(now.lock().unwrap().clone()))
    };
    let running = Running::new(world.builder(&source));
    world.is(&running, 0, "first");
    for (bad, finding) in [(expired, "expired at"), (mismatch, "public keys differ")] {
        *now.lock().unwrap() = bad;
        world.is(&running, 0, "first");
        let reason = running.refusal().unwrap();
        assert!(reason.starts_with("with_credential_source(): "), "{reason}");
        assert!(reason.contains(finding), "{reason}");
    }
    *now.lock().unwrap() = second;
    world.is(&running, 1, "second");
}

#[test]
fn one_that_has_nothing_at_the_start() {
    let source = Source::new(|_| Err("the vault is sealed".into()));
    let built = builder().with_endpoint("https://localhost").with_credential_source(source).build();
    let error = built.unwrap_err();
    assert!(matches!(error, Error::CredentialSource { .. }), "{error}");
    assert!(format!("{error:?}").ends_with("because: the vault is sealed"), "{error:?}");
}

/// One export waits for it, for one second.
#[test]
fn one_that_hangs() {
    let world = World::new(Way::Grpc);
    let (first, second) = (world.first.clone(), world.second.clone());
    let (go_on, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let source = Source::new(move |load| match load {
        0 => Ok(first.clone()),
        _ => {
            // Blocks until the sender is dropped.
            let _ = wait.lock().unwrap().recv();
            Ok(second.clone())
        }
    });
    let running = Running::new(world.builder(&source));
    for _ in 0..3 {
        world.is(&running, 0, "first");
    }
    // The second load has not returned, and there is no third one.
    assert_eq!(source.loads(), 2);
    assert_eq!(running.status().generation, 0);
    assert_eq!(running.refusal(), None);

    drop(go_on);
    while running.status().generation == 0 {
        thread::yield_now();
    }
    world.is(&running, 1, "second");
}

/// A panic counts as an error, and its text, which may be a secret, is not shown.
#[test]
fn one_that_panics() {
    let world = World::new(Way::Grpc);
    let (first, second) = (world.first.clone(), world.second.clone());
    let is_mended = Arc::new(AtomicUsize::new(0));
    let source = {
        let is_mended = Arc::clone(&is_mended);
        Source::new(move |load| match (load, is_mended.load(Ordering::SeqCst)) {
            (0, _) => Ok(first.clone()),
            (_, 0) => panic!("the token s3cr3t"),
            _ => Ok(second.clone()),
        })
    };
    let running = Running::new(world.builder(&source));
    world.is(&running, 0, "first");
    let reason = running.refusal().unwrap();
    assert!(reason.ends_with("because: it panicked in load()"), "{reason}");
    let error = running.exporters.reload().unwrap_err();
    assert!(matches!(error, Error::CredentialSource { .. }), "{error}");
    assert!(!format!("{error:?} {:?}", running.exporters.status()).contains("s3cr3t"));
    assert_eq!(running.status().refusals, 1);

    is_mended.store(1, Ordering::SeqCst);
    world.is(&running, 1, "second");
    assert_eq!(running.refusal(), None);
}

#[test]
fn one_that_panics_at_the_start() {
    let source = Source::new(|_| panic!("on purpose"));
    let built = builder().with_endpoint("https://localhost").with_credential_source(source).build();
    let error = built.unwrap_err();
    assert!(matches!(error, Error::CredentialSource { .. }), "{error}");
}

/// If the check for changes panics, the source is loaded.
#[test]
fn one_that_panics_when_asked_whether_it_changed() {
    #[derive(Debug)]
    struct Panicking(Source);
    impl CredentialSource for Panicking {
        fn load(&self) -> Loaded {
            self.0.load()
        }
        fn may_have_changed(&self) -> bool {
            panic!("on purpose")
        }
    }

    let world = World::new(Way::Grpc);
    let (first, second) = (world.first.clone(), world.second.clone());
    let source = Source::new(move |load| Ok(if load == 0 { &first } else { &second }.clone()));
    let builder = world.builder(&source).with_credential_source(Panicking(source.clone()));
    world.is(&Running::new(builder), 0, "second");
}

/// A source that issues at every load is loaded once more for a refused export, and not until the
/// export's deadline.
#[test]
fn one_whose_every_identity_is_refused() {
    for way in WAYS {
        let world = World::new(way);
        let pki = Pki::new();
        let ca = CertificateDer::from_pem_slice(world.pki.ca_pem().as_bytes()).unwrap();
        let source = Source::new(move |_| {
            Ok(credentials(&pki, &pki.client(Fixture::Good)).with_trust_anchors([ca.clone()]))
        });
        let builder = world.builder(&source).with_reload_interval(HOUR);
        let running = Running::new(once(builder).with_timeout(SOON));
        let error = running.export(Signal::Traces).unwrap_err();
        assert!(error.contains("the server refused us"), "{way:?}: {error}");
        let connections = world.collector.connections();
        assert!((2..=8).contains(&connections), "{way:?}: {connections}");
    }
}

#[test]
fn a_reload_waits_for_the_check_in_progress_and_then_checks() {
    let world = World::new(Way::Grpc);
    let (first, second) = (world.first.clone(), world.second.clone());
    let (started, has_started) = mpsc::channel();
    let (go_on, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let source = Source::new(move |load| match load {
        0 => Ok(first.clone()),
        1 => {
            // Its result was read before the change.
            started.send(()).unwrap();
            let _ = wait.lock().unwrap().recv();
            Ok(first.clone())
        }
        _ => Ok(second.clone()),
    });
    let running = Running::new(world.builder(&source).with_reload_interval(HOUR));
    let running = &running;
    thread::scope(|scope| {
        let looking = scope.spawn(|| running.exporters.reload());
        has_started.recv_timeout(SOON).unwrap();
        let reloading = scope.spawn(|| running.exporters.reload());
        drop(go_on);
        looking.join().unwrap().unwrap();
        reloading.join().unwrap().unwrap();
    });
    assert_eq!(source.loads(), 3);
    world.is(running, 0, "second");
}

#[test]
fn a_key_that_only_signs() {
    for way in WAYS {
        let world = World::new(way);
        let ca = CertificateDer::from_pem_slice(world.pki.ca_pem().as_bytes()).unwrap();
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let [first, second] = ["first", "second"].map(|name| {
            let identity = world.pki.client_named(name);
            let key = provider.key_provider.load_private_key(identity.key_der()).unwrap();
            Credentials::new()
                .with_trust_anchors([ca.clone()])
                .with_signing_key(identity.certificate_ders().to_vec(), key)
        });
        let now = Arc::new(Mutex::new(first));
        let source = {
            let now = Arc::clone(&now);
            Source::new(move |_| Ok(now.lock().unwrap().clone()))
        };
        let running = Running::new(world.builder(&source));
        world.is(&running, 0, "first");
        assert_eq!(running.status().generation, 0, "the same key is the same identity");
        *now.lock().unwrap() = second;
        world.is(&running, 1, "second");
        assert_eq!(running.status().generation, 1);
    }
}
