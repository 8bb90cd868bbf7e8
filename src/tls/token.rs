//! A bearer token in a file, which is read again and again, as certificates are.

use std::path::Path;
use std::sync::{Mutex, MutexGuard};
use std::time::{Instant, SystemTime};

use http::HeaderValue;
use tracing::Level;
use zeroize::Zeroizing;

use super::pem::unreadable;
use super::status::{Rejections, TokenStatus};
use crate::config::{TokenSettings, read_file};
use crate::error::{CredentialLocation, CredentialProblem, Error};
use crate::lock::lock;
use crate::secrets;
use crate::stderr;

/// The largest file that is read, in bytes. Servers limit headers to less.
const LARGEST: u64 = 64 << 10;

/// A file with a bearer token, and the token in use.
#[derive(Debug)]
pub(crate) struct TokenFile {
    settings: TokenSettings,
    /// Held during a look: what another one has read meanwhile may be old.
    turn: Mutex<()>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    current: Token,
    generation: u64,
    loaded: SystemTime,
    looked: Instant,
    rejections: Rejections,
}

/// The token of one moment.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    /// The value of `authorization`, which `Debug` does not show.
    pub(crate) header: HeaderValue,
    /// When the file was last read, and had it.
    pub(crate) read: SystemTime,
}

impl TokenFile {
    pub(crate) fn load(settings: TokenSettings) -> Result<Self, Error> {
        let current = read(&settings)?;
        let state = State {
            generation: 0,
            loaded: current.read,
            looked: Instant::now(),
            rejections: Rejections::default(),
            current,
        };
        Ok(Self { settings, turn: Mutex::default(), state: Mutex::new(state) })
    }

    pub(crate) fn settings(&self) -> &TokenSettings {
        &self.settings
    }

    /// The token to send now.
    pub(crate) fn current(&self) -> Token {
        self.state().current.clone()
    }

    /// Whether it is time to look again; the look is the caller's to make.
    pub(crate) fn is_due(&self) -> bool {
        let mut state = self.state();
        let is_due = state.looked.elapsed() >= self.settings.reload_interval;
        if is_due {
            state.looked = Instant::now();
        }
        is_due
    }

    /// Reads the file, and takes its token. It may block.
    ///
    /// The error says why what is there is not taken.
    pub(crate) fn look(&self) -> Result<(), Error> {
        let turn = lock(&self.turn);
        let read = read(&self.settings);
        let mut state = self.state();
        let problem = state.rejections.settle(read.as_ref().err());
        let mut is_new = false;
        if let Ok(token) = &read {
            is_new = token.header != state.current.header;
            state.current = token.clone();
            state.generation += u64::from(is_new);
            if is_new {
                state.loaded = token.read;
            }
        }
        let generation = state.generation;
        drop(state);
        // Whoever subscribes to events may ask for the status, look, or export.
        drop(turn);
        if let Some(reason) = problem {
            let words = format!("the bearer token read last stays in use: {reason}");
            tracing::warn!(name: "otlp_mtls.token.refused", generation, "{words}");
            stderr::write_unless_heard(Level::WARN, words);
        }
        if is_new {
            tracing::info!(name: "otlp_mtls.token.rotated", generation, "a new bearer token is in use");
        }
        read.map(drop)
    }

    /// What there is to know of the token in use, but for the signals.
    pub(crate) fn status(&self) -> TokenStatus {
        let state = self.state();
        TokenStatus {
            signals: Vec::new(),
            file: self.settings.file.value.clone(),
            generation: state.generation,
            loaded: state.loaded,
            read: state.current.read,
            refusal: state.rejections.last.clone(),
            refusals: state.rejections.count,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn read(settings: &TokenSettings) -> Result<Token, Error> {
    let path: &Path = &settings.file;
    let (place, header) = match secrets::is_no_path(path) || secrets::may_be_token(path) {
        true => (CredentialLocation::Value, read_named_by_a_token(path)),
        false => (CredentialLocation::File(path.to_owned()), header(path)),
    };
    match header {
        Ok(header) => Ok(Token { header, read: SystemTime::now() }),
        Err(problem) => {
            Err(Error::Credential { origin: settings.file.origin.clone(), place, problem })
        }
    }
}

/// A value that may be a token may be a path nevertheless, if it leads to a file.
fn read_named_by_a_token(path: &Path) -> Result<HeaderValue, CredentialProblem> {
    match path.is_file() {
        true => header(path),
        false => Err(CredentialProblem::NotATokenPath),
    }
}

fn header(path: &Path) -> Result<HeaderValue, CredentialProblem> {
    let content =
        read_file(path, LARGEST).map_err(|source| unreadable(Some(path), LARGEST, source))?;
    let token = content.trim_ascii();
    if token.is_empty() {
        return Err(CredentialProblem::Empty);
    }
    if let Some(index) = token.iter().position(|byte| !byte.is_ascii_graphic()) {
        return Err(CredentialProblem::InvalidToken { position: index + 1 });
    }
    let value = Zeroizing::new([b"Bearer ", token].concat());
    // Visible ASCII is always a value.
    let mut header = HeaderValue::from_bytes(&value)
        .map_err(|_never| CredentialProblem::InvalidToken { position: 1 })?;
    // Kept out of `Debug`, and of HPACK's table.
    header.set_sensitive(true);
    Ok(header)
}
