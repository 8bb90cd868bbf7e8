//! Why a request has no answer, and what that means for its connection.

use std::io::{self, ErrorKind};
use std::time::Duration;

use http::StatusCode;

use super::{Connection, Sender};
use crate::failure::FailureKind;
use crate::net::link::Ending;
use crate::net::message::Response;

/// Why a request has no answer, and what that means for the connection.
#[derive(Debug)]
pub(in crate::net) struct Lost {
    pub(in crate::net) kind: FailureKind,
    pub(in crate::net) how: How,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::net) enum How {
    /// The connection ended, and the server has not acted on the request.
    Unsent(Ending),
    /// The connection broke, and the server may have acted on the request.
    Broken,
    /// The server refused the request unprocessed; the connection continues.
    Refused,
    /// The server reset the stream, and may have acted on the request; the connection continues.
    Reset,
    /// The server requires HTTP/1.1.
    WantsHttp1,
    /// The network path is dead.
    Silent,
}

impl Connection {
    /// What an error of h2 means for a request that was begun ([RFC 9113, section
    /// 8.7](https://www.rfc-editor.org/rfc/rfc9113#section-8.7)).
    pub(super) fn lost(&self, error: &h2::Error) -> Lost {
        if let Some(after) = self.silent.get() {
            return silent(*after);
        }
        let by_stream = error.reason().filter(|_| error.is_remote());
        // h2 does not report a GOAWAY to the requests that the server may have acted on: their
        // streams just end.
        let Some(reason) = by_stream.or_else(|| self.goaway()) else {
            return Lost { kind: self.failure(error), how: How::Broken };
        };
        let is_connection = by_stream.is_none() || error.is_go_away();
        let how = match reason {
            h2::Reason::HTTP_1_1_REQUIRED => How::WantsHttp1,
            h2::Reason::REFUSED_STREAM | h2::Reason::ENHANCE_YOUR_CALM => How::Refused,
            // nginx ends a connection this way after `keepalive_requests`.
            h2::Reason::NO_ERROR if error.is_go_away() => How::Unsent(Ending::Announced),
            _ if error.is_go_away() => How::Unsent(Ending::Broken),
            _ if by_stream.is_some() => How::Reset,
            _ => How::Broken,
        };
        let kind = match reason {
            h2::Reason::NO_ERROR if how != How::Reset => self.failure(error),
            reason => FailureKind::Http2 {
                error: format!("{reason:?}"),
                code: reason.into(),
                is_connection,
            },
        };
        Lost { kind, how }
    }

    /// The error of the GOAWAY with which the server ended the connection.
    fn goaway(&self) -> Option<h2::Reason> {
        let Sender::Http2(http2) = &self.sender else {
            return None;
        };
        http2.end().filter(|end| end.is_remote() && end.is_go_away())?.reason()
    }

    /// Why it has ended, for a request that finds it closed.
    pub(in crate::net) fn end(&self) -> Lost {
        match &self.sender {
            Sender::Http2(http2) => match http2.end() {
                Some(error) => self.unsent(&error),
                None => self.closed(),
            },
            Sender::Http1(_) => self.closed(),
        }
    }

    fn closed(&self) -> Lost {
        let end = io::Error::from(ErrorKind::UnexpectedEof);
        unsent(self.failure(&end))
    }

    /// The loss of a request before which the connection had ended.
    pub(super) fn unsent(&self, error: &h2::Error) -> Lost {
        match self.lost(error) {
            Lost { kind, how: How::Broken } => unsent(kind),
            lost => lost,
        }
    }

    /// Why HTTP failed: because of the stream, if that failed.
    pub(super) fn failure(&self, error: &(dyn std::error::Error + 'static)) -> FailureKind {
        let closed =
            || self.evidence.classify(error, self.tap.received() == 0, self.is_multiplexed());
        self.last_word().unwrap_or_else(closed)
    }

    /// The failure of the stream, or what its first bytes show about why HTTP failed.
    pub(super) fn last_word(&self) -> Option<FailureKind> {
        // A server that has answered speaks our protocol.
        let misunderstood = match self.has_answered() {
            true => None,
            false => self.evidence.misunderstood(self.is_multiplexed()),
        };
        let was_silent = self.tap.received() == 0;
        misunderstood.or_else(|| {
            self.tap.failure(|error| match error.kind() {
                ErrorKind::TimedOut => FailureKind::Silent { after: self.user_timeout },
                _ => self.evidence.classify(error, was_silent, self.is_multiplexed()),
            })
        })
    }

    /// The TLS failure that a server reports by an HTTP status of 400 with a page.
    pub(in crate::net) fn refused_by_page(&self, response: &Response) -> Option<FailureKind> {
        let is_page = response.status == StatusCode::BAD_REQUEST;
        is_page.then(|| self.evidence.page(&response.body)).flatten()
    }
}

/// If the failure is permanent, another connection would end the same way.
pub(super) fn unsent(kind: FailureKind) -> Lost {
    let how = if kind.is_permanent() { How::Broken } else { How::Unsent(Ending::Broken) };
    Lost { kind, how }
}

pub(super) fn silent(after: Duration) -> Lost {
    Lost { kind: FailureKind::Silent { after }, how: How::Silent }
}
