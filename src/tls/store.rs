//! The credentials in use: whose they are, since when, and what might replace them. Every dial asks
//! here.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime};

use rustls::ClientConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use tracing::Level;

use super::CredentialSource;
use super::anchor::Anchor;
use super::certificate::CertificateFacts;
use super::client_config::{client_config, noting, rotating, unresumed};
use super::credentials::{Credentials, Validated};
use super::expiry::Expiry;
use super::notes::{Handshake, Notes};
use super::platform;
use super::source::Files;
use super::status::{CredentialStatus, Rejections};
use super::verifier::ServerVerifier;
use crate::config::{
    Origin, Proxy, Settings, Sourced, SpiffeId, TlsSettings, TlsVersion, Variable,
};
use crate::error::{Error, SpiffeIdProblem, located};
use crate::lock::lock;
use crate::stderr;
use crate::text::utc;

/// The application protocols that OTLP travels by.
const H2: &[u8] = b"h2";
const HTTP_1_1: &[u8] = b"http/1.1";

/// The TLS side of a transport.
#[derive(Debug)]
pub(crate) struct Store {
    /// `None` with a configuration that was brought along, which does not rotate.
    renewal: Option<Renewal>,
    /// How often it is looked, at what may be new and at what is about to expire.
    interval: Duration,
    state: Mutex<State>,
    expiry: Expiry,
}

/// All that it takes to make new credentials.
#[derive(Debug)]
struct Renewal {
    source: Arc<dyn CredentialSource>,
    recipe: Recipe,
    /// Held while the source is asked.
    turn: Mutex<()>,
}

/// Credentials to configuration.
#[derive(Debug)]
struct Recipe {
    provider: Arc<CryptoProvider>,
    min_version: TlsVersion,
    /// `None` where they are not needed.
    platform_roots: Option<Arc<[Anchor]>>,
    is_from_source: bool,
    alpn: Vec<Vec<u8>>,
    endpoint: String,
    spiffe_id: Option<Sourced<SpiffeId>>,
}

#[derive(Debug)]
struct State {
    current: Arc<Generation>,
    loaded: SystemTime,
    looked: Instant,
    rejections: Rejections,
    /// The server's leaf, of the last handshake that showed one.
    server: Option<CertificateFacts>,
    /// The one of the named trust anchors to which its chain led.
    anchor: Option<CertificateFacts>,
    /// How many dials came to a TLS handshake, by the name of their failure.
    handshakes: BTreeMap<Option<&'static str>, u64>,
}

/// The credentials of one moment, which all who dialled with them share.
#[derive(Debug)]
pub(crate) struct Generation {
    /// Counts up with every change of the credentials.
    pub(crate) number: u64,
    pub(crate) config: Arc<ClientConfig>,
    /// The configuration's; `None` if that was brought along.
    pub(super) verifier: Option<Arc<ServerVerifier>>,
    /// Whether the server has answered a request on a connection made with these credentials.
    accepted: AtomicBool,
    /// Whether a server has asked for a client certificate in a handshake with these credentials.
    requested: AtomicBool,
    /// What the configuration was made of; `None` if it was brought along.
    pub(crate) validated: Option<Validated>,
    /// Whether that is from a source of the application's.
    pub(crate) is_from_source: bool,
    /// Whether the platform's roots are trusted, be it beside a CA.
    pub(crate) trusts_platform: bool,
}

impl Generation {
    fn new(number: u64, config: ClientConfig, validated: Option<Validated>) -> Self {
        Self {
            number,
            config: Arc::new(config),
            verifier: None,
            accepted: AtomicBool::new(false),
            requested: AtomicBool::new(false),
            validated,
            is_from_source: false,
            trusts_platform: false,
        }
    }

    /// The configuration for one dial, whose handshake shows in the notes.
    pub(crate) fn noting(&self, notes: &Notes) -> ClientConfig {
        noting(&self.config, self.verifier.as_ref(), notes)
    }

    /// Whether these trust other CAs. Of a configuration that was brought along there is one.
    pub(crate) fn has_other_trust_anchors(&self, than: &Self) -> bool {
        self.differs(than, |credentials| &credentials.trust_anchors)
    }

    /// Whether these present another certificate.
    pub(crate) fn has_other_identity(&self, than: &Self) -> bool {
        self.differs(than, |credentials| &credentials.identity)
    }

