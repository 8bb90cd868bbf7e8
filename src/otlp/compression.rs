//! Compression and decompression of bodies.

#[cfg(feature = "gzip")]
use std::io::Write;
#[cfg(any(feature = "gzip", feature = "zstd"))]
use std::io::{self, Read};

use crate::config::Compression;

/// Why a body was not decompressed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// The encoding with this name is not supported.
    Unknown(String),
    #[cfg_attr(not(any(feature = "gzip", feature = "zstd")), allow(dead_code))]
    Malformed,
    /// Longer than the limit.
    TooLong,
}

/// Compresses the part after a prefix of `prefix` bytes, and reserves the same space in the output. `None` if
/// compression fails: the body can be sent uncompressed.
pub(super) fn compress(compression: Compression, body: &[u8], prefix: usize) -> Option<Vec<u8>> {
    let (_prefix, plain) = body.split_at_checked(prefix)?;
    let room = vec![0; prefix];
    match compression {
        #[cfg(feature = "gzip")]
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(room, flate2::Compression::default());
            encoder.write_all(plain).ok()?;
            encoder.finish().ok()
        }
        #[cfg(feature = "zstd")]
        Compression::Zstd => {
            let mut compressed = room;
            zstd::stream::copy_encode(plain, &mut compressed, zstd::DEFAULT_COMPRESSION_LEVEL)
                .ok()?;
            Some(compressed)
        }
        // Settings never resolve to a compression that is not compiled in.
        #[allow(unreachable_patterns)]
        _ => {
            let _ = (plain, room);
            None
        }
    }
}

/// Decompresses at most `limit` bytes of a [content
/// coding](https://www.rfc-editor.org/rfc/rfc9110#section-8.4.1) or a gRPC message encoding.
pub(super) fn decompress(encoding: &str, body: &[u8], limit: usize) -> Result<Vec<u8>, Problem> {
    match named(encoding) {
        #[cfg(feature = "gzip")]
        Some(Compression::Gzip) => read(flate2::read::MultiGzDecoder::new(body), limit),
        #[cfg(feature = "zstd")]
        Some(Compression::Zstd) => zstd::Decoder::with_buffer(body)
            .and_then(|mut decoder| {
                /// The maximum window of [RFC 9659](https://www.rfc-editor.org/rfc/rfc9659): 8 MB.
                const WINDOW_LOG_MAX: u32 = 23;
                decoder.window_log_max(WINDOW_LOG_MAX)?;
                Ok(decoder)
            })
            .map_err(|_error| Problem::Malformed)
            .and_then(|decoder| read(decoder, limit)),
        _ => {
            let _ = (body, limit);
            Err(Problem::Unknown(encoding.to_owned()))
        }
    }
}

/// The compression with this name, whether or not it is compiled in.
pub(super) fn named(encoding: &str) -> Option<Compression> {
    // RFC 9110 requires `x-gzip` to be treated as `gzip`.
    let name = if encoding.eq_ignore_ascii_case("x-gzip") { "gzip" } else { encoding };
    let known = [Compression::Gzip, Compression::Zstd];
    known.into_iter().find(|compression| name.eq_ignore_ascii_case(compression.as_str()))
}

#[cfg(any(feature = "gzip", feature = "zstd"))]
fn read(decoder: impl Read, limit: usize) -> Result<Vec<u8>, Problem> {
    let mut plain = Vec::new();
    // One extra byte distinguishes a body at the limit from a longer one.
    let read: io::Result<usize> =
        decoder.take((limit as u64).saturating_add(1)).read_to_end(&mut plain);
    match read {
        Ok(length) if length > limit => Err(Problem::TooLong),
        Ok(_) => Ok(plain),
        Err(_malformed) => Err(Problem::Malformed),
    }
}

#[cfg(test)]
#[cfg(all(feature = "gzip", feature = "zstd"))]
mod tests {
    use super::*;

    fn gzip(plain: &[u8]) -> Vec<u8> {
        compress(Compression::Gzip, plain, 0).unwrap()
    }

    fn zstd(plain: &[u8]) -> Vec<u8> {
        compress(Compression::Zstd, plain, 0).unwrap()
    }

    #[test]
    fn the_limit_is_exact() {
        for (name, body) in [("GZIP", gzip(&[7; 100])), ("zstd", zstd(&[7; 100]))] {
            assert_eq!(decompress(name, &body, 100), Ok(vec![7; 100]), "{name}");
            assert_eq!(decompress(name, &body, 99), Err(Problem::TooLong), "{name}");
        }
    }

    #[test]
    fn decompression_stops_at_the_limit() {
        let zeros = vec![0; 64 << 20];
        for (name, body) in [("x-gzip", gzip(&zeros)), ("zstd", zstd(&zeros))] {
            assert_eq!(decompress(name, &body, 1000), Err(Problem::TooLong), "{name}");
        }
    }

    #[test]
    fn malformed_bodies_and_unknown_encodings() {
        for (name, mut body) in [("gzip", gzip(&[7; 100])), ("zstd", zstd(&[7; 100]))] {
            body.truncate(body.len() - 1);
            assert_eq!(decompress(name, &body, 100), Err(Problem::Malformed), "{name}");
            assert_eq!(decompress(name, b"plain", 100), Err(Problem::Malformed), "{name}");
        }
        assert_eq!(decompress("br", b"", 100), Err(Problem::Unknown("br".to_owned())));
    }

    /// A frame that requires a window of 128 MiB (RFC 8878, section 3.1.1.1.2).
    #[test]
    fn a_window_larger_than_http_allows_is_refused() {
        let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 17 << 3, 0x01, 0, 0];
        assert_eq!(decompress("zstd", &frame, 100), Err(Problem::Malformed));
    }
}
