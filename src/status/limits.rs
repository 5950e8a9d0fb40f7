//! The limits of a migration as JSON: shown, and changed while it runs.

use std::{num::NonZeroU64, time::Duration};

use serde::{Deserialize, Deserializer, Serialize};

use super::to_json;
use crate::pipeline::{Throttle, Window};

/// The least that may be in flight, in bytes: as the setting says.
const INFLIGHT_BYTES_MIN: usize = 64 << 10;

/// The limits that hold; `null` is none.
#[derive(Debug, Serialize)]
struct Limits {
    max_keys_per_second: Option<NonZeroU64>,
    max_bytes_per_second: Option<NonZeroU64>,
    max_inflight_bytes: usize,
    target_latency_max_ms: Option<u128>,
}

/// What is to be changed: a field that is left out stays, `null` takes a limit away.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    #[serde(default, deserialize_with = "given")]
    max_keys_per_second: Option<Option<NonZeroU64>>,
    #[serde(default, deserialize_with = "given")]
    max_bytes_per_second: Option<Option<NonZeroU64>>,
    max_inflight_bytes: Option<usize>,
    #[serde(default, deserialize_with = "given")]
    target_latency_max_ms: Option<Option<NonZeroU64>>,
}

/// A field that is there, be it `null`.
fn given<'de, D: Deserializer<'de>>(field: D) -> Result<Option<Option<NonZeroU64>>, D::Error> {
    Option::deserialize(field).map(Some)
}

/// The limits of a window.
pub(super) fn shown(window: &Window) -> String {
    json(window.throttle())
}

/// Changes the limits of a window as a JSON object says, and shows them.
///
/// # Errors
/// Why it cannot be done; nothing was changed then.
pub(super) fn changed(window: &Window, object: &[u8]) -> Result<String, String> {
    let change: Change = serde_json::from_slice(object).map_err(|error| error.to_string())?;
    if change
        .max_inflight_bytes
        .is_some_and(|it| it < INFLIGHT_BYTES_MIN)
    {
        return Err(format!(
            "max_inflight_bytes is less than {INFLIGHT_BYTES_MIN}"
        ));
    }
    let throttle = window.change(|throttle| {
        if let Some(rate) = change.max_keys_per_second {
            throttle.keys_per_s = rate;
        }
        if let Some(rate) = change.max_bytes_per_second {
            throttle.bytes_per_s = rate;
        }
        if let Some(bytes) = change.max_inflight_bytes {
            throttle.inflight_bytes_max = bytes;
        }
        if let Some(ms) = change.target_latency_max_ms {
            throttle.latency_max = ms.map(|ms| Duration::from_millis(ms.get()));
        }
    });
    let limits = json(throttle);
    tracing::info!("the limits are changed: {limits}");
    Ok(limits)
}

fn json(throttle: Throttle) -> String {
    to_json(&Limits {
        max_keys_per_second: throttle.keys_per_s,
        max_bytes_per_second: throttle.bytes_per_s,
        max_inflight_bytes: throttle.inflight_bytes_max,
        target_latency_max_ms: throttle.latency_max.map(|it| it.as_millis()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_stays_and_null_takes_a_limit_away() {
        let window = Window::default();
        let limits = |keys: &str, bytes: &str, inflight: usize, latency: &str| {
            format!(
                "{{\"max_keys_per_second\":{keys},\"max_bytes_per_second\":{bytes},\
                 \"max_inflight_bytes\":{inflight},\"target_latency_max_ms\":{latency}}}"
            )
        };
        let most = 8 << 20;
        for (change, expected) in [
            ("{}", limits("null", "null", most, "null")),
            (
                "{\"max_keys_per_second\": 5, \"target_latency_max_ms\": 20}",
                limits("5", "null", most, "20"),
            ),
            (
                "{\"max_bytes_per_second\": 9, \"max_inflight_bytes\": 65536}",
                limits("5", "9", 65536, "20"),
            ),
            (
                "{\"max_keys_per_second\": null, \"target_latency_max_ms\": null}",
                limits("null", "9", 65536, "null"),
            ),
        ] {
            assert_eq!(changed(&window, change.as_bytes()), Ok(expected.clone()));
            assert_eq!(shown(&window), expected);
        }
    }

    #[test]
    fn what_cannot_be_is_refused_and_changes_nothing() {
        let window = Window::default();
        for change in [
            "",
            "[]",
            "{\"max_keys_per_second\": 0}",
            "{\"max_keys_per_second\": -1}",
            "{\"max_keys_per_second\": \"5\"}",
            "{\"max_inflight_bytes\": null, \"max_keys_per_second\": 5, \"x\": 1}",
            "{\"max_inflight_bytes\": 65535, \"max_keys_per_second\": 5}",
            "{\"keys\": 5}",
        ] {
            assert!(changed(&window, change.as_bytes()).is_err(), "{change}");
            assert_eq!(window.throttle(), Throttle::default());
        }
    }
}
