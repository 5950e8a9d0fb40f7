//! How many elements are asked for at a time.

/// Bytes that a page should have.
pub(in crate::verify) const PAGE_BYTES: usize = 1 << 20;
/// A reply of more than one element may have at most this many bytes.
pub(in crate::verify) const REPLY_BYTES_MAX: usize = 16 << 20;

const COUNT_FIRST: u64 = 32;
const COUNT_MAX: u64 = 1000;
/// A page may have this many times as many elements as the one before.
const GROWTH_MAX: u64 = 4;

/// Adapts the number of elements of a page to how long they are.
#[derive(Debug, Clone, Copy)]
pub(in crate::verify) struct PageSize {
    count: u64,
}

impl PageSize {
    /// Before anything is known.
    pub(in crate::verify) fn new() -> PageSize {
        PageSize { count: COUNT_FIRST }
    }

    /// How many elements to ask for, at least one.
    pub(in crate::verify) fn count(&self) -> u64 {
        self.count
    }

    /// How long the reply may be, in bytes.
    pub(in crate::verify) fn reply_bytes_max(&self) -> usize {
        match self.count {
            // An element is taken however long it is.
            1 => usize::MAX,
            _ => REPLY_BYTES_MAX,
        }
    }

    /// The reply had this many elements of this many bytes together.
    pub(in crate::verify) fn learn(&mut self, elements: usize, bytes: usize) {
        let element_bytes = (bytes / elements.max(1)).max(1);
        let fitting = (PAGE_BYTES / element_bytes) as u64;
        self.count = fitting.clamp(1, COUNT_MAX.min(self.count * GROWTH_MAX));
    }

    /// The reply was longer than it may be: fewer elements are asked for.
    pub(in crate::verify) fn shrink(&mut self) {
        self.count = (self.count / 8).max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_have_about_the_same_length() {
        let mut size = PageSize::new();
        size.learn(32, 320);
        assert_eq!(size.count(), 128, "no faster than four times");
        size.learn(128, 1280);
        size.learn(512, 5120);
        assert_eq!(size.count(), COUNT_MAX);
        size.learn(1000, 1000 * 10_000);
        assert_eq!(size.count(), 104);
        size.learn(1, 5 << 20);
        assert_eq!((size.count(), size.reply_bytes_max()), (1, usize::MAX));
        size.learn(0, 0);
        assert_eq!((size.count(), size.reply_bytes_max()), (4, REPLY_BYTES_MAX));
    }

    #[test]
    fn one_element_is_always_asked_for() {
        let mut size = PageSize::new();
        (0..5).for_each(|_| size.shrink());
        assert_eq!((size.count(), size.reply_bytes_max()), (1, usize::MAX));
    }
}