    fn differs<T: PartialEq>(&self, than: &Self, part: impl Fn(&Credentials) -> &T) -> bool {
        self.validated
            .as_ref()
            .zip(than.validated.as_ref())
            .is_some_and(|(one, other)| part(&one.credentials) != part(&other.credentials))
    }

    /// Notes that the server has answered a request: it accepts these credentials.
    pub(crate) fn accept(&self) {
        self.accepted.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_accepted(&self) -> bool {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Notes that a server has asked for a client certificate.
    pub(crate) fn request(&self) {
        self.requested.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_requested(&self) -> bool {
        self.requested.load(Ordering::Relaxed)
    }
}

/// What code gives in place of what settings can say.
#[derive(Default)]
pub(crate) struct Given {
    pub(crate) provider: Option<Arc<CryptoProvider>>,
    /// Credentials from elsewhere than files and bytes.
    pub(crate) source: Option<Arc<dyn CredentialSource>>,
    /// A configuration brought along, in place of one made here.
    pub(crate) rustls_config: Option<Arc<ClientConfig>>,
}

/// Whose certificate is to be verified, for messages.
struct Server<'a> {
    name: String,
    origin: &'a Origin,
    /// What names a CA for it.
    ca: String,
}

impl Store {
    /// Loads what the settings name, and fails on anything that cannot be used.
    pub(crate) fn load(
        settings: &Settings,
        tls: &TlsSettings,
        given: &Given,
    ) -> Result<Self, Error> {
        let alpn = match settings.protocol.is_grpc() {
            true => vec![H2.to_vec()],
            false => vec![H2.to_vec(), HTTP_1_1.to_vec()],
        };
        let server = Server {
            name: settings.endpoint.to_string(),
            origin: &settings.endpoint.origin,
            ca: settings.named(Variable::Certificate),
        };
        Self::new(&server, tls, given, alpn)
    }

    /// The same of a proxy; `None` of one that is asked in plaintext. Of what code gives, nothing counts but the
    /// provider.
    pub(crate) fn of_proxy(proxy: &Proxy, given: &Given) -> Result<Option<Self>, Error> {
        let Some(tls) = &proxy.tls else {
            return Ok(None);
        };
        let brought = given.rustls_config.as_ref().map(|config| config.crypto_provider());
        let provider = given.provider.as_ref().or(brought).cloned();
        let given = Given { provider, ..Given::default() };
        let server = Server {
            name: format!("the proxy {proxy}"),
            origin: &proxy.origin,
            ca: "with_proxy_ca_certificate()".to_owned(),
        };
        Self::new(&server, tls, &given, vec![HTTP_1_1.to_vec()]).map(Some)
    }

    fn new(
        server: &Server<'_>,
        tls: &TlsSettings,
        given: &Given,
        alpn: Vec<Vec<u8>>,
    ) -> Result<Self, Error> {
        let expiry = Expiry::new(tls.expiry_warning);
        if let Some(custom) = &given.rustls_config {
            let mut config = unresumed(ClientConfig::clone(custom));
            config.alpn_protocols = alpn;
            let current = Generation::new(0, config, None);
            let state = Mutex::new(State::new(current));
            return Ok(Self { renewal: None, interval: tls.reload_interval, state, expiry });
        }

        let provider = super::crypto_provider(given.provider.as_ref())?;
        let source: Arc<dyn CredentialSource> = match &given.source {
            Some(source) => Arc::clone(source),
            None => Arc::new(Files::new(tls.clone())),
        };
        let validated = load(&*source)?.validate(&provider)?;
        let needs_platform = validated.credentials.trust_anchors.is_none() || tls.system_roots;
        let recipe = Recipe {
            provider,
            min_version: tls.min_version,
            platform_roots: needs_platform.then(platform::roots),
            is_from_source: given.source.is_some(),
            alpn,
            endpoint: server.name.clone(),
            spiffe_id: tls.server_spiffe_id.clone(),
        };
        let platform_roots = recipe.platform_roots.as_deref().unwrap_or_default();
        if validated.anchors.is_empty() && platform_roots.is_empty() {
            return Err(platform::named_in_vain().unwrap_or_else(|| Error::NoPlatformRoots {
                endpoint: server.name.clone(),
                origin: server.origin.clone(),
                variable: server.ca.clone(),
            }));
        }
        let current = recipe.generation(0, validated)?;
        let renewal = Some(Renewal { source, recipe, turn: Mutex::default() });
        let state = Mutex::new(State::new(current));
        let store = Self { renewal, interval: tls.reload_interval, state, expiry };
        store.warn_of_expiry();
        Ok(store)
    }

    /// The credentials to dial with now.
    pub(crate) fn current(&self) -> Arc<Generation> {
        Arc::clone(&self.state().current)
    }

    /// The configuration for other clients, which asks for the credentials at each handshake and leaves ALPN to
    /// them. One that was brought along does not rotate.
    pub(crate) fn rotating_config(
        &self,
        current: impl Fn() -> Arc<Generation> + Send + Sync + 'static,
    ) -> ClientConfig {
        let Generation { config, verifier, .. } = &*self.current();
        let mut config = ClientConfig::clone(config);
        config.alpn_protocols.clear();
        match verifier {
            Some(verifier) => rotating(config, Arc::clone(verifier), current),
            None => config,
        }
    }

    /// Whether it is time to look again; the look is the caller's to make.
    pub(crate) fn is_due(&self) -> bool {
        let mut state = self.state();
        let is_due = state.looked.elapsed() >= self.interval;
        if is_due {
            state.looked = Instant::now();
        }
        is_due
    }

    /// Asks the source, and takes what is new and can be used. With `force`, also where the source
    /// says that nothing has changed.
    ///
    /// It may block, also to wait for another look to end: what that one saw may be old.
    ///
    /// The error says why what is there is not taken.
    pub(crate) fn look(&self, force: bool) -> Result<(), Error> {
        self.warn_of_expiry();
        let Some(renewal) = &self.renewal else {
            return Ok(());
        };
        let turn = lock(&renewal.turn);
        // What was refused is tried again: it may have been half written.
        let is_refused = self.state().rejections.last.is_some();
        if !force && !is_refused && !may_have_changed(&*renewal.source) {
            return Ok(());
        }
        let renewed = self.renew(renewal);
        let mut state = self.state();
        let generation = state.current.number;
        let problem = state.rejections.settle(renewed.as_ref().err());
        drop(state);
        // Whoever subscribes to events may ask for the status, look, or export.
        drop(turn);
        if let Some(reason) = problem {
            let words = format!("new credentials are not used: {reason}");
            tracing::warn!(name: "otlp_mtls.credentials.refused", generation, "{words}");
            stderr::write_unless_heard(Level::WARN, words);
        }
        if let Some(renewed) = renewed? {
            let leaf = renewed.validated.as_ref().and_then(|validated| validated.chain.first());
            tracing::info!(
                name: "otlp_mtls.credentials.rotated",
                generation = renewed.number,
                subject = leaf.map(|leaf| leaf.subject.as_str()),
                fingerprint = leaf.map(|leaf| leaf.fingerprint.as_str()),
                not_after = leaf.and_then(|leaf| leaf.not_after).map(utc),
                "new credentials are in use"
            );
        }
        Ok(())
    }

    /// Takes what is new; `None` if nothing is.
    fn renew(&self, renewal: &Renewal) -> Result<Option<Arc<Generation>>, Error> {
        let Renewal { source, recipe, .. } = renewal;
        let credentials = load(&**source)?;
        let is_current = |validated: &Validated| validated.credentials == credentials;
        if self.state().current.validated.as_ref().is_some_and(is_current) {
            return Ok(None);
        }
        let validated = credentials.validate(&recipe.provider)?;
        validated.ensure_in_time()?;
        // Only a look changes the generation, and looks take turns.
        let number = self.state().current.number + 1;
        let renewed = Arc::new(recipe.generation(number, validated)?);

        let mut state = self.state();
        state.current = Arc::clone(&renewed);
        state.loaded = SystemTime::now();
        Ok(Some(renewed))
    }

    /// Notes a dial that came to a handshake, and by which name it failed.
    pub(crate) fn note_handshake(
        &self,
        handshake: &Handshake,
        is_done: bool,
        failure: Option<&'static str>,
    ) {
        let current = self.current();
        let facts = |der: &CertificateDer<'_>| {
            // What cannot be parsed has no date to show.
            CertificateFacts::parse(der, current.config.crypto_provider()).ok()
        };
        // Of whom we trust: nobody else's dates matter.
        let leaf = handshake.server_chain.first().filter(|_| is_done);
        let leaf = leaf.and_then(facts);
        let named = current.validated.iter().flat_map(|validated| &validated.trust_anchors);
        let anchor = handshake.anchor.as_ref().and_then(facts);
        let anchor = named.into_iter().find(|named| Some(*named) == anchor.as_ref()).cloned();
        let mut state = self.state();
        *state.handshakes.entry(failure).or_default() += 1;
        if leaf.is_some() {
            state.server = leaf;
            state.anchor = anchor;
        }
    }

    /// How many dials came to a TLS handshake, by the name of their failure.
    pub(crate) fn handshakes(&self) -> BTreeMap<Option<&'static str>, u64> {
        self.state().handshakes.clone()
    }

