//! JSON documents of Dragonfly: by what they say, whatever the order of members.

use bytes::Bytes;

use crate::{
    rdb::{Error, Part, payload::Payload},
    verify::Kind,
};

use super::{Finds, parts::Parts, string::first_apart};

pub(super) fn compare(source: &Payload, target: &Payload, finds: &mut Finds) -> Result<(), Error> {
    let (source, target) = (document(source)?, document(target)?);
    if !says_the_same(&source, &target)
        && let Some(first) = first_apart(0, &source, &target)
    {
        finds.add(Kind::Value, || first);
    }
    Ok(())
}

/// What is no JSON, or too deeply nested, says what its bytes say.
fn says_the_same(source: &[u8], target: &[u8]) -> bool {
    let read = |text| serde_json::from_slice::<serde_json::Value>(text).ok();
    source == target || read(source).is_some_and(|source| read(target) == Some(source))
}

fn document(payload: &Payload) -> Result<Bytes, Error> {
    let mut parts = Parts::of(payload);
    while let Some(part) = parts.next()? {
        if let Part::Json(document) = part {
            return Ok(document);
        }
    }
    Ok(Bytes::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_members_means_nothing() {
        for (source, target, same) in [
            (r#"{"a":1,"b":[1,2]}"#, r#"{ "b": [1, 2], "a": 1 }"#, true),
            (r#"{"a":1}"#, r#"{"a":2}"#, false),
            ("[1,2]", "[2,1]", false),
            ("1", "1.0", false),
            ("no json", "no json", true),
            ("no json", "no  json", false),
        ] {
            let found = says_the_same(source.as_bytes(), target.as_bytes());
            assert_eq!(found, same, "{source} {target}");
        }
    }
}
