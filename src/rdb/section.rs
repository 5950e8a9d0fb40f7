//! Compressed sections of Dragonfly's files: records that stand in the file as one string, a
//! Zstandard or an LZ4 frame. They are inflated whole and then read as if they stood there.
//! Compression does not nest: neither stands a section in a section, nor a frame in LZF.

use std::io::Read as _;

use bytes::Bytes;

use super::cursor::{Cursor, Stop};
use super::error::ErrorKind;
use super::length::Prefix;
use super::limits::Limits;
use super::part::Element;

const NOT_INFLATED: &str = "a compressed section does not inflate";
const WRONG_SIZE: &str = "a compressed section inflates to another size than it says";

/// How a section is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    Zstandard,
    Lz4,
}

/// A section whose records are being read.
#[derive(Debug)]
pub(crate) struct Section {
    bytes: Bytes,
    /// Up to here they were taken over.
    pos: usize,
    /// The absolute offset behind the section, which all errors inside it are given.
    end: u64,
}

impl Section {
    /// Reads the string that holds a section and inflates it.
    pub(crate) fn read(
        codec: Codec,
        cursor: &mut Cursor<'_>,
        limits: &Limits,
    ) -> Result<Self, Stop> {
        if let Prefix::Lzf { .. } = cursor.ahead(0).prefix()? {
            return Err(cursor.corrupt("a compressed section is compressed once more"));
        }
        let Element::Bytes(frame) = cursor.string(limits)? else {
            return Err(cursor.corrupt("an integer stands in the place of a compressed section"));
        };
        let inflated = inflate(codec, &frame, limits.section_bytes_max);
        Ok(Self {
            bytes: inflated.map_err(|kind| cursor.bad(kind))?.into(),
            pos: 0,
            end: cursor.offset(),
        })
    }

    /// Reads from where bytes were not taken over yet.
    pub(crate) fn cursor(&self) -> Cursor<'_> {
        Cursor::new(&self.bytes, 0, self.pos)
    }

    /// Takes over what stands before a position of the cursor.
    pub(crate) fn take_over(&mut self, pos: usize) {
        self.pos = pos;
    }

    /// Whether nothing is left of it.
    pub(crate) fn is_over(&self) -> bool {
        self.pos == self.bytes.len()
    }

    /// What a stop inside the section is outside: everything that is missing is missing for good.
    pub(crate) fn stop(&self, stop: Stop) -> Stop {
        let kind = match stop {
            Stop::More => ErrorKind::Corrupt("a record leaves its compressed section"),
            Stop::Bad { kind, .. } => kind,
        };
        let offset = self.end;
        Stop::Bad { kind, offset }
    }
}

fn inflate(codec: Codec, frame: &[u8], bytes_max: u64) -> Result<Vec<u8>, ErrorKind> {
    let (inflated, rest) = match codec {
        Codec::Zstandard => inflate_zstandard(frame, bytes_max)?,
        Codec::Lz4 => inflate_lz4(frame, bytes_max)?,
    };
    if inflated.len() as u64 > bytes_max {
        return Err(ErrorKind::Limit {
            what: "a compressed section",
            size: inflated.len() as u64,
            limit: bytes_max,
        });
    }
    if rest > 0 {
        return Err(ErrorKind::Corrupt(
            "a compressed section goes on behind its frame",
        ));
    }
    Ok(inflated)
}

/// What a frame inflates to, up to one byte more than the limit, and how many bytes follow it.
type Inflated = (Vec<u8>, usize);

