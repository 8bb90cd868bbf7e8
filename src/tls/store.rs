//! The credentials in use and their renewal. Every dial takes its credentials from here.

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
use crate::error::{CredentialLocation, Error, SpiffeIdProblem, located};
use crate::lock::lock;
use crate::stderr;
use crate::text::utc;

/// The ALPN protocols that can carry OTLP.
const H2: &[u8] = b"h2";
const HTTP_1_1: &[u8] = b"http/1.1";

/// The TLS side of a transport.
#[derive(Debug)]
pub(crate) struct Store {
    /// `None` with a `with_rustls_config` configuration, which does not rotate.
    renewal: Option<Renewal>,
    /// The interval of checks for new and expiring credentials.
    interval: Duration,
    /// The proxy that they are for, as host and port; `None` for a collector.
    proxy: Option<String>,
    state: Mutex<State>,
    expiry: Expiry,
}

/// What is needed to load new credentials.
#[derive(Debug)]
struct Renewal {
    source: Arc<dyn CredentialSource>,
    recipe: Recipe,
    /// Held during a call of the source.
    turn: Mutex<()>,
}

/// Builds configurations from credentials.
#[derive(Debug)]
struct Recipe {
    provider: Arc<CryptoProvider>,
    min_version: TlsVersion,
    /// `None` if they are not needed.
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
    /// The server's leaf certificate in the last handshake that presented one.
    server: Option<CertificateFacts>,
    /// The configured trust anchor to which its chain led.
    anchor: Option<CertificateFacts>,
    /// How many dials reached a TLS handshake, by the name of their failure.
    handshakes: BTreeMap<Option<&'static str>, u64>,
}

/// One version of the credentials, shared by all dials that used it.
#[derive(Debug)]
pub(crate) struct Generation {
    /// Increases with every change of the credentials.
    pub(crate) number: u64,
    pub(crate) config: Arc<ClientConfig>,
    /// The verifier of the configuration; `None` with `with_rustls_config`.
    pub(super) verifier: Option<Arc<ServerVerifier>>,
    /// Whether the server has answered a request on a connection made with these credentials.
    accepted: AtomicBool,
    /// Whether a server has asked for a client certificate in a handshake with these credentials.
    requested: AtomicBool,
    /// The credentials of the configuration; `None` with `with_rustls_config`.
    pub(crate) validated: Option<Validated>,
    /// Whether they come from the application's credential source.
    pub(crate) is_from_source: bool,
    /// Whether the platform's roots are trusted, alone or in addition to other CAs.
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

    /// The configuration for one dial, whose handshake is recorded in `notes`.
    pub(crate) fn noting(&self, notes: &Notes) -> ClientConfig {
        noting(&self.config, self.verifier.as_ref(), notes)
    }

    /// Whether these trust other CAs. A `with_rustls_config` configuration never changes.
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

    /// Records that the server has answered a request, and so accepts these credentials.
    pub(crate) fn accept(&self) {
        self.accepted.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_accepted(&self) -> bool {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Records that a server has asked for a client certificate.
    pub(crate) fn request(&self) {
        self.requested.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_requested(&self) -> bool {
        self.requested.load(Ordering::Relaxed)
    }
}

/// What code sets instead of settings.
#[derive(Default)]
pub(crate) struct Given {
    pub(crate) provider: Option<Arc<CryptoProvider>>,
    /// The source of credentials, instead of files and bytes.
    pub(crate) source: Option<Arc<dyn CredentialSource>>,
    /// The caller's own configuration.
    pub(crate) rustls_config: Option<Arc<ClientConfig>>,
}

/// The peer whose certificate is verified, for messages.
struct Server<'a> {
    name: String,
    origin: &'a Origin,
    /// The setting for its CA.
    ca: String,
    /// Its host and port, if it is a proxy.
    proxy: Option<String>,
}

impl Store {
    /// Loads the configured credentials. Fails if any of them cannot be used.
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
            proxy: None,
        };
        Self::new(&server, tls, given, alpn)
    }

