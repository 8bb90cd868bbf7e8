//! Cases with an HTTP/2 server: gRPC, or OTLP/HTTP.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;

use crate::export::export;
use crate::input::Input;
use crate::server::{Received, Script, Server, listener};
use crate::table::{Case, Observed};
use crate::tls::Tls;

#[derive(Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Step {
    code: i32,
    message: String,
    raw_status: Option<String>,
    http_status: Option<u16>,
    content_type: Option<String>,
    headers: BTreeMap<String, String>,
    trailers: BTreeMap<String, String>,
    retry_infos: Vec<Detail>,
    padded: bool,
    rejected: Option<i64>,
    reason: String,
    b64: Option<String>,
    message_bytes: Option<usize>,
    flag: u8,
    no_status: bool,
    no_message: bool,
    late_trailers: bool,
    reset: Option<u32>,
    then_reset: Option<u32>,
    then_cut: bool,
    early: bool,
    hold_ms: u64,
}

#[derive(Clone, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Detail {
    Other {
        other: String,
    },
    None {
        #[serde(rename = "none")]
        _none: bool,
    },
    RetryInfo {
        #[serde(default)]
        s: i64,
        #[serde(default)]
        n: i64,
        url: Option<String>,
    },
}

pub(crate) fn observe(case: &Case) -> Observed {
    let tls = (case.server()["tls"] == true).then(Tls::shared);
    let script = &case.server()["script"];
    let server = start(listener(Ipv4Addr::LOCALHOST), script, tls.map(Tls::h2_acceptor));
    let mut places = vec![("$PORT".to_owned(), server.port.to_string())];
    places.extend(tls.map(|tls| ("$CA".to_owned(), tls.ca().to_owned())));
    let input = Input::new(case.input(), &places)
        .with_default("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://127.0.0.1:{}", server.port))
        .with_default("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    let mut observed = export(&input);
    server.observe(&mut observed);
    server.received(|received| {
        let body = received.first().map(|first| first.body.split_first_chunk::<5>());
        if let Some(Some(([flag, length @ ..], message))) = body {
            observed.insert("flag".to_owned(), json!(flag));
            let right = u32::from_be_bytes(*length) as usize == message.len();
            observed.insert("frame_length_right".to_owned(), json!(right));
        }
    });
    observed
}

/// How a response ends after its headers.
struct End {
    stream: SendStream<Bytes>,
    /// `None` closes the connection.
    reset: Option<Reason>,
}

/// With an acceptor, the server has TLS.
pub(crate) fn start(
    listener: TcpListener,
    script: &Value,
    acceptor: Option<TlsAcceptor>,
) -> Server {
    Server::start(listener, script, move |stream, script| serve(stream, acceptor.clone(), script))
}

/// Serves a connection until it ends; an error ends it as well.
async fn serve(stream: TcpStream, acceptor: Option<TlsAcceptor>, script: Arc<Script<Step>>) {
    match acceptor {
        None => serve_h2(stream, script).await,
        Some(acceptor) => {
            if let Ok(stream) = acceptor.accept(stream).await {
                serve_h2(stream, script).await;
            }
        }
    }
}

async fn serve_h2(stream: impl AsyncRead + AsyncWrite + Unpin, script: Arc<Script<Step>>) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    let (end, mut ends) = mpsc::unbounded_channel();
    let mut answers = JoinSet::new();
    loop {
        tokio::select! {
            request = connection.accept() => {
                let Some(Ok((request, respond))) = request else { return };
                let (script, end) = (Arc::clone(&script), end.clone());
                answers.spawn(async move { drop(answer(request, respond, &script, end).await) });
            }
            Some(End { mut stream, reset }) = ends.recv() => {
                // A reset and the end of the connection discard what is not yet written: write the headers first.
                poll_fn(|context| Poll::Ready(connection.poll_closed(context).is_ready())).await;
                match reset {
                    Some(reason) => stream.send_reset(reason),
                    None => return,
                }
            }
        }
    }
}

