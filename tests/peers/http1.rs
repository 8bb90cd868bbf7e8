//! Cases with an HTTP/1.1 server.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::export::export;
use crate::input::Input;
use crate::server::{Received, Script, Server, listener};
use crate::table::{Case, Observed};

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Step {
    status: u16,
    headers: BTreeMap<String, String>,
    retry_after_date_s: Option<i64>,
    text: Option<String>,
    b64: Option<String>,
    zeros: Option<usize>,
    gzip: bool,
    length: Option<usize>,
    chunked: bool,
    cut: bool,
    until_close: bool,
    early: bool,
    drop: bool,
    hold_ms: u64,
}

pub(crate) fn observe(case: &Case) -> Observed {
    let address: IpAddr = match case.server()["ipv6"] == true {
        true => Ipv6Addr::LOCALHOST.into(),
        false => Ipv4Addr::LOCALHOST.into(),
    };
    let server = start(listener(address), &case.server()["script"]);
    let input = Input::new(case.input(), &vec![("$PORT".to_owned(), server.port.to_string())]);
    let mut observed = export(&input);
    // Requests that must not follow would arrive meanwhile.
    std::thread::sleep(Duration::from_millis(input.linger_ms));
    server.observe(&mut observed);
    observed
}

pub(crate) fn start(listener: TcpListener, script: &Value) -> Server {
    Server::start(listener, script, serve)
}

/// Serves a connection until it ends; an error ends it as well.
async fn serve(stream: TcpStream, script: Arc<Script<Step>>) {
    let mut stream = BufStream::new(stream);
    while let Ok(true) = answer(&mut stream, &script).await {}
}

/// Answers one request, and returns whether the connection stays open.
async fn answer(stream: &mut BufStream<TcpStream>, script: &Script<Step>) -> io::Result<bool> {
    let Some((line, headers)) = head(stream).await? else { return Ok(false) };
    let mut request =
        Received { at: Instant::now(), line, authority: None, headers, body: Vec::new() };
    let step = script.step();
    if !step.is_some_and(|step| step.early) {
        let length = request.headers.get("content-length").expect("a request has its length");
        request.body = vec![0; length.to_str().unwrap().parse().unwrap()];
        stream.read_exact(&mut request.body).await?;
    }
    script.record(request);
    let Some(step) = step else {
        let success = "HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\n\
                       Content-Length: 0\r\n\r\n";
        stream.write_all(success.as_bytes()).await?;
        stream.flush().await?;
        return Ok(true);
    };
    sleep(Duration::from_millis(step.hold_ms)).await;
    if step.drop {
        return Ok(false);
    }
    stream.write_all(&step.response()).await?;
    stream.flush().await?;
    if step.early {
        // Closing a socket with unread bytes resets the connection, and the client may lose the response: a
        // server closes its side and reads on (RFC 9112, 9.6).
        stream.get_mut().shutdown().await?;
        tokio::io::copy(stream, &mut tokio::io::sink()).await?;
    }
    Ok(!step.cut && !step.until_close)
}

/// The request line and the headers; `None` if the client has closed the connection.
async fn head(stream: &mut BufStream<TcpStream>) -> io::Result<Option<(String, HeaderMap)>> {
    let (mut first, mut headers) = (None, HeaderMap::new());
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        match (line.trim_end_matches("\r\n"), &first) {
            ("", _) => return Ok(first.map(|first| (first, headers))),
            (line, None) => first = Some(line.to_owned()),
            (line, Some(_)) => {
                let (name, value) = line.split_once(':').expect("a header has a colon");
                headers.append(
                    HeaderName::try_from(name).unwrap(),
                    HeaderValue::try_from(value.trim()).unwrap(),
                );
            }
        }
    }
}

impl Step {
    fn response(&self) -> Vec<u8> {
        let body = self.body();
        let mut response = format!("HTTP/1.1 {} \r\n", self.status);
        for (name, value) in &self.headers {
            response.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(seconds) = self.retry_after_date_s {
            let distance = Duration::from_secs(seconds.unsigned_abs());
            let date = match seconds < 0 {
                true => SystemTime::now() - distance,
                false => SystemTime::now() + distance,
            };
            response.push_str(&format!("Retry-After: {}\r\n", httpdate::fmt_http_date(date)));
        }
        match (self.chunked, self.until_close) {
            (true, _) => response.push_str("Transfer-Encoding: chunked\r\n"),
            (false, true) => {}
            (false, false) => {
                let length = self.length.unwrap_or(body.len());
                response.push_str(&format!("Content-Length: {length}\r\n"));
            }
        }
        response.push_str("\r\n");
        let mut response = response.into_bytes();
        if self.chunked {
            response.extend(format!("{:x}\r\n", body.len()).into_bytes());
            response.extend(body);
            response.extend(b"\r\n");
            if !self.cut {
                response.extend(b"0\r\n\r\n");
            }
        } else {
            response.extend(body);
        }
        response
    }

    fn body(&self) -> Vec<u8> {
        let body = match (&self.text, &self.b64, self.zeros) {
            (Some(text), None, None) => text.clone().into_bytes(),
            (None, Some(b64), None) => STANDARD.decode(b64).unwrap(),
            (None, None, zeros) => vec![0; zeros.unwrap_or(0)],
            _ => panic!("more than one body"),
        };
        if !self.gzip {
            return body;
        }
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(&body).unwrap();
        encoder.finish().unwrap()
    }
}
