//! A TCP proxy that can drop all traffic silently, like a firewall that has lost a connection's state.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

/// Forwards bytes between clients and one server.
pub(crate) struct Proxy {
    addr: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    connections: Mutex<Vec<Link>>,
    /// Whether forwarding is paused.
    held: Mutex<bool>,
    /// Whether all connections but the first are closed immediately.
    only_first: AtomicBool,
    changed: Condvar,
    released: Condvar,
}

#[derive(Default)]
struct Link {
    swallows: bool,
    closed_by_client: bool,
}

impl Proxy {
    pub(crate) fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let state = Arc::<State>::default();
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            // Never joined: it ends with the test's process.
            for client in listener.incoming() {
                let (client, server) = (client.unwrap(), TcpStream::connect(server).unwrap());
                let link = {
                    let mut connections = shared.connections.lock().unwrap();
                    if shared.only_first.load(Ordering::Relaxed) && !connections.is_empty() {
                        continue;
                    }
                    connections.push(Link::default());
                    connections.len() - 1
                };
                for (from, to, is_client) in [(&client, &server, true), (&server, &client, false)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let shared = Arc::clone(&shared);
                    thread::spawn(move || shared.pass(link, from, to, is_client));
                }
            }
        });
        Self { addr, state }
    }

    pub(crate) fn endpoint(&self, scheme: &str) -> String {
        format!("{scheme}://localhost:{}", self.addr.port())
    }

    /// Pauses or resumes forwarding.
    pub(crate) fn hold(&self, hold: bool) {
        *self.state.held.lock().unwrap() = hold;
        self.state.released.notify_all();
    }

    /// Closes all connections but the first.
    pub(crate) fn close_all_but_the_first(&self) {
        self.state.only_first.store(true, Ordering::Relaxed);
    }

    /// The number of connections so far.
    pub(crate) fn connections(&self) -> usize {
        self.state.connections.lock().unwrap().len()
    }

    /// Silently drops all further bytes of the existing connections. New ones are not affected.
    pub(crate) fn swallow(&self) {
        for link in self.state.connections.lock().unwrap().iter_mut() {
            link.swallows = true;
        }
    }

    /// Waits until the client has closed its first `count` connections.
    pub(crate) fn first_are_closed(&self, count: usize, timeout: Duration) -> bool {
        let connections = self.state.connections.lock().unwrap();
        let are_open =
            |links: &mut Vec<Link>| !links[..count].iter().all(|link| link.closed_by_client);
        let (_connections, waited) =
            self.state.changed.wait_timeout_while(connections, timeout, are_open).unwrap();
        !waited.timed_out()
    }
}

impl State {
    fn pass(&self, link: usize, mut from: TcpStream, mut to: TcpStream, is_client: bool) {
        let mut buffer = [0; 16 * 1024];
        loop {
            let read = from.read(&mut buffer);
            let held = self.held.lock().unwrap();
            drop(self.released.wait_while(held, |held| *held).unwrap());
            let mut connections = self.connections.lock().unwrap();
            match read {
                Ok(0) | Err(_) => {
                    connections[link].closed_by_client |= is_client;
                    self.changed.notify_all();
                    // Fails if the connection was already reset, which does not matter here.
                    let _: io::Result<()> = to.shutdown(Shutdown::Write);
                    return;
                }
                Ok(_) if connections[link].swallows => {}
                Ok(length) => {
                    drop(connections);
                    if to.write_all(&buffer[..length]).is_err() {
                        return;
                    }
                }
            }
        }
    }
}
