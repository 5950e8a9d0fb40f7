//! One value, read at the altitude that was chosen for it.

use super::convert::Conversion;
use super::cursor::{Cursor, Stop};
use super::error::ErrorKind;
use super::event::{Altitude, Event, Header};
use super::limits::Limits;
use super::opcode;
use super::template::Names;
use super::value::stored::Stored;
use super::value::template_hash::TemplateHash;
use super::value::{Value, module};
use super::value_type::{Family, ValueType};
use super::walk::{Op, Walk, Walked};

/// A value that is being read, from behind its key on.
#[derive(Debug)]
pub(crate) struct Reading {
    value_type: ValueType,
    /// The fields of a hash that says nothing without them.
    template: Option<Names>,
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
    /// A body whose end is only found by reading it, which is at hand as a whole.
    Whole(Altitude),
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
            template: None,
            step: Step::Chosen(Altitude::Elements),
        }
    }

    /// Goes on with the parts of a value that has begun.
    pub(crate) fn of(value_type: ValueType, value: Value) -> Self {
        Self {
            value_type,
            template: None,
            step: Step::Elements(value),
        }
    }

    /// Begins a hash whose field names stand in a template.
    pub(crate) fn with_template(value_type: ValueType, names: Names) -> Self {
        Self {
            template: Some(names),
            ..Self::new(value_type)
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
                    let altitude = match *altitude {
                        Altitude::Content => content(self.value_type, cursor)?,
                        altitude => altitude,
                    };
                    self.step = match &self.template {
                        None if opcode::brings_names(self.value_type) => {
                            begin_with_names(self.value_type, altitude, cursor)?
                        }
                        None => begin(self.value_type, altitude, cursor)?,
                        Some(names) => begin_template(self.value_type, altitude, names, cursor)?,
                    };
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
                Step::Whole(altitude) => {
                    let altitude = *altitude;
                    return self.whole(altitude, cursor, limits);
                }
                Step::End => return Ok(Event::ValueEnd),
            }
        }
    }

    /// Reads ahead to the end of a body and says of it what the altitude asks for.
    fn whole(
        &mut self,
        altitude: Altitude,
        cursor: &mut Cursor<'_>,
        limits: &Limits,
    ) -> Result<Event, Stop> {
        let mut ahead = cursor.ahead(0);
        let mut value = Value::new(self.value_type);
        while value.next(&mut ahead, limits)?.is_some() {}
        let len = ahead.pos() - cursor.pos();
        if let Altitude::Measure { bytes_max } = altitude {
            self.step = Step::Chosen(Altitude::Elements);
            let bytes = (len <= bytes_max).then_some(len as u64);
            return Ok(Event::Measured { bytes });
        }
        self.step = Step::End;
        let body = cursor.slice(len)?;
        Ok(match altitude {
            Altitude::Skip => Event::ValueEnd,
            Altitude::Raw { bytes_max } if len <= bytes_max => Event::Body(body),
            _ => Event::BodyPiece(body),
        })
    }

    /// Walks ahead; nothing is said where the body is too long to be said whole.
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
            (Walked::TooFar, Goal::Raw) => self.step = Step::Chosen(Altitude::Content),
            (found, Goal::Measure) => {
                let bytes = (found == Walked::All).then_some(*walked as u64);
                self.step = Step::Chosen(Altitude::Elements);
                return Ok(Some(Event::Measured { bytes }));
            }
        }
        Ok(None)
    }
}

fn begin(value_type: ValueType, altitude: Altitude, cursor: &Cursor<'_>) -> Result<Step, Stop> {
    let Some(layout) = opcode::layout(value_type) else {
        let header = Header {
            valkey: value_type.family == Family::Valkey,
            version: 0,
        };
        return Err(cursor.bad(ErrorKind::unsupported(value_type.byte, header)));
    };
    Ok(match altitude {
        Altitude::Raw { bytes_max } => ahead(Goal::Raw, Walk::new(layout), bytes_max as u64),
        Altitude::Measure { bytes_max } => {
            ahead(Goal::Measure, Walk::new(layout), bytes_max as u64)
        }
        Altitude::Converted { to } if to != value_type || is_rewritten(to) => {
            let conversion = Conversion::new(value_type, to).map_err(|kind| cursor.bad(kind))?;
            Step::Converted(Box::new(conversion))
        }
        Altitude::Pieces | Altitude::Converted { .. } => Step::Pieces(Walk::new(layout)),
        Altitude::Skip => Step::Skip(Walk::new(layout)),
        Altitude::Encoded => Step::Encoded(Stored::new(value_type)),
        Altitude::Elements | Altitude::Content => Step::Elements(Value::new(value_type)),
    })
}

/// The altitude at which there is something to say; a module's value begins with whose it is.
fn content(value_type: ValueType, cursor: &Cursor<'_>) -> Result<Altitude, Stop> {
    let has_parts = match value_type.is_module() {
        true => module::has_parts(cursor.ahead(0).length()?),
        false => !value_type.is_opaque(),
    };
    Ok(match has_parts {
        true => Altitude::Elements,
        false => Altitude::Pieces,
    })
}

/// Whether a body is not simply copied although it keeps its type.
fn is_rewritten(value_type: ValueType) -> bool {
    let has_expiries = matches!(
        (value_type.byte, value_type.family),
        (22, Family::Valkey) | (24, Family::Redis)
    );
    value_type.is_stream() || value_type.is_module() || has_expiries
}

/// The end of a body that brings its field names with it is only found by reading it. There are
/// none in files.
fn begin_with_names(
    value_type: ValueType,
    altitude: Altitude,
    cursor: &Cursor<'_>,
) -> Result<Step, Stop> {
    let value = Value::new(value_type);
    Ok(match altitude {
        Altitude::Elements | Altitude::Encoded | Altitude::Content => Step::Elements(value),
        Altitude::Converted { to } if to != value_type => gather(value, value_type, to, cursor)?,
        altitude => Step::Whole(altitude),
    })
}

/// A body that says nothing by itself comes as fields wherever any of it is asked for.
fn begin_template(
    value_type: ValueType,
    altitude: Altitude,
    names: &Names,
    cursor: &Cursor<'_>,
) -> Result<Step, Stop> {
    let packed = value_type.byte == opcode::TYPE_TEMPLATE_LISTPACK;
    let walk = match packed {
        true => Walk::new(&[Op::Str]),
        false => Walk::strings_behind_length(names.len() as u64),
    };
    let value = Value::TemplateHash(TemplateHash::of_template(packed, names.clone()));
    Ok(match altitude {
        Altitude::Measure { bytes_max } => ahead(Goal::Measure, walk, bytes_max as u64),
        Altitude::Skip => Step::Skip(walk),
        Altitude::Converted { to } => gather(value, value_type, to, cursor)?,
        Altitude::Raw { .. }
        | Altitude::Pieces
        | Altitude::Encoded
        | Altitude::Elements
        | Altitude::Content => Step::Elements(value),
    })
}

fn gather(value: Value, from: ValueType, to: ValueType, cursor: &Cursor<'_>) -> Result<Step, Stop> {
    let conversion = Conversion::of_value(value, from, to).map_err(|kind| cursor.bad(kind))?;
    Ok(Step::Converted(Box::new(conversion)))
}

fn ahead(goal: Goal, walk: Walk, bytes_max: u64) -> Step {
    Step::Ahead {
        goal,
        walk,
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
