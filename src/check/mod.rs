//! The doctor: inspects the configuration, then dials each collector and sends an empty export.

mod client_hello;
mod offline;
mod report;

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, mpsc};
use std::time::{Duration, SystemTime};

use rustls::pki_types::CertificateDer;
use tokio::time::timeout;

use crate::config::{Address, Settings};
use crate::error::Error;
use crate::exporters::{Exporters, Probe};
use crate::failure::{Evidence, Failure, FailureKind, Peer, Session};
use crate::net::{Runtime, blocking};
use crate::origin::Origin;
use crate::tls::CertificateFacts;

pub use report::{Finding, Outcome, Report, SignalReport, Topic};

/// The timeout of the DNS lookup that is reported. It is separate from that of the dial.
const RESOLVING: Duration = Duration::from_secs(5);

impl Exporters {
    /// Checks every signal: its configuration, then the whole path to the collector, with a connection of its
    /// own and an empty export that is not retried.
    ///
    /// It can be awaited on any executor. Connecting and one export bound its duration: see
    /// [`with_connect_timeout`](crate::ExportersBuilder::with_connect_timeout) and
    /// [`with_timeout`](crate::ExportersBuilder::with_timeout).
    ///
    /// ```no_run
    /// # async fn start() -> Result<(), otlp_mtls::Error> {
    /// let exporters = otlp_mtls::Exporters::from_env()?;
    /// let report = exporters.check().await;
    /// if !report.is_delivered() {
    ///     eprintln!("{report}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn check(&self) -> Report {
        match self.runtime() {
            Ok(runtime) => self.check_on(runtime).await,
            Err(error) => self.unchecked(&error),
        }
    }

    /// The blocking form of [`check`](Self::check). It blocks the thread and does its I/O on a separate one,
    /// under any runtime of the caller.
    pub fn check_blocking(&self) -> Report {
        let runtime = match Runtime::start() {
            Ok(runtime) => runtime,
            Err(source) => return self.unchecked(&Error::StartThread { source }),
        };
        let (report, reports) = mpsc::sync_channel(1);
        let (exporters, checking) = (self.clone(), Arc::clone(&runtime));
        let check = runtime.run(async move {
            // Fails only if the receiving thread has panicked.
            let _ = report.send(exporters.check_on(checking).await);
        });
        let report = reports.recv();
        drop(check);
        report.unwrap_or_else(|source| {
            self.unchecked(&Error::StartThread { source: std::io::Error::other(source) })
        })
    }

    async fn check_on(&self, runtime: Arc<Runtime>) -> Report {
        // Concurrently: collectors that do not answer then cost one timeout together.
        let checks: Vec<_> = self
            .probes(&runtime)
            .into_iter()
            .map(|probe| (runtime.run(Live::go(probe.clone())), probe))
            .collect();
        let mut signals = Vec::new();
        for (live, probe) in checks {
            let live = live.await.unwrap_or_else(|lost| Live::lost(&probe, &lost));
            signals.push(live.report(&probe));
        }
        // Ends the backoff after a failed dial: what the check has found may be fixed by now, or need only
        // another attempt.
        self.end_windows();
        self.report(signals)
    }

    fn report(&self, signals: Vec<SignalReport>) -> Report {
        let switches = self.switches();
        let odd = self.warnings().iter().chain(self.sdk_warnings()).map(ToString::to_string);
        let console = switches.check_console(cfg!(feature = "console")).err();
        // A signal switched off in code was switched off on purpose.
        let elsewhere = switches.elsewhere().filter_map(|(signal, origin)| match origin {
            Origin::Variable(_) | Origin::File(_) => {
                Some(format!("{signal} are not exported by OTLP: see {origin}"))
            }
            Origin::Builder(_) | Origin::Default => None,
        });
        let warnings = odd.chain(console.map(|error| error.to_string())).chain(elsewhere);
        Report { at: SystemTime::now(), warnings: warnings.collect(), signals }
    }

    /// The report if the check itself cannot run.
    fn unchecked(&self, error: &Error) -> Report {
        let signals = self.settings().map(|settings| {
            let findings = vec![Finding::failed(Topic::Export, format!("{error:?}"))];
            SignalReport::new(settings, findings)
        });
        self.report(signals.collect())
    }
}

/// What dialling and exporting showed.
struct Live {
    /// `None` without a lookup.
    dns: Option<Result<String, String>>,
    seen: Arc<Evidence>,
    /// `Some` if the collector accepted the export with a remark.
    answer: Result<Option<Failure>, Failure>,
}

