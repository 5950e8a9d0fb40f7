//! Durations with a unit.

use std::time::Duration;

/// Units and how many milliseconds they have.
const UNITS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

/// Reads `250ms`, `30s`, `5m`, `2h`, `1d`; `0` is the one number that needs no unit.
///
/// # Errors
/// A text that says what is expected.
pub fn parse(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let digits_len = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(digits_len);
    let factor = UNITS.iter().find(|(name, _)| *name == unit);
    let (Ok(number), Some((_, factor))) = (digits.parse::<u64>(), factor) else {
        return Err("a duration is a whole number and a unit: 250ms, 30s, 5m, 2h".into());
    };
    number
        .checked_mul(*factor)
        .map(Duration::from_millis)
        .ok_or_else(|| "the duration does not fit 64 bits".into())
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn reads_durations() {
        for (text, ms) in [
            ("0", 0),
            ("0s", 0),
            ("250ms", 250),
            ("30s", 30_000),
            (" 5m ", 300_000),
            ("2h", 7_200_000),
            ("1d", 86_400_000),
            ("9999d", 863_913_600_000),
        ] {
            assert_eq!(parse(text).map(|d| d.as_millis()), Ok(ms), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_duration() {
        for text in [
            "",
            "s",
            "30",
            "1.5s",
            "-1s",
            "+1s",
            "5 m",
            "1w",
            "18446744073709551615d",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
