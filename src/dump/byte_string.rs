//! How byte strings stand in JSON, wherever this room writes it.
//!
//! A byte string that is valid UTF-8 is a JSON string; any other is `{"base64": "..."}` (RFC
//! 4648, with padding). So a reader knows what it has by the JSON type alone, and gets every byte
//! back.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeMap as _};

/// A byte string that is written and read by the rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ByteString(pub Bytes);

impl Serialize for ByteString {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("base64", &STANDARD.encode(&self.0))?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for ByteString {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ByteString, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Text(String),
            Binary { base64: String },
        }
        let bytes = match Written::deserialize(deserializer)? {
            Written::Text(text) => text.into_bytes(),
            Written::Binary { base64 } => STANDARD.decode(base64).map_err(de::Error::custom)?,
        };
        Ok(ByteString(Bytes::from(bytes)))
    }
}

/// Appends a byte string by the rule.
pub(super) fn push_bytes(json: &mut Vec<u8>, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => push_text(json, text),
        Err(_) => {
            json.extend_from_slice(b"{\"base64\":\"");
            push_base64(json, bytes);
            json.extend_from_slice(b"\"}");
        }
    }
}

/// Appends a JSON string.
pub(super) fn push_text(json: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(json, text).expect("a vector takes everything");
}

fn push_base64(json: &mut Vec<u8>, bytes: &[u8]) {
    let start = json.len();
    let len = base64::encoded_len(bytes.len(), true).expect("the bytes are in memory");
    json.resize(start + len, 0);
    let room = json.get_mut(start..).unwrap_or_default();
    let written = STANDARD.encode_slice(bytes, room);
    debug_assert_eq!(written, Ok(len));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_text_where_they_can_be() {
        for (bytes, json) in [
            (&b""[..], r#""""#),
            (b"user:1", r#""user:1""#),
            (b"a\"b\\\n\x00\x7f", "\"a\\\"b\\\\\\n\\u0000\x7f\""),
            ("Fähre".as_bytes(), r#""Fähre""#),
            (b"\xff", r#"{"base64":"/w=="}"#),
            (b"a\xc3", r#"{"base64":"YcM="}"#),
            (b"\x00\x01\xfe", r#"{"base64":"AAH+"}"#),
        ] {
            let mut pushed = b"x".to_vec();
            push_bytes(&mut pushed, bytes);
            assert_eq!(pushed, [b"x", json.as_bytes()].concat());
            let owned = ByteString(Bytes::copy_from_slice(bytes));
            assert_eq!(serde_json::to_string(&owned).unwrap(), json);
            assert_eq!(serde_json::from_str::<ByteString>(json).unwrap(), owned);
        }
    }
}