async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    script: &Script<Step>,
    end: UnboundedSender<End>,
) -> Result<(), h2::Error> {
    let at = Instant::now();
    let step = script.step().cloned().unwrap_or_default();
    let (head, mut body) = request.into_parts();
    let mut received = Received {
        at,
        line: format!("{} {} HTTP/2", head.method, head.uri.path()),
        authority: head.uri.authority().map(ToString::to_string),
        headers: head.headers,
        body: Vec::new(),
    };
    let content_type = received.headers.get(CONTENT_TYPE);
    let is_grpc = content_type.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    if !step.early {
        while let Some(data) = body.data().await.transpose()? {
            body.flow_control().release_capacity(data.len())?;
            received.body.extend(data);
        }
    }
    script.record(received);
    sleep(Duration::from_millis(step.hold_ms)).await;

    let mut response = step.response(is_grpc);
    if let Some(code) = step.reset {
        respond.send_reset(code.into());
    } else if step.early {
        // h2 sends RST_STREAM(NO_ERROR) when the unread body is dropped.
        respond.send_response(response, true)?;
    } else if step.then_cut || step.then_reset.is_some() {
        let stream = respond.send_response(response, false)?;
        let reset = step.then_reset.map(Reason::from);
        // Fails if the connection has ended.
        let _ = end.send(End { stream, reset });
    } else if !is_grpc {
        respond.send_response(response, true)?;
    } else if step.no_status {
        respond.send_response(response, false)?.send_data(step.framed_message(), true)?;
    } else if step.has_message() || step.late_trailers {
        let mut stream = respond.send_response(response, false)?;
        if step.has_message() {
            stream.send_data(step.framed_message(), false)?;
        }
        stream.send_trailers(step.status())?;
    } else {
        response.headers_mut().extend(step.status());
        respond.send_response(response, true)?;
    }
    Ok(())
}

impl Step {
    fn response(&self, is_grpc: bool) -> Response<()> {
        let mut response = Response::new(());
        *response.status_mut() = self.http_status.unwrap_or(200).try_into().unwrap();
        let default = if is_grpc { "application/grpc" } else { "application/x-protobuf" };
        let content_type = self.content_type.as_deref().unwrap_or(default);
        if !content_type.is_empty() {
            response.headers_mut().insert(CONTENT_TYPE, content_type.parse().unwrap());
        }
        response.headers_mut().extend(headers(&self.headers));
        response
    }

    fn has_message(&self) -> bool {
        self.code == 0 && !self.no_message
    }

    fn framed_message(&self) -> Bytes {
        let message = match (&self.b64, self.message_bytes, self.rejected) {
            (Some(b64), None, None) => STANDARD.decode(b64).unwrap(),
            (None, Some(bytes), None) => vec![0; bytes],
            (None, None, Some(rejected)) => bytes_field(
                1,
                &[number_field(1, rejected), bytes_field(2, self.reason.as_bytes())].concat(),
            ),
            (None, None, None) => Vec::new(),
            _ => panic!("more than one message"),
        };
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        [&[self.flag], &length[..], &message].concat().into()
    }

    /// The trailers, or the headers of a response that consists of headers alone.
    fn status(&self) -> HeaderMap {
        let mut status = headers(&self.trailers);
        let code = self.raw_status.clone().unwrap_or_else(|| self.code.to_string());
        status.insert("grpc-status", code.parse().unwrap());
        if !self.message.is_empty() {
            status.insert("grpc-message", self.message.parse().unwrap());
        }
        if !self.retry_infos.is_empty() {
            let details = self.retry_infos.iter().map(|detail| bytes_field(3, &detail.encode()));
            let rpc_status =
                [number_field(1, self.code.into()), details.collect::<Vec<_>>().concat()].concat();
            let encoding = if self.padded { STANDARD } else { STANDARD_NO_PAD };
            let rpc_status = encoding.encode(rpc_status).parse().unwrap();
            status.insert("grpc-status-details-bin", rpc_status);
        }
        status
    }
}

impl Detail {
    /// As a `google.protobuf.Any`.
    fn encode(&self) -> Vec<u8> {
        let retry_info = "type.googleapis.com/google.rpc.RetryInfo";
        let (url, value) = match self {
            Self::Other { other } => (other.as_str(), Vec::new()),
            Self::None { .. } => (retry_info, Vec::new()),
            Self::RetryInfo { s, n, url } => {
                let delay = [number_field(1, *s), number_field(2, *n)].concat();
                (url.as_deref().unwrap_or(retry_info), bytes_field(1, &delay))
            }
        };
        [bytes_field(1, url.as_bytes()), bytes_field(2, &value)].concat()
    }
}

fn headers(headers: &BTreeMap<String, String>) -> HeaderMap {
    let header = |(name, value): (&String, &String)| {
        (HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value).unwrap())
    };
    headers.iter().map(header).collect()
}

// Protobuf

fn bytes_field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [vec![number << 3 | 2], varint(bytes.len() as u64), bytes.to_vec()].concat()
}

fn number_field(number: u8, value: i64) -> Vec<u8> {
    [vec![number << 3], varint(value as u64)].concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}
