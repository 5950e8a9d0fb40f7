//! What an allocator hands out for a request: its size classes.

/// The allocator a server was built with, as `INFO` names it (`mem_allocator`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allocator {
    /// The jemalloc that Redis and Valkey bring: classes of 8 bytes up to 64.
    Jemalloc,
    /// The jemalloc of a Linux distribution: classes of 16 bytes up to 128.
    SystemJemalloc,
    /// The malloc of glibc.
    Libc,
}

impl Allocator {
    /// All of them with the names they are chosen by.
    pub const ALL: [(&'static str, Allocator); 3] = [
        ("jemalloc", Allocator::Jemalloc),
        ("system-jemalloc", Allocator::SystemJemalloc),
        ("libc", Allocator::Libc),
    ];

    /// The name it is chosen by.
    pub fn name(self) -> &'static str {
        match self {
            Allocator::Jemalloc => "jemalloc",
            Allocator::SystemJemalloc => "system-jemalloc",
            Allocator::Libc => "libc",
        }
    }

    /// The bytes that are taken for a request of `bytes`; nothing is taken for nothing.
    ///
    /// jemalloc 5 `sz.h sz_s2u_compute`: above the quantum there are four classes to each doubling.
    /// glibc `malloc.c request2size`: 8 bytes in front, rounded up to 16, at least 32; from 128 KiB
    /// on whole pages.
    pub(super) fn usable(self, bytes: u64) -> u64 {
        const PAGE: u64 = 4096;
        const MMAP_FROM: u64 = 128 << 10;
        let quantum = match self {
            _ if bytes == 0 => return 0,
            Allocator::Jemalloc => 8,
            Allocator::SystemJemalloc => 16,
            Allocator::Libc if bytes < MMAP_FROM => {
                return (bytes.saturating_add(8).next_multiple_of(16) - 8).max(24);
            }
            Allocator::Libc => return bytes.saturating_add(16).next_multiple_of(PAGE) - 16,
        };
        if bytes <= 8 {
            return 8;
        }
        // The doubling that the request lies in, (2^n, 2^(n+1)], is cut in four.
        let step = (1u64 << (bytes - 1).ilog2()) / 4;
        bytes.next_multiple_of(step.max(quantum))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_rounded_to_classes() {
        for (bytes, jemalloc, system, libc) in [
            (0, 0, 0, 0),
            (1, 8, 8, 24),
            (8, 8, 8, 24),
            (9, 16, 16, 24),
            (17, 24, 32, 24),
            (24, 24, 32, 24),
            (25, 32, 32, 40),
            (49, 56, 64, 56),
            (65, 80, 80, 72),
            (129, 160, 160, 136),
            (536, 640, 640, 536),
            (4096, 4096, 4096, 4104),
            (4097, 5120, 5120, 4104),
            (300_000, 327_680, 327_680, 303_088),
        ] {
            assert_eq!(Allocator::Jemalloc.usable(bytes), jemalloc, "{bytes}");
            assert_eq!(Allocator::SystemJemalloc.usable(bytes), system, "{bytes}");
            assert_eq!(Allocator::Libc.usable(bytes), libc, "{bytes}");
        }
    }
}