    /// The same for a proxy; `None` for one without TLS. Of the settings in code, only the provider
    /// is used.
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
            proxy: Some(proxy.to_string()),
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
            let (proxy, interval) = (server.proxy.clone(), tls.reload_interval);
            return Ok(Self { renewal: None, interval, proxy, state, expiry });
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
        if needs_platform
            && platform_roots.is_empty()
            && let Some(error) = platform::named_in_vain(&server.ca)
        {
            return Err(error);
        }
        if validated.anchors.is_empty() && platform_roots.is_empty() {
            return Err(Error::NoPlatformRoots {
                endpoint: server.name.clone(),
                origin: server.origin.clone(),
                variable: server.ca.clone(),
            });
        }
        let current = recipe.generation(0, validated)?;
        let renewal = Some(Renewal { source, recipe, turn: Mutex::default() });
        let state = Mutex::new(State::new(current));
        let (proxy, interval) = (server.proxy.clone(), tls.reload_interval);
        let store = Self { renewal, interval, proxy, state, expiry };
        store.warn_of_expiry();
        Ok(store)
    }

    /// The credentials to dial with now.
    pub(crate) fn current(&self) -> Arc<Generation> {
        Arc::clone(&self.state().current)
    }

    /// The configuration for other clients, which looks up the credentials at each handshake and
    /// leaves ALPN to them. A `with_rustls_config` configuration does not rotate.
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

    /// Whether a check is due. If it is, the caller must call `look`.
    pub(crate) fn is_due(&self) -> bool {
        let mut state = self.state();
        let is_due = state.looked.elapsed() >= self.interval;
        if is_due {
            state.looked = Instant::now();
        }
        is_due
    }

    /// Checks the source, and uses new credentials if they are usable. With `force`, also if the
    /// source says that nothing has changed.
    ///
    /// It may block. It also waits for a running check, whose result may already be outdated.
    ///
    /// The error says why the new credentials are not used.
    pub(crate) fn look(&self, force: bool) -> Result<(), Error> {
        self.warn_of_expiry();
        let Some(renewal) = &self.renewal else {
            return Ok(());
        };
        let turn = lock(&renewal.turn);
        // Rejected credentials are tried again: the file may have been half written.
        let is_refused = self.state().rejections.last.is_some();
        if !force && !is_refused && !may_have_changed(&*renewal.source) {
            return Ok(());
        }
        let renewed = self.renew(renewal);
        let mut state = self.state();
        let generation = state.current.number;
        let problem = state.rejections.settle(renewed.as_ref().err());
        drop(state);
        // A subscriber to events may ask for the status, check, or export, which would deadlock.
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
                proxy = self.proxy.as_deref(),
                subject = leaf.map(|leaf| leaf.subject.as_str()),
                fingerprint = leaf.map(|leaf| leaf.fingerprint.as_str()),
                not_after = leaf.and_then(|leaf| leaf.not_after).map(utc),
                "new credentials are in use"
            );
        }
        Ok(())
    }

    /// Loads new credentials; `None` if nothing has changed.
    fn renew(&self, renewal: &Renewal) -> Result<Option<Arc<Generation>>, Error> {
        let Renewal { source, recipe, .. } = renewal;
        let credentials = load(&**source)?;
        let is_current = |validated: &Validated| validated.credentials == credentials;
        if self.state().current.validated.as_ref().is_some_and(is_current) {
            return Ok(None);
        }
        let validated = credentials.validate(&recipe.provider)?;
        validated.ensure_in_time()?;
        // Only a check changes the generation, and checks are serialised.
        let number = self.state().current.number + 1;
        let renewed = Arc::new(recipe.generation(number, validated)?);

        let mut state = self.state();
        state.current = Arc::clone(&renewed);
        state.loaded = SystemTime::now();
        Ok(Some(renewed))
    }

    /// Records a dial that reached a handshake, with the name of its failure.
    pub(crate) fn note_handshake(
        &self,
        handshake: &Handshake,
        is_done: bool,
        failure: Option<&'static str>,
    ) {
        let current = self.current();
        let facts = |der: &CertificateDer<'_>| {
            // A certificate that cannot be parsed has no dates.
            CertificateFacts::parse(der, current.config.crypto_provider()).ok()
        };
        // Only after a completed handshake: the expiry of an untrusted certificate does not matter.
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

    /// How many dials reached a TLS handshake, by the name of their failure.
    pub(crate) fn handshakes(&self) -> BTreeMap<Option<&'static str>, u64> {
        self.state().handshakes.clone()
    }

    /// Whether a certificate expires soon.
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
                self.expiry.look("client", leaf, &inside(&origins.certificate));
            }
            let anchors = &validated.trust_anchors;
            self.expiry.look_at_anchors(anchors, anchor.as_ref(), &inside(&origins.ca));
        }
        if let Some(server) = &server {
            match &self.proxy {
                None => self.expiry.look("server", server, "at the server"),
                Some(_) => self.expiry.look("proxy", server, "at the proxy"),
            }
        }
    }

    /// The status of the credentials in use.
    pub(crate) fn status(&self) -> CredentialStatus {
        let state = self.state();
        let validated = state.current.validated.as_ref();
        CredentialStatus {
            signals: Vec::new(),
            proxy: self.proxy.clone(),
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
        // The platform's roots are not the bundle of a trust domain.
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

/// Calls a source. An error from files is returned as is. A panic becomes an error without its
/// payload, which may be secret.
fn load(source: &dyn CredentialSource) -> Result<Credentials, Error> {
    let loaded = catch_unwind(AssertUnwindSafe(|| source.load()));
    let loaded = loaded.unwrap_or_else(|_panic| Err("it panicked in load()".into()));
    loaded.map_err(|error| match error.downcast::<Error>() {
        Ok(error) => *error,
        Err(source) => Error::CredentialSource { source },
    })
}

/// The place to renew a certificate of ours.
fn inside(place: &(Origin, CredentialLocation)) -> String {
    format!("in {}", located(place))
}

/// A source that panics here is loaded.
fn may_have_changed(source: &dyn CredentialSource) -> bool {
    catch_unwind(AssertUnwindSafe(|| source.may_have_changed())).unwrap_or(true)
}
