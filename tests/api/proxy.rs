//! A TCP proxy that can swallow what passes, as a firewall does that forgot a connection.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

/// Passes bytes between clients and one server.
pub(crate) struct Proxy {
    addr: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    connections: Mutex<Vec<Link>>,
    /// Whether nothing passes for the time being.
    held: Mutex<bool>,
    /// Whether all connections but the first are closed at once.
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
            // Ends with the test's process: nobody waits for it.
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

    /// Holds everything back until it is released.
    pub(crate) fn hold(&self, hold: bool) {
        *self.state.held.lock().unwrap() = hold;
        self.state.released.notify_all();
    }

    /// Closes all connections but the first.
    pub(crate) fn close_all_but_the_first(&self) {
        self.state.only_first.store(true, Ordering::Relaxed);
    }

    /// How many connections there were so far.
    pub(crate) fn connections(&self) -> usize {
        self.state.connections.lock().unwrap().len()
    }

    /// Lets nothing more pass on the connections that are there; new ones are unharmed.
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
                    // A reset of a connection that is closed already says nothing new.
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
