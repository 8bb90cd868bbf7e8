//! What machines read: the same as people, in fields.

use std::time::SystemTime;

use serde::ser::{Serialize, SerializeStruct, Serializer};

use crate::config::Protocol;
use crate::failure::Failure;

/// An instant by RFC 3339.
pub(crate) fn utc<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&crate::tls::utc(*time))
}

pub(crate) fn maybe_utc<S: Serializer>(
    time: &Option<SystemTime>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    time.map(crate::tls::utc).serialize(serializer)
}

impl Serialize for Failure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut failure = serializer.serialize_struct("Failure", 7)?;
        failure.serialize_field("signal", &self.signal())?;
        failure.serialize_field("endpoint", self.endpoint())?;
        failure.serialize_field("kind", self.kind().name())?;
        failure.serialize_field("refused_by", &self.kind().refused_by())?;
        failure.serialize_field("summary", &self.summary())?;
        failure.serialize_field("facts", self.facts())?;
        failure.serialize_field("remedy", self.remedy())?;
        failure.end()
    }
}

/// As its variable has it.
impl Serialize for Protocol {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