impl Live {
    async fn go(probe: Probe) -> Self {
        let (dns, mut answer) = tokio::join!(resolve(&probe.settings), probe.lane.probe());
        let seen = probe.transport.observed();
        if answer.is_err()
            && let Some(silent) = silent_plaintext(&probe.settings, &seen)
            && client_hello::is_answered(silent).await
        {
            answer = Err(Failure::new(FailureKind::NeedsTls, &probe.settings, None));
        }
        Self { dns, seen, answer }
    }

    /// The result if the runtime ended or the task panicked.
    fn lost(probe: &Probe, task: &tokio::task::JoinError) -> Self {
        let failure = Failure::new(FailureKind::lost(task), &probe.settings, None);
        Self { dns: None, seen: Arc::default(), answer: Err(failure) }
    }

    fn report(self, probe: &Probe) -> SignalReport {
        let credentials = probe.store.as_ref().map(|store| store.current());
        let facts = |der: &CertificateDer<'_>| {
            let provider = credentials.as_ref()?.config.crypto_provider();
            CertificateFacts::parse(der, provider).ok()
        };
        let (server_chain, anchor) = match &self.seen.handshake {
            Some(seen) => (
                seen.server_chain.iter().filter_map(facts).collect(),
                seen.anchor.as_ref().and_then(facts),
            ),
            None => (Vec::new(), None),
        };
        let mut findings =
            offline::findings(&probe.settings, probe.store.as_deref(), anchor.as_ref());
        let token = probe.token.as_ref();
        findings.extend(token.iter().flat_map(|token| offline::token(&probe.settings, token)));
        findings.extend(probe.proxy.iter().flat_map(|store| offline::proxy(store)));
        findings.extend(self.dns.as_ref().map(|dns| match dns {
            Ok(addresses) => Finding::good(Topic::Dns, addresses.clone()),
            // The dial's own lookup succeeded.
            Err(words) if self.seen.peer.is_some() => Finding::doubtful(Topic::Dns, words.clone()),
            Err(words) => Finding::failed(Topic::Dns, words.clone()),
        }));
        self.way(probe, &server_chain, &mut findings);
        findings.push(match &self.answer {
            Ok(None) => Finding::good(Topic::Export, "an empty export was answered".to_owned()),
            Ok(Some(remark)) => Finding::doubtful(Topic::Export, remark.cause().to_owned()),
            Err(failure) => Finding::failed(Topic::Export, failure.cause().to_owned()),
        });

