//! Sizes in bytes with a unit.

/// Units and their factors, as `redis.conf` has them (redis util.c memtoull): with a `b` they are
/// 1024-based, without it 1000-based. Those with an `i` say so themselves.
const UNITS: [(&str, u64); 14] = [
    ("", 1),
    ("b", 1),
    ("k", 1_000),
    ("kb", 1 << 10),
    ("kib", 1 << 10),
    ("m", 1_000_000),
    ("mb", 1 << 20),
    ("mib", 1 << 20),
    ("g", 1_000_000_000),
    ("gb", 1 << 30),
    ("gib", 1 << 30),
    ("t", 1_000_000_000_000),
    ("tb", 1 << 40),
    ("tib", 1 << 40),
];
/// Decimals beyond these are refused: no size needs them.
const DECIMALS_MAX: usize = 12;

const FORM: &str = "a size is a number and a unit: 512, 64kb, 1.5mb, 2GiB";

/// Reads `512`, `64kb`, `1.5 MiB`, `2gb`: a number of bytes and a unit in any case. What is not a
/// whole number of bytes is rounded down.
///
/// # Errors
/// A text that says what is expected, or that the size does not fit 64 bits.
pub fn parse(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let number_len = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(number_len);
    let unit = unit.trim_start().to_ascii_lowercase();
    let factor = UNITS.iter().find(|(name, _)| *name == unit);
    let (Some((whole, part)), Some((_, factor))) = (split(number), factor) else {
        return Err(FORM.into());
    };
    bytes(whole, part, *factor).ok_or_else(|| "the size does not fit 64 bits".into())
}

/// The digits before and behind the point; `None` for what is no number.
fn split(number: &str) -> Option<(&str, &str)> {
    let (whole, part) = match number.split_once('.') {
        None => (number, ""),
        Some((_, "")) => return None,
        Some(both) => both,
    };
    let is_number = !whole.is_empty() && !part.contains('.') && part.len() <= DECIMALS_MAX;
    is_number.then_some((whole, part))
}

fn bytes(whole: &str, part: &str, factor: u64) -> Option<u64> {
    let bytes = whole.parse::<u64>().ok()?.checked_mul(factor)?;
    let scale = 10_u128.pow(u32::try_from(part.len()).ok()?);
    // At most twelve digits, so that the product fits by far.
    let part: u128 = if part.is_empty() {
        0
    } else {
        part.parse().ok()?
    };
    let more = u64::try_from(part * u128::from(factor) / scale).ok()?;
    bytes.checked_add(more)
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
            ("1k", 1000),
            ("1kb", 1024),
            ("64kb", 65_536),
            ("64KiB", 65_536),
            ("64 KB", 65_536),
            ("1.5kb", 1536),
            ("1.5 MiB", 1_572_864),
            ("0.1kb", 102),
            ("2.999", 2),
            ("1mb", 1_048_576),
            ("1M", 1_000_000),
            ("1.25m", 1_250_000),
            ("2gb", 2_147_483_648),
            ("2GiB", 2_147_483_648),
            ("1g", 1_000_000_000),
            ("1tb", 1_099_511_627_776),
            ("18446744073709551615", u64::MAX),
            ("16777215.999999999999tb", u64::MAX - 1),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_size() {
        for text in [
            "",
            ".",
            "mb",
            "-1",
            ".5mb",
            "1.mb",
            "1.5.5mb",
            "1.5e3",
            "1,5mb",
            "1.0000000000001mb",
            "1 m b",
            "1xb",
            "1ki",
            "0x10",
            "+1",
        ] {
            assert!(parse(text).unwrap_err().starts_with("a size"), "{text}");
        }
    }

    #[test]
    fn refuses_what_does_not_fit() {
        for text in [
            "18446744073709551616",
            "16777216tb",
            "16777215.9999999999999tb",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        let said = parse("16777216.5tb").unwrap_err();
        assert_eq!(said, "the size does not fit 64 bits");
    }
}
