//! Bearer tokens from an identity provider, by OAuth 2.0 client credentials (RFC 6749, section 4.4).
//!
//! `cargo run --example oauth2` starts an identity provider and a collector that accepts its tokens, and
//! exports with them. Then the provider revokes a token before it expires, and the export continues with a new
//! one.

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use opentelemetry::trace::{Span, Tracer, TracerProvider};
use opentelemetry_sdk::trace::SdkTracerProvider;
use otlp_mtls::Exporters;
use otlp_mtls::testing::{Collector, Reply};
use tokio::runtime::Handle;
use tokio::time::timeout;

type BoxError = Box<dyn Error + Send + Sync>;

/// A token is replaced this long before it expires.
const MARGIN: Duration = Duration::from_secs(30);

/// Requests tokens and caches the latest one.
struct OAuth2 {
    /// In production an `https://` URL, requested by the service's own HTTP client.
    token_url: String,
    /// The client's id and secret, for HTTP Basic authentication.
    client: HeaderValue,
    kept: Mutex<Option<Token>>,
}

struct Token {
    headers: HeaderMap,
    until: Instant,
}

impl OAuth2 {
    /// The headers of an export attempt. Called on a thread that may block; asynchronous code runs on the
    /// exporters' runtime.
    fn headers(&self) -> Result<HeaderMap, BoxError> {
        let mut kept = self.kept();
        if let Some(token) = kept.as_ref().filter(|token| Instant::now() < token.until) {
            return Ok(token.headers.clone());
        }
        let token = Handle::current().block_on(timeout(Duration::from_secs(5), self.ask()))??;
        Ok(kept.insert(token).headers.clone())
    }

    async fn ask(&self) -> Result<Token, BoxError> {
        let request = Request::post(&self.token_url)
            .header(AUTHORIZATION, &self.client)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::new(Bytes::from("grant_type=client_credentials&scope=telemetry")))?;
        let client = Client::builder(TokioExecutor::new()).build_http();
        let response = client.request(request).await?;
        if !response.status().is_success() {
            return Err(format!("the identity provider answered with {}", response.status()).into());
        }
        let body = response.into_body().collect().await?.to_bytes();
        let answer: serde_json::Value = serde_json::from_slice(&body)?;
        let token = answer["access_token"].as_str().ok_or("no access_token in the answer")?;
        let life = Duration::from_secs(answer["expires_in"].as_u64().unwrap_or(60));
        let header = HeaderValue::try_from(format!("Bearer {token}"))?;
        Ok(Token {
            headers: HeaderMap::from_iter([(AUTHORIZATION, header)]),
            until: Instant::now() + life.saturating_sub(MARGIN),
        })
    }

    /// Forgets a token that the collector rejected, unless a newer one is cached.
    fn forget(&self, refused: &HeaderMap) {
        self.kept().take_if(|token| token.headers == *refused);
    }

    fn kept(&self) -> MutexGuard<'_, Option<Token>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let issued = Arc::new(AtomicUsize::new(0));
    let valid_from = Arc::new(AtomicUsize::new(1));
    let tokens = Arc::new(OAuth2 {
        token_url: format!("http://{}/token", identity_provider(Arc::clone(&issued))?),
        client: HeaderValue::from_static("Basic Y2hlY2tvdXQ6c2VjcmV0"),
        kept: Mutex::default(),
    });

    let collector = Collector::builder().start()?;
    let oldest = Arc::clone(&valid_from);
    collector.set_reply(move |request| {
        let sent = request.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let number = sent.and_then(|sent| sent.strip_prefix("Bearer token-")?.parse().ok());
        match number.is_some_and(|number: usize| number >= oldest.load(Ordering::Relaxed)) {
            true => Reply::Accept,
            false => Reply::Http { status: 401, headers: Vec::new() },
        }
    });

    let keeper = Arc::clone(&tokens);
    let exporters = Exporters::builder()
        .with_endpoint(collector.endpoint())
        .with_header_provider(move |_signal| tokens.headers())
        .with_refused_headers_handler(move |_signal, refused| keeper.forget(refused))
        .build()?;
    let provider =
        SdkTracerProvider::builder().with_batch_exporter(exporters.span_exporter()?).build();
    let tracer = provider.tracer("oauth2");
    for work in ["by the first token", "by the first token again", "by the second token"] {
        if work.contains("second") {
            // Revokes the first token.
            valid_from.store(2, Ordering::Relaxed);
        }
        tracer.start(work).end();
        provider.force_flush()?;
    }
    println!(
        "{} spans, {} tokens, {} requests, one of them rejected",
        collector.spans().len(),
        issued.load(Ordering::Relaxed),
        collector.received().len()
    );
    Ok(())
}

/// An identity provider that issues `token-1`, `token-2` and so on, each valid for an hour.
fn identity_provider(issued: Arc<AtomicUsize>) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let addr = listener.local_addr()?;
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = Vec::new();
            let mut buffer = [0; 1024];
            while !request.ends_with(b"scope=telemetry") {
                match stream.read(&mut buffer) {
                    Ok(0) | Err(_) => break,
                    Ok(read) => request.extend_from_slice(&buffer[..read]),
                }
            }
            let number = issued.fetch_add(1, Ordering::Relaxed) + 1;
            let body = format!(
                r#"{{"access_token":"token-{number}","token_type":"Bearer","expires_in":3600}}"#
            );
            let length = body.len();
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
            // The client may have disconnected.
            let _ = write!(stream, "{head}\r\ncontent-length: {length}\r\n\r\n{body}");
        }
    });
    Ok(addr)
}
