//! The file that is written at the moment.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::PathBuf,
};

use super::{Directory, SEGMENT_HEADER_BYTES, SegmentHeader, directory::new_file};

/// A segment that records are put into.
#[derive(Debug)]
pub(super) struct SegmentFile {
    pub(super) header: SegmentHeader,
    /// The checksum of the header, which the next segment stores.
    pub(super) checksum: u64,
    /// The length of the file.
    pub(super) bytes: u64,
    path: PathBuf,
    file: File,
}

impl SegmentFile {
    /// Makes the file with its header; leaves none behind when that fails.
    pub(super) fn create(directory: &Directory, header: SegmentHeader) -> io::Result<SegmentFile> {
        let path = directory.segment(header.kind, header.number);
        let mut file = new_file(&path)?;
        let bytes = header.encode();
        if let Err(error) = file.write_all(&bytes) {
            // What cannot be removed is a torn header, which holds nothing.
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        Ok(SegmentFile {
            checksum: header.checksum(),
            bytes: bytes.len() as u64,
            header,
            path,
            file,
        })
    }

    /// Appends bytes; they are in the hands of the system then, and outlive this process.
    ///
    /// After an error the file ends where it did before, if the system allows that; without any
    /// records it is removed.
    pub(super) fn append(mut self, bytes: &[u8]) -> io::Result<SegmentFile> {
        if let Err(error) = self.file.write_all(bytes) {
            // Whether or not this works, readers stop at a torn record. It saves the room.
            let _ = match self.bytes == SEGMENT_HEADER_BYTES as u64 {
                true => fs::remove_file(&self.path),
                false => self.file.set_len(self.bytes),
            };
            return Err(error);
        }
        self.bytes += bytes.len() as u64;
        Ok(self)
    }
}
