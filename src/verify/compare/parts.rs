//! The logical content of a payload, part by part.

use crate::rdb::{Error, Event, Limits, Part, ValueParser, payload::Payload};

/// The parts of a value.
#[derive(Debug)]
pub(super) struct Parts(ValueParser);

impl Parts {
    /// Reads from the first part on.
    pub(super) fn of(payload: &Payload) -> Parts {
        let body = payload.body.clone();
        Parts(ValueParser::new(
            payload.value_type,
            body,
            Limits::default(),
        ))
    }

    /// The next part, `None` after the last one.
    ///
    /// # Errors
    ///
    /// The body is damaged.
    pub(super) fn next(&mut self) -> Result<Option<Part>, Error> {
        while let Some(event) = self.0.next_event()? {
            if let Event::Part(part) = event {
                return Ok(Some(part));
            }
        }
        Ok(None)
    }
}
