//! A server that responds with a script and records the requests. `http1.rs` and `http2.rs` implement the protocols.

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::{Duration, Instant};

use http::HeaderMap;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{self, Runtime};
use tokio::task::{AbortHandle, JoinSet};

use crate::table::Observed;

/// A generous limit.
const SOON: Duration = Duration::from_secs(30);

/// The runtime of all servers.
pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
    })
}

/// A listener on a free loopback port.
pub(crate) fn listener(address: impl Into<IpAddr>) -> std::net::TcpListener {
    std::net::TcpListener::bind((address.into(), 0)).unwrap()
}

pub(crate) struct Received {
    pub(crate) at: Instant,
    pub(crate) line: String,
    pub(crate) authority: Option<String>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// What a server has observed.
#[derive(Default)]
struct Record {
    connections: AtomicUsize,
    received: Mutex<Vec<Received>>,
    arrived: Condvar,
}

/// The script of a server, shared by its connections.
pub(crate) struct Script<Step> {
    steps: Vec<Step>,
    /// Whether the last step is used for all later requests.
    repeat: bool,
    next: AtomicUsize,
    record: Arc<Record>,
}

impl<Step> Script<Step> {
    /// The step for the next request; `None` means success.
    pub(crate) fn step(&self) -> Option<&Step> {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        self.steps.get(next).or_else(|| self.steps.last().filter(|_| self.repeat))
    }

    pub(crate) fn record(&self, request: Received) {
        self.record.received.lock().unwrap().push(request);
        self.record.arrived.notify_all();
    }
}

/// Dropping it stops it and closes its connections.
pub(crate) struct Server {
    pub(crate) port: u16,
    record: Arc<Record>,
    accepting: AbortHandle,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Server {
    /// Responds with the steps of a JSON array; `serve` serves one connection.
    pub(crate) fn start<Step, Served>(
        listener: std::net::TcpListener,
        script: &Value,
        serve: impl Fn(TcpStream, Arc<Script<Step>>) -> Served + Send + 'static,
    ) -> Self
    where
        Step: DeserializeOwned + Send + Sync + 'static,
        Served: Future<Output = ()> + Send + 'static,
    {
        let mut steps = script.as_array().cloned().unwrap_or_default();
        // Only the last step may have `repeat`: in any other it is an unknown field.
        let repeat = steps
            .last_mut()
            .and_then(|last| last.as_object_mut()?.remove("repeat"))
            .is_some_and(|repeat| repeat == true);
        let steps = steps.into_iter().map(|step| serde_json::from_value(step).unwrap()).collect();
        let record = Arc::<Record>::default();
        let script =
            Arc::new(Script { steps, repeat, next: 0.into(), record: Arc::clone(&record) });

        let port = listener.local_addr().unwrap().port();
        listener.set_nonblocking(true).unwrap();
        let _entered = runtime().enter();
        let listener = TcpListener::from_std(listener).unwrap();
        let accepting = runtime().spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                script.record.connections.fetch_add(1, Ordering::Relaxed);
                connections.spawn(serve(stream, Arc::clone(&script)));
            }
        });
        Self { port, record, accepting: accepting.abort_handle() }
    }

    pub(crate) fn connections(&self) -> usize {
        self.record.connections.load(Ordering::Relaxed)
    }

    /// Reads the requests received so far.
    pub(crate) fn received<T>(&self, read: impl FnOnce(&[Received]) -> T) -> T {
        read(&self.record.received.lock().unwrap())
    }

    pub(crate) fn requests(&self) -> usize {
        self.received(|received| received.len())
    }

    pub(crate) fn wait_for_a_request(&self) {
        let received = self.record.received.lock().unwrap();
        let (received, _) = self
            .record
            .arrived
            .wait_timeout_while(received, SOON, |received| received.is_empty())
            .unwrap();
        assert!(!received.is_empty(), "no request came");
    }

    /// Adds the observations about the requests.
    pub(crate) fn observe(&self, observed: &mut Observed) {
        self.received(|received| {
            observed.insert("attempts".to_owned(), json!(received.len()));
            let Some((first, rest)) = received.split_first() else { return };
            observed.insert("line".to_owned(), json!(first.line));
            observed.insert("authority".to_owned(), json!(first.authority));
            for (name, value) in &first.headers {
                let value = String::from_utf8_lossy(value.as_bytes());
                observed.insert(format!("h:{name}"), json!(value));
            }
            let encoding = observed.get("h:content-encoding").cloned().unwrap_or_default();
            observed.insert("encoding".to_owned(), encoding);
            let same = rest.iter().all(|other| other.body == first.body);
            observed.insert("same_bodies".to_owned(), json!(same));
            if let [second, ..] = rest {
                let gap = (second.at - first.at).as_millis() as u64;
                observed.insert("gap_ms".to_owned(), json!(gap));
            }
        });
    }
}
