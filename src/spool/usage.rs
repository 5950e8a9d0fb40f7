//! What a spool holds and waits for, for the operator.

use std::{fmt, io};

/// What a spool holds at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Bytes in memory, with what it takes to remember each piece.
    pub memory_bytes: u64,
    /// Bytes of its files.
    pub disk_bytes: u64,
    /// Bytes that were pushed and not read.
    pub unread_bytes: u64,
    /// Bytes that can be read or read again.
    pub held_bytes: u64,
    /// Everything in memory is being brought to disk for a later run, whether or not memory is full.
    pub is_persisting: bool,
    /// Why nothing can be pushed at the moment; `None` while there is room.
    pub waiting_because: Option<WaitingBecause>,
    /// Why nothing can be written to disk at the moment, whether or not memory is full.
    pub disk_trouble: Option<DiskTrouble>,
}

/// Why a push waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitingBecause {
    /// Memory is full and there is no directory to write to.
    MemoryFull,
    /// Memory is full, and is being written to disk.
    DiskBusy,
    /// Memory is full, and so is the disk, or it cannot be written.
    Disk(DiskTrouble),
}

/// Why nothing is written to disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskTrouble {
    /// The quota leaves no room.
    QuotaFull,
    /// A write failed; it is tried again.
    WriteFailed(io::ErrorKind),
}

impl fmt::Display for WaitingBecause {
    /// As in "waiting because ...".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WaitingBecause::MemoryFull => {
                f.write_str("the spool's memory is full, and it has no directory")
            }
            WaitingBecause::DiskBusy => {
                f.write_str("the spool's memory is full, and the disk is slower than the source")
            }
            WaitingBecause::Disk(DiskTrouble::QuotaFull) => {
                f.write_str("the spool is full, in memory and on disk")
            }
            WaitingBecause::Disk(DiskTrouble::WriteFailed(why)) => {
                write!(
                    f,
                    "the spool's memory is full, and the disk takes nothing: {why}"
                )
            }
        }
    }
}
