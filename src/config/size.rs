//! Sizes in bytes with a unit.

/// Units and their factors; 1024-based, as servers read them in `redis.conf` (`mb`, `gb`).
const UNITS: [(&str, u64); 9] = [
    ("", 1),
    ("b", 1),
    ("k", 1 << 10),
    ("kb", 1 << 10),
    ("m", 1 << 20),
    ("mb", 1 << 20),
    ("g", 1 << 30),
    ("gb", 1 << 30),
    ("tb", 1 << 40),
];

/// Reads `512`, `64kb`, `1mb`, `2gb`: a whole number of bytes and a 1024-based unit in any case.
///
/// # Errors
/// A text that says what is expected.
pub fn parse(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits_len = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(digits_len);
    let unit = unit.trim_start().to_ascii_lowercase();
    let factor = UNITS.iter().find(|(name, _)| *name == unit);
    let (Ok(number), Some((_, factor))) = (digits.parse::<u64>(), factor) else {
        return Err("a size is a whole number and a unit: 512, 64kb, 4mb, 1gb".into());
    };
    number
        .checked_mul(*factor)
        .ok_or_else(|| "the size does not fit 64 bits".into())
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn reads_sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("512b", 512),
            ("1k", 1024),
            ("64kb", 65_536),
            ("64 KB", 65_536),
            ("1mb", 1_048_576),
            ("1M", 1_048_576),
            ("2gb", 2_147_483_648),
            ("1tb", 1_099_511_627_776),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_size() {
        for text in [
            "",
            "mb",
            "-1",
            "1.5mb",
            "1 m b",
            "1xb",
            "0x10",
            "+1",
            "18446744073709551616",
            "16777216tb",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