    /// Whether a certificate's time is soon over.
    pub(crate) fn is_expiring(&self, facts: &CertificateFacts) -> bool {
        self.expiry.is_near(facts)
    }

    fn warn_of_expiry(&self) {
        let (current, server, anchor) = {
            let state = self.state();
            (Arc::clone(&state.current), state.server.clone(), state.anchor.clone())
        };
        if let Some(validated) = &current.validated {
            let origins = validated.origins();
            if let Some(leaf) = validated.chain.first() {
                self.expiry.look("client", leaf, &located(&origins.certificate));
            }
            let anchors = &validated.trust_anchors;
            self.expiry.look_at_anchors(anchors, anchor.as_ref(), &located(&origins.ca));
        }
        if let Some(server) = &server {
            self.expiry.look("server", server, "the server");
        }
    }

    /// What there is to know of the credentials in use.
    pub(crate) fn status(&self) -> CredentialStatus {
        let state = self.state();
        let validated = state.current.validated.as_ref();
        CredentialStatus {
            signals: Vec::new(),
            generation: state.current.number,
            loaded: state.loaded,
            chain: validated.map(|validated| validated.chain.clone()).unwrap_or_default(),
            trust_anchors: validated
                .map(|validated| validated.trust_anchors.clone())
                .unwrap_or_default(),
            fips: state.current.config.fips(),
            refusal: state.rejections.last.clone(),
            refusals: state.rejections.count,
            server: state.server.clone(),
            anchor: state.anchor.clone(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl State {
    fn new(current: Generation) -> Self {
        Self {
            current: current.into(),
            loaded: SystemTime::now(),
            looked: Instant::now(),
            rejections: Rejections::default(),
            server: None,
            anchor: None,
            handshakes: BTreeMap::new(),
        }
    }
}

impl Recipe {
    fn generation(&self, number: u64, validated: Validated) -> Result<Generation, Error> {
        // The platform's roots are no trust domain's bundle.
        if let Some(id) = self.spiffe_id.as_ref().filter(|_| validated.anchors.is_empty()) {
            return Err(Error::SpiffeId {
                origin: id.origin.clone(),
                id: id.to_string(),
                problem: SpiffeIdProblem::NoTrustBundle,
            });
        }
        let verifier = Arc::new(ServerVerifier {
            provider: Arc::clone(&self.provider),
            named: Arc::clone(&validated.anchors),
            platform: self.platform_roots.clone().unwrap_or_default(),
            spiffe_id: self.spiffe_id.as_ref().map(|id| id.value.clone()),
        });
        let config = client_config(
            Arc::clone(&verifier),
            self.min_version,
            validated.certified_key.clone(),
            self.alpn.clone(),
        )
        .map_err(|source| Error::Rustls { endpoint: self.endpoint.clone(), source })?;
        Ok(Generation {
            is_from_source: self.is_from_source,
            trusts_platform: self.platform_roots.is_some(),
            verifier: Some(verifier),
            ..Generation::new(number, config, Some(validated))
        })
    }
}

/// Asks a source, whose error is ours if it comes from files. A panic of it is one more error: what it
/// panics with may be a secret, and is not in it.
fn load(source: &dyn CredentialSource) -> Result<Credentials, Error> {
    let loaded = catch_unwind(AssertUnwindSafe(|| source.load()));
    let loaded = loaded.unwrap_or_else(|_panic| Err("it panicked in load()".into()));
    loaded.map_err(|error| match error.downcast::<Error>() {
        Ok(error) => *error,
        Err(source) => Error::CredentialSource { source },
    })
}

/// What cannot tell is asked to load.
fn may_have_changed(source: &dyn CredentialSource) -> bool {
    catch_unwind(AssertUnwindSafe(|| source.may_have_changed())).unwrap_or(true)
}
