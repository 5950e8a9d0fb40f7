//! One value, read at the altitude that was chosen for it.

use super::convert::Conversion;
use super::cursor::{Cursor, Stop};
use super::error::ErrorKind;
use super::event::{Altitude, Event, Header, ValueType};
use super::limits::Limits;
use super::opcode;
use super::parser::unsupported;
use super::value::Value;
use super::value::stored::Stored;
use super::walk::{Op, Walk, Walked};

/// A value that is being read, from behind its key on.
#[derive(Debug)]
pub(crate) struct Reading {
    value_type: ValueType,
    step: Step,
}

#[derive(Debug)]
enum Step {
    /// Nothing was read yet.
    Chosen(Altitude),
    /// Looks for the end of the body, which stays in the input until it is found.
    Ahead {
        goal: Goal,
        walk: Walk,
        /// How far the walk came, in bytes.
        walked: usize,
        bytes_max: u64,
    },
    Pieces(Walk),
    Skip(Walk),
    Encoded(Stored),
    Elements(Value),
    Converted(Box<Conversion>),
    /// Everything but the end was said.
    End,
}

/// What the end of a body is looked for.
#[derive(Debug, Clone, Copy)]
enum Goal {
    /// To deliver it whole.
    Raw,
    /// To say how long it is.
    Measure,
}

impl Reading {
    /// Begins at [`Altitude::Elements`], unless another one is chosen.
    pub(crate) fn new(value_type: ValueType) -> Self {
        Self {
            value_type,
            step: Step::Chosen(Altitude::Elements),
        }
    }

    /// Goes on with the parts of a value that has begun.
    pub(crate) fn of(value_type: ValueType, value: Value) -> Self {
        Self {
            value_type,
            step: Step::Elements(value),
        }
    }

    /// Chooses the altitude, as long as nothing was taken over.
    pub(crate) fn choose(&mut self, altitude: Altitude) {
        if let Step::Chosen(chosen) = &mut self.step {
            *chosen = altitude;
        }
    }

    /// The next event; the last one is that for which [`Event::ends_value`].
    pub(crate) fn next(&mut self, cursor: &mut Cursor<'_>, limits: &Limits) -> Result<Event, Stop> {
        loop {
            match &mut self.step {
                Step::Chosen(altitude) => {
                    self.step = begin(self.value_type, *altitude, limits, cursor)?;
                }
                Step::Ahead { .. } => {
                    if let Some(event) = self.ahead(cursor)? {
                        return Ok(event);
                    }
                }
                Step::Pieces(walk) => {
                    let (piece, ended) = piece(walk, cursor)?;
                    if ended {
                        self.step = Step::End;
                    }
                    return Ok(piece);
                }
                Step::Skip(walk) => {
                    walk.run(cursor, u64::MAX)?;
                    return Ok(Event::ValueEnd);
                }
                Step::Encoded(stored) => {
                    let event = stored.next(cursor, limits)?;
                    return Ok(event.unwrap_or(Event::ValueEnd));
                }
                Step::Elements(value) => {
                    let part = value.next(cursor, limits)?;
                    return Ok(part.map_or(Event::ValueEnd, Event::Part));
                }
                Step::Converted(conversion) => return conversion.next(cursor, limits),
                Step::End => return Ok(Event::ValueEnd),
            }
        }
    }

    /// Walks ahead; nothing is said where the value is read by element instead.
    fn ahead(&mut self, cursor: &mut Cursor<'_>) -> Result<Option<Event>, Stop> {
        let Step::Ahead {
            goal,
            walk,
            walked,
            bytes_max,
        } = &mut self.step
        else {
            return Ok(None);
        };
        let mut ahead = cursor.ahead(*walked);
        let end_max = cursor.offset().saturating_add(*bytes_max);
        let run = walk.run(&mut ahead, end_max);
        *walked = ahead.committed() - cursor.pos();
        match (run?, *goal) {
            (Walked::All, Goal::Raw) => {
                let body = cursor.slice(*walked)?;
                self.step = Step::End;
                return Ok(Some(Event::Body(body)));
            }
            (Walked::TooFar, Goal::Raw) if self.value_type.byte == opcode::TYPE_MODULE => {
                let (size, limit) = (bytes_max.saturating_add(1), *bytes_max);
                return Err(cursor.bad(ErrorKind::Limit {
                    what: "the value of a module",
                    size,
                    limit,
                }));
            }
            (Walked::TooFar, Goal::Raw) => {
                self.step = Step::Elements(Value::new(self.value_type));
            }
            (found, Goal::Measure) => {
                let bytes = (found == Walked::All).then_some(*walked as u64);
                self.step = Step::Chosen(Altitude::Elements);
                return Ok(Some(Event::Measured { bytes }));
            }
        }
        Ok(None)
    }
}

fn begin(
    value_type: ValueType,
    altitude: Altitude,
    limits: &Limits,
    cursor: &Cursor<'_>,
) -> Result<Step, Stop> {
    let Some(layout) = opcode::layout(value_type) else {
        let header = Header {
            valkey: value_type.valkey,
            version: 0,
        };
        return Err(cursor.bad(unsupported(value_type.byte, header)));
    };
    Ok(match altitude {
        Altitude::Raw { .. } if value_type.byte == opcode::TYPE_MODULE => {
            ahead(Goal::Raw, layout, limits.module_body_max)
        }
        Altitude::Raw { bytes_max } => ahead(Goal::Raw, layout, bytes_max as u64),
        Altitude::Measure { bytes_max } => ahead(Goal::Measure, layout, bytes_max as u64),
        Altitude::Converted { to } if to != value_type || is_rewritten(to) => {
            let conversion = Conversion::new(value_type, to).map_err(|kind| cursor.bad(kind))?;
            Step::Converted(Box::new(conversion))
        }
        Altitude::Pieces | Altitude::Converted { .. } => Step::Pieces(Walk::new(layout)),
        Altitude::Skip => Step::Skip(Walk::new(layout)),
        Altitude::Encoded => Step::Encoded(Stored::new(value_type)),
        Altitude::Elements => Step::Elements(Value::new(value_type)),
    })
}

/// Whether a body is not simply copied although it keeps its type.
fn is_rewritten(value_type: ValueType) -> bool {
    value_type.is_stream() || value_type.is_module()
}

fn ahead(goal: Goal, layout: &'static [Op], bytes_max: u64) -> Step {
    Step::Ahead {
        goal,
        walk: Walk::new(layout),
        walked: 0,
        bytes_max,
    }
}

/// What is at hand of the body, and whether that is its end. Before an error comes what stands
/// before it, so that the error has the same place however the input was cut.
fn piece(walk: &mut Walk, cursor: &mut Cursor<'_>) -> Result<(Event, bool), Stop> {
    let mut ahead = cursor.ahead(0);
    let run = walk.run(&mut ahead, u64::MAX);
    let walked = ahead.committed() - cursor.pos();
    let ended = match run {
        Ok(_) => true,
        Err(stop) if walked == 0 => return Err(stop),
        Err(_) => false,
    };
    Ok((Event::BodyPiece(cursor.slice(walked)?), ended))
}
