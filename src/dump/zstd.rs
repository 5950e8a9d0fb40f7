//! The content of Zstandard frames, one behind the other, with their checksums compared.

use std::io::{self, BufRead, BufReader, Read};

use ruzstd::decoding::{
    BlockDecodingStrategy, FrameDecoder,
    errors::{FrameDecoderError, ReadFrameHeaderError},
};

use super::opened::Source;

/// Reads what is inside the frames of a source.
pub(super) struct ZstdFrames {
    source: BufReader<Source>,
    decoder: FrameDecoder,
    /// A frame has begun and was not read to its end.
    in_frame: bool,
}

impl ZstdFrames {
    pub(super) fn new(source: Source) -> ZstdFrames {
        ZstdFrames {
            source: BufReader::new(source),
            decoder: FrameDecoder::new(),
            in_frame: false,
        }
    }

    /// Begins the next frame that has content; false at the end of the source.
    fn next_frame(&mut self) -> io::Result<bool> {
        while !self.source.fill_buf()?.is_empty() {
            let error = match self.decoder.reset(&mut self.source) {
                Ok(()) => return Ok(true),
                Err(error) => error,
            };
            let Some(length) = skipped(&error) else {
                return Err(io::Error::other(error));
            };
            let passed = io::copy(&mut self.source.by_ref().take(length), &mut io::sink())?;
            if passed < length {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(false)
    }

    fn check(&self) -> io::Result<()> {
        let stored = self.decoder.get_checksum_from_data();
        if stored.is_some() && stored != self.decoder.get_calculated_checksum() {
            return Err(io::Error::other("wrong checksum of a Zstandard frame"));
        }
        Ok(())
    }
}

/// The length of a frame that holds nothing of the content.
fn skipped(error: &FrameDecoderError) -> Option<u64> {
    match error {
        FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
            length, ..
        }) => Some(u64::from(*length)),
        _ => None,
    }
}

impl Read for ZstdFrames {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.in_frame {
                if !self.next_frame()? {
                    return Ok(0);
                }
                self.in_frame = true;
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                self.decoder
                    .decode_blocks(&mut self.source, BlockDecodingStrategy::UptoBlocks(1))
                    .map_err(io::Error::other)?;
            }
            if self.decoder.can_collect() > 0 {
                return self.decoder.read(buffer);
            }
            self.check()?;
            self.in_frame = false;
        }
    }
}
