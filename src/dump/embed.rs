//! Text that is not ours, in files that other programs read.

/// A cell of CSV (RFC 4180).
///
/// It never begins with a character that spreadsheets take for a formula: such a one is written
/// `\xNN`, which is how names show any byte they cannot print.
pub fn csv_cell(text: &str) -> String {
    let text = match text.as_bytes().first() {
        Some(first @ (b'=' | b'+' | b'-' | b'@')) => format!("\\x{first:02x}{}", &text[1..]),
        _ => text.to_owned(),
    };
    match text.contains([',', '"', '\r', '\n']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text,
    }
}

/// JSON that can stand in an element of a page: what HTML or scripts give a meaning is `\uNNNN`.
///
/// Outside of texts JSON has none of these.
pub fn json_in_page(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for char in json.chars() {
        match char {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                text.push_str(&format!("\\u{:04x}", u32::from(char)));
            }
            char => text.push(char),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_and_no_formulas() {
        for (text, expected) in [
            ("user:", "user:"),
            ("a,b", "\"a,b\""),
            ("a\"b", "\"a\"\"b\""),
            ("a\r\nb", "\"a\r\nb\""),
            ("=1+1", "\\x3d1+1"),
            ("@x", "\\x40x"),
            ("-,", "\"\\x2d,\""),
            (" =x", " =x"),
            ("", ""),
        ] {
            assert_eq!(csv_cell(text), expected);
        }
    }

    #[test]
    fn nothing_in_json_ends_its_element() {
        let json = r#"{"name":"</script><!--<script>&amp;"}"#;
        let text = json_in_page(json);
        assert!(!text.contains(['<', '>', '&']), "{text}");
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read["name"], "</script><!--<script>&amp;");
    }
}