fn inflate_zstandard(mut frame: &[u8], bytes_max: u64) -> Result<Inflated, ErrorKind> {
    use ruzstd::decoding::StreamingDecoder;
    // A window larger than all that it may hold makes no sense.
    let decoder = StreamingDecoder::new_with_max_window_size(&mut frame, bytes_max.max(1 << 20));
    let mut decoder = decoder.map_err(|_| ErrorKind::Corrupt(NOT_INFLATED))?;
    let mut inflated = Vec::new();
    let read = (&mut decoder)
        .take(bytes_max.saturating_add(1))
        .read_to_end(&mut inflated);
    read.map_err(|_| ErrorKind::Corrupt(NOT_INFLATED))?;
    if inflated.len() as u64 <= bytes_max {
        let stored = decoder.decoder.get_checksum_from_data();
        if stored.is_some() && stored != decoder.decoder.get_calculated_checksum() {
            return Err(ErrorKind::Corrupt("wrong checksum of a compressed section"));
        }
        // Zero where the frame does not say.
        let said = decoder.decoder.content_size();
        if said != 0 && said != inflated.len() as u64 {
            return Err(ErrorKind::Corrupt(WRONG_SIZE));
        }
    }
    Ok((inflated, frame.len()))
}

fn inflate_lz4(frame: &[u8], bytes_max: u64) -> Result<Inflated, ErrorKind> {
    let mut decoder = lz4_flex::frame::FrameDecoder::new(frame);
    let mut inflated = Vec::new();
    let read = (&mut decoder)
        .take(bytes_max.saturating_add(1))
        .read_to_end(&mut inflated);
    read.map_err(|_| ErrorKind::Corrupt(NOT_INFLATED))?;
    let is_all = inflated.len() as u64 <= bytes_max;
    // A frame that is cut between two blocks looks like one that ended.
    if is_all && lz4_content_size(frame) != Some(inflated.len() as u64) {
        return Err(ErrorKind::Corrupt(WRONG_SIZE));
    }
    Ok((inflated, decoder.into_inner().len()))
}

/// The size that the header of an LZ4 frame says: magic, flags, block size, content size.
fn lz4_content_size(frame: &[u8]) -> Option<u64> {
    const HAS_CONTENT_SIZE: u8 = 8;
    let flags = frame.get(4)?;
    let size = frame.get(6..)?.first_chunk()?;
    (flags & HAS_CONTENT_SIZE != 0).then(|| u64::from_le_bytes(*size))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn lz4(content: &[u8]) -> Vec<u8> {
        let info = lz4_flex::frame::FrameInfo::new().content_size(Some(content.len() as u64));
        let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    fn zstandard(content: &[u8]) -> Vec<u8> {
        let level = ruzstd::encoding::CompressionLevel::Fastest;
        ruzstd::encoding::compress_to_vec(content, level)
    }

    #[test]
    fn inflates_up_to_the_limit() {
        let content = b"some words, some words, some words, some words".repeat(1000);
        for (codec, frame) in [
            (Codec::Lz4, lz4(&content)),
            (Codec::Zstandard, zstandard(&content)),
        ] {
            let size = content.len() as u64;
            assert_eq!(inflate(codec, &frame, size).as_ref(), Ok(&content));
            let refused = inflate(codec, &frame, size - 1).unwrap_err();
            assert!(matches!(refused, ErrorKind::Limit { .. }), "{codec:?}");
        }
    }

    #[test]
    fn refuses_what_is_not_one_whole_frame() {
        let content = b"some words, some words, some words, some words";
        for (codec, frame) in [
            (Codec::Lz4, lz4(content)),
            (Codec::Zstandard, zstandard(content)),
        ] {
            for cut in 0..frame.len() - 8 {
                let inflated = inflate(codec, frame.get(..cut).unwrap(), 1000);
                assert!(
                    matches!(inflated, Err(ErrorKind::Corrupt(_))),
                    "{codec:?} cut to {cut}"
                );
            }
            for more in [&b"\0"[..], &frame] {
                let inflated = inflate(codec, &[&frame, more].concat(), 1000);
                assert!(matches!(inflated, Err(ErrorKind::Corrupt(_))), "{codec:?}");
            }
            for at in 0..frame.len() {
                let mut damaged = frame.clone();
                damaged
                    .get_mut(at)
                    .into_iter()
                    .for_each(|byte| *byte ^= 0x10);
                // It may inflate to something else, but never panics nor grows over the limit.
                if let Ok(inflated) = inflate(codec, &damaged, 1000) {
                    assert!(inflated.len() <= 1000);
                }
            }
        }
    }
}
