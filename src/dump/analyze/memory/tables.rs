//! The hash tables of servers: how large they are for a number of entries.

use super::allocator::Allocator;

/// How a table keeps its entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Table {
    /// A chain of allocated entries behind each bucket: `redis 7.0 dict.c`.
    Entries,
    /// The first of a bucket stands in it; only further ones are allocated: `redis 7.2 dict.c`,
    /// dicts with `no_value`.
    NoValue,
    /// Buckets of one cache line with seven entries: `valkey 8.1 hashtable.c`.
    Buckets,
}

/// The size of a chained entry: key, value and next, `dictEntry`.
const ENTRY_BYTES: u64 = 24;
/// The size of a chained entry without a value, `dictEntryNoValue`.
const NO_VALUE_ENTRY_BYTES: u64 = 16;
const POINTER_BYTES: u64 = 8;
const DICT_BUCKETS_MIN: u64 = 4;

/// A cache line.
const BUCKET_BYTES: u64 = 64;
const BUCKET_ENTRIES: u64 = 7;
/// A bucket that has a child bucket holds one entry less, the pointer to it.
const CHAINED_BUCKET_ENTRIES: u64 = 6;

impl Table {
    /// The bytes of the table and its entries, without what the entries point to.
    pub(super) fn bytes(self, entries: u64, allocator: Allocator) -> u64 {
        let each = entries.saturating_mul(self.entry_bytes(allocator));
        self.array_bytes(entries, allocator).saturating_add(each)
    }

    /// The bytes that every entry takes, whatever the others are.
    pub(super) fn entry_bytes(self, allocator: Allocator) -> u64 {
        match self {
            Table::Entries => allocator.usable(ENTRY_BYTES),
            Table::NoValue | Table::Buckets => 0,
        }
    }

    /// The bytes of the table without [`Table::entry_bytes`].
    ///
    /// Tables that have grown by insertion, and are not being resized. Chains are as long as
    /// hashes that are spread evenly make them on average.
    pub(super) fn array_bytes(self, entries: u64, allocator: Allocator) -> u64 {
        if entries == 0 {
            return 0;
        }
        match self {
            Table::Entries => dict_buckets(entries, allocator),
            Table::NoValue => {
                let chained = chained_entries(entries);
                dict_buckets(entries, allocator)
                    + (chained * allocator.usable(NO_VALUE_ENTRY_BYTES) as f64).round() as u64
            }
            Table::Buckets => {
                let buckets = entries.div_ceil(BUCKET_ENTRIES).next_power_of_two();
                let children = if buckets == 1 {
                    0.0
                } else {
                    buckets as f64 * child_buckets(entries as f64 / buckets as f64)
                };
                let table = allocator.usable(buckets.saturating_mul(BUCKET_BYTES));
                table + (children * allocator.usable(BUCKET_BYTES) as f64).round() as u64
            }
        }
    }
}

fn dict_size(entries: u64) -> u64 {
    let size = entries.checked_next_power_of_two().unwrap_or(1 << 63);
    size.max(DICT_BUCKETS_MIN)
}

fn dict_buckets(entries: u64, allocator: Allocator) -> u64 {
    allocator.usable(dict_size(entries).saturating_mul(POINTER_BYTES))
}

/// How many entries are not the first of their bucket.
fn chained_entries(entries: u64) -> f64 {
    let (entries, size) = (entries as f64, dict_size(entries) as f64);
    (entries - size * (1.0 - (-entries / size).exp())).max(0.0)
}

/// How many child buckets a bucket has on average, for this many entries on average.
fn child_buckets(mean: f64) -> f64 {
    // Poisson: one child beyond 7 entries, another beyond 13, and so on.
    let (mut probability, mut below, mut children) = ((-mean).exp(), 0.0, 0.0);
    let mut capacity = BUCKET_ENTRIES;
    for entries in 0..=(BUCKET_ENTRIES + 4 * CHAINED_BUCKET_ENTRIES) {
        below += probability;
        probability *= mean / (entries + 1) as f64;
        if entries == capacity {
            children += (1.0 - below).max(0.0);
            capacity += CHAINED_BUCKET_ENTRIES;
        }
    }
    children
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tables alone, as `used_memory` of real servers showed them: see `docs/rdb.md`.
    #[test]
    fn tables_are_as_large_as_they_were_measured() {
        let system = Allocator::SystemJemalloc;
        for (name, table, entries, expected) in [
            ("empty", Table::Entries, 0, 0),
            ("smallest dict", Table::Entries, 1, 4 * 8 + 32),
            ("full dict", Table::Entries, 4, 4 * 8 + 4 * 32),
            ("grown dict", Table::Entries, 5, 8 * 8 + 5 * 32),
            ("one bucket", Table::Buckets, 7, 64),
            // redis 8.0, a set of 2000 members of 16 bytes: 59277 - 200 - 2000 * 16
            ("no value", Table::NoValue, 2000, 27_954),
            // valkey 8.1, a set of 2000 members of 16 bytes: 66391 - 200 - 2000 * 16
            ("buckets", Table::Buckets, 2000, 34_276),
        ] {
            let bytes = table.bytes(entries, system);
            let off = bytes.abs_diff(expected);
            assert!(off <= expected / 50, "{name}: {bytes}, not {expected}");
        }
    }
}
