//! A bearer token in a file, which is reloaded as certificates are.

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

/// The largest file that is read, in bytes. Servers have lower limits for headers.
const LARGEST: u64 = 64 << 10;

/// A file with a bearer token, and the token in use.
#[derive(Debug)]
pub(crate) struct TokenFile {
    settings: TokenSettings,
    /// Held during a check: the result of a concurrent one may already be outdated.
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

/// One version of the token.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    /// The value of `authorization`, which `Debug` does not show.
    pub(crate) header: HeaderValue,
    /// When the file was last read with this token in it.
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

    /// Whether a check is due. If it is, the caller must call `look`.
    pub(crate) fn is_due(&self) -> bool {
        let mut state = self.state();
        let is_due = state.looked.elapsed() >= self.settings.reload_interval;
        if is_due {
            state.looked = Instant::now();
        }
        is_due
    }

    /// Reads the file and uses its token. It may block.
    ///
    /// The error says why the file's content is not used.
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
        // A subscriber to events may ask for the status, check, or export, which would deadlock.
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

    /// The status of the token in use, except for the signals.
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

/// Reads a file whose path looks like a token. It is one if the file does not exist.
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
    // Visible ASCII is always a valid header value.
    let mut header = HeaderValue::from_bytes(&value)
        .map_err(|_never| CredentialProblem::InvalidToken { position: 1 })?;
    // Kept out of `Debug` and HPACK's dynamic table.
    header.set_sensitive(true);
    Ok(header)
}
