//! Opens what an RDB may be wrapped in: gzip, Zstandard, LZ4, the envelope of Valkey 9.2.

use std::io::{Cursor, Read};

use flate2::read::MultiGzDecoder;
use lz4_flex::frame::FrameDecoder;

use super::{ErrorKind, zstd::ZstdFrames};

/// Any source of bytes.
pub(super) type Source = Box<dyn Read + Send>;

/// Compressed, with an envelope inside, which holds a compressed frame; nobody wraps deeper.
const DEPTH_MAX: usize = 3;
/// The longest beginning that tells what something is: that of Valkey's envelope.
const HEAD_BYTES: usize = 7;

const GZIP: &[u8] = b"\x1f\x8b";
const ZSTD: &[u8] = b"\x28\xb5\x2f\xfd";
const LZ4: &[u8] = b"\x04\x22\x4d\x18";
/// Then one byte each: version, codec, reserved, kind.
const VALKEY_ENVELOPE: &[u8] = b"VCS";

/// Looks at the first bytes and gives what is inside.
///
/// # Errors
/// `Read`, or `Wrapped` for an envelope that is not known.
pub(super) fn open(mut source: Source) -> Result<Source, ErrorKind> {
    for _ in 0..=DEPTH_MAX {
        let mut head = Vec::with_capacity(HEAD_BYTES);
        let read = source.by_ref().take(HEAD_BYTES as u64);
        { read }.read_to_end(&mut head).map_err(ErrorKind::Read)?;
        let envelope = head.starts_with(VALKEY_ENVELOPE);
        if envelope {
            known_envelope(&head)?;
        } else if !is_wrapped(&head) {
            return Ok(Box::new(Cursor::new(head).chain(source)));
        }
        source = match envelope {
            true => source,
            false => unwrap(head, source),
        };
    }
    Err(ErrorKind::Wrapped("it is wrapped too often"))
}

fn is_wrapped(head: &[u8]) -> bool {
    [GZIP, ZSTD, LZ4]
        .iter()
        .any(|magic| head.starts_with(magic))
}

fn unwrap(head: Vec<u8>, source: Source) -> Source {
    let gzip = head.starts_with(GZIP);
    let zstd = head.starts_with(ZSTD);
    let whole: Source = Box::new(Cursor::new(head).chain(source));
    match (gzip, zstd) {
        (true, _) => Box::new(MultiGzDecoder::new(whole)),
        (_, true) => Box::new(ZstdFrames::new(whole)),
        _ => Box::new(FrameDecoder::new(whole)),
    }
}

/// Checks what an envelope says about itself; a compressed frame follows it.
fn known_envelope(head: &[u8]) -> Result<(), ErrorKind> {
    match head.get(VALKEY_ENVELOPE.len()..) {
        Some([1, 1 | 2, 0, 1]) => Ok(()),
        Some([1, _, _, 2]) => Err(ErrorKind::Wrapped("it holds a replication stream, no RDB")),
        _ => Err(ErrorKind::Wrapped("a newer envelope of Valkey")),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const RDB: &[u8] = b"REDIS0009 and so on";

    fn content(bytes: Vec<u8>) -> Result<Vec<u8>, String> {
        let mut opened = open(Box::new(Cursor::new(bytes))).map_err(|kind| kind.to_string())?;
        let mut content = Vec::new();
        let read = opened.read_to_end(&mut content);
        read.map_err(|error| error.to_string()).map(|_| content)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Default::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn lz4(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        let level = ruzstd::encoding::CompressionLevel::Fastest;
        ruzstd::encoding::compress_to_vec(bytes, level)
    }

    #[test]
    fn opens_what_an_rdb_is_wrapped_in() {
        let envelope =
            |codec: u8, frame: Vec<u8>| [&[b'V', b'C', b'S', 1, codec, 0, 1], &frame[..]].concat();
        let skippable = b"\x50\x2a\x4d\x18\x03\0\0\0abc";
        let (first, second) = RDB.split_at(7);
        for (name, bytes) in [
            ("nothing", RDB.to_vec()),
            ("gzip", gzip(RDB)),
            ("two members", [gzip(first), gzip(second)].concat()),
            ("LZ4", lz4(RDB)),
            ("Zstandard", zstd(RDB)),
            (
                "frames",
                [zstd(first), skippable.to_vec(), zstd(second)].concat(),
            ),
            ("Valkey, LZ4", envelope(1, lz4(RDB))),
            ("Valkey, Zstandard", envelope(2, zstd(RDB))),
            ("an envelope in gzip", gzip(&envelope(1, lz4(RDB)))),
        ] {
            assert_eq!(content(bytes).as_deref(), Ok(RDB), "{name}");
        }
        for (name, bytes) in [("nothing at all", &b""[..]), ("less than a head", b"RED")] {
            assert_eq!(content(bytes.to_vec()).as_deref(), Ok(bytes), "{name}");
        }
    }

    #[test]
    fn refuses_what_it_cannot_open() {
        for (name, bytes) in [
            ("a stream", b"VCS\x01\x01\0\x02".to_vec()),
            ("a newer envelope", b"VCS\x02\x01\0\x01".to_vec()),
            ("a cut envelope", b"VCS".to_vec()),
            ("wrapped too often", gzip(&gzip(&gzip(&gzip(RDB))))),
            ("cut gzip", gzip(RDB)[..20].to_vec()),
            ("cut LZ4", lz4(RDB)[..20].to_vec()),
            ("cut Zstandard", zstd(RDB)[..12].to_vec()),
        ] {
            assert!(content(bytes).is_err(), "{name}");
        }
        let mut flipped = zstd(RDB);
        *flipped.last_mut().unwrap() ^= 1;
        assert!(content(flipped).is_err(), "the checksum of a frame");
    }
}