        let validated = credentials.as_ref().and_then(|credentials| credentials.validated.as_ref());
        SignalReport {
            trust_anchors: validated.map_or(Vec::new(), |v| v.trust_anchors.clone()),
            client_chain: validated.map_or(Vec::new(), |v| v.chain.clone()),
            server_chain,
            delivered: self.answer.is_ok(),
            failure: self.answer.err(),
            ..SignalReport::new(&probe.settings, findings)
        }
    }

    /// The steps of the dial, as far as it got.
    fn way(&self, probe: &Probe, server_chain: &[CertificateFacts], to: &mut Vec<Finding>) {
        let kind = self.answer.as_ref().err().map(Failure::kind);
        let Some(peer) = self.seen.peer else {
            // These failures occur before dialling.
            if !matches!(
                kind,
                Some(
                    FailureKind::HeaderProvider { .. }
                        | FailureKind::Runtime
                        | FailureKind::Panicked
                )
            ) {
                let topic = match probe.settings.endpoint.address {
                    Address::Tcp { .. } => Topic::Tcp,
                    Address::Unix(_) => Topic::Socket,
                };
                to.push(Finding::failed(topic, "no connection".to_owned()));
            }
            return;
        };
        to.push(match peer {
            Peer::Tcp(peer) => Finding::good(Topic::Tcp, format!("connected to {peer}")),
            Peer::Unix => Finding::good(Topic::Socket, "connected".to_owned()),
        });
        if let Some(proxy) = &probe.settings.proxy {
            to.push(match kind {
                Some(
                    FailureKind::ProxyRefused { .. }
                    | FailureKind::ProxyTimeout { .. }
                    | FailureKind::ProxyTls { .. },
                ) => Finding::failed(Topic::Proxy, format!("no connection through {proxy}")),
                _ => Finding::good(Topic::Proxy, format!("connected through {proxy}")),
            });
            let store = probe.proxy.as_ref();
            let leaf = store.and_then(|store| Some((store, store.status().server?)));
            to.extend(leaf.map(|(store, leaf)| match store.is_expiring(&leaf) {
                true => Finding::doubtful(Topic::ProxyCertificate, leaf.to_string()),
                false => Finding::good(Topic::ProxyCertificate, leaf.to_string()),
            }));
        }
        if self.seen.handshake.is_none() {
            return;
        }
        to.push(match &self.seen.session {
            Some(session) => Finding::good(Topic::Tls, agreed(session)),
            None => Finding::failed(Topic::Tls, "the handshake failed".to_owned()),
        });
        if let Some(leaf) = server_chain.first() {
            let store = probe.store.as_ref();
            to.push(match kind {
                Some(FailureKind::ServerCertificate(_)) => {
                    Finding::failed(Topic::ServerCertificate, leaf.to_string())
                }
                _ if store.is_some_and(|store| store.is_expiring(leaf)) => {
                    Finding::doubtful(Topic::ServerCertificate, leaf.to_string())
                }
                _ => Finding::good(Topic::ServerCertificate, leaf.to_string()),
            });
        }
        to.extend(self.client_authentication(probe, kind));
    }

    /// Whether the server requested a client certificate and accepted it.
    fn client_authentication(&self, probe: &Probe, kind: Option<&FailureKind>) -> Option<Finding> {
        let handshake = self.seen.handshake.as_ref()?;
        let of = match handshake.acceptable_issuers.as_slice() {
            [] => String::new(),
            names => format!(", of {}", names.join(" or ")),
        };
        let resolver = probe.store.as_ref()?.current().config.client_auth_cert_resolver.clone();
        let topic = Topic::ClientAuthentication;
        Some(match (handshake.certificate_requested, resolver.has_certs(), kind) {
            (_, _, Some(FailureKind::ClientCertificate { .. })) => {
                Finding::failed(topic, format!("the server requires a certificate{of}"))
            }
            // Unknown until the server answers.
            (_, _, Some(_)) => return None,
            (true, true, None) => Finding::good(
                topic,
                format!("the server requested a certificate{of}, and accepted ours"),
            ),
            (true, false, None) => Finding::good(
                topic,
                format!("the server requested a certificate{of}, and continued without"),
            ),
            (false, true, None) => Finding::doubtful(
                topic,
                "the server did not request our certificate: it does not authenticate us"
                    .to_owned(),
            ),
            (false, false, None) => return None,
        })
    }
}

/// The address of a server that did not answer plaintext.
fn silent_plaintext(settings: &Settings, seen: &Evidence) -> Option<SocketAddr> {
    let is_plaintext = settings.tls.is_none() && settings.proxy.is_none();
    match seen.peer? {
        Peer::Tcp(peer) if is_plaintext && seen.greeting.is_empty() => Some(peer),
        Peer::Tcp(_) | Peer::Unix => None,
    }
}

/// The addresses of the collector or its proxy. `None` for a Unix domain socket.
async fn resolve(settings: &Settings) -> Option<Result<String, String>> {
    let (host, port) = match (&settings.proxy, &settings.endpoint.address) {
        (Some(proxy), _) => (proxy.host(), proxy.port()),
        (None, Address::Tcp { host, port }) => (host.as_str(), *port),
        (None, Address::Unix(_)) => return None,
    };
    Some(addresses(host.to_owned(), port).await)
}

async fn addresses(host: String, port: u16) -> Result<String, String> {
    let name = host.clone();
    let found = blocking(move || (name.as_str(), port).to_socket_addrs());
    let found = timeout(RESOLVING, found).await;
    let found = found.map_err(|_elapsed| format!("{host}: no answer within {RESOLVING:?}"))?;
    let addresses = found.and_then(|found| found).map_err(|error| format!("{host}: {error}"))?;
    let mut addresses: Vec<String> = addresses.map(|address| address.ip().to_string()).collect();
    addresses.dedup();
    Ok(format!("{host} is {}", addresses.join(", ")))
}

fn agreed(session: &Session) -> String {
    let Session { version, cipher_suite, key_exchange, alpn, .. } = session;
    let version = match version {
        Some(rustls::ProtocolVersion::TLSv1_3) => "TLS 1.3".to_owned(),
        Some(rustls::ProtocolVersion::TLSv1_2) => "TLS 1.2".to_owned(),
        version => format!("{version:?}"),
    };
    let suite = cipher_suite.map(|suite| format!(", {suite:?}")).unwrap_or_default();
    let group = key_exchange.map(|group| format!(", {group:?}")).unwrap_or_default();
    let alpn = match alpn {
        Some(alpn) => format!(", ALPN {}", String::from_utf8_lossy(alpn)),
        None => ", no ALPN".to_owned(),
    };
    format!("{version}{suite}{group}{alpn}")
}
