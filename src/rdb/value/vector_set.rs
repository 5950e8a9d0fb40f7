//! Vector sets (module `vectorset`, encoding version 0, built into Redis from 8.0 on): settings,
//! then each element with its vector (redis vector-sets/vset.c VectorSetRdbSave, hnsw.c
//! hnsw_serialize_node).
//!
//! ```text
//! uint dimensions | uint elements | uint quantization + M << 8 | uint flags
//! flag 1: uint input dimensions | string projection
//! elements * (string name | flag 2: string attributes | string vector | uint p | p * uint)
//! end
//!
//! the last parameter of p: norm of the vector as it was given, range of its components << 32
//! ```
//!
//! The head, the kinds of items and the end are read here for whoever reads a vector set; the strings
//! and parameters between them as it suits him: delivered, or copied (`convert/module.rs`).
//!
//! The other parameters are the links of the graph, which is made anew wherever the elements go.

use bytes::Bytes;

use crate::rdb::cursor::{Cursor, Stop};
use crate::rdb::limits::Limits;
use crate::rdb::part::{Part, Quantization, Vector, VectorSet};
use crate::rdb::walk::{Op, Walk};

use super::module::{ITEM_END, ITEM_SIGNED, ITEM_STRING, ITEM_UNSIGNED};

const HAS_PROJECTION: u64 = 1;
const HAS_ATTRIBUTES: u64 = 2;

/// A vector set that is being read.
#[derive(Debug)]
pub(crate) struct VectorSetReader {
    step: Step,
    quantization: Quantization,
    /// How long each vector is, in bytes.
    vector_bytes: u64,
    has_attributes: bool,
    left: u64,
    element: Option<Bytes>,
    attributes: Option<Bytes>,
    vector: Option<Bytes>,
}

#[derive(Debug)]
enum Step {
    Head,
    Projection(Walk),
    Elements,
    /// So many numbers of the graph are left, the last of which is ours.
    Parameters {
        left: u64,
    },
    Done,
}

impl VectorSetReader {
    /// Begins behind the module's id.
    pub(crate) fn new() -> Self {
        Self {
            step: Step::Head,
            quantization: Quantization::None,
            vector_bytes: 0,
            has_attributes: false,
            left: 0,
            element: None,
            attributes: None,
            vector: None,
        }
    }

    pub(crate) fn next(
        &mut self,
        cursor: &mut Cursor<'_>,
        limits: &Limits,
    ) -> Result<Option<Part>, Stop> {
        loop {
            match &mut self.step {
                Step::Head => return self.head(cursor).map(Some),
                Step::Projection(walk) => {
                    walk.run(cursor, u64::MAX)?;
                    self.step = Step::Elements;
                }
                Step::Elements if self.left == 0 => {
                    end(cursor)?;
                    self.step = Step::Done;
                }
                Step::Elements => self.strings(cursor, limits)?,
                Step::Parameters { left: 0 } => {
                    return Err(cursor.corrupt("an element of a vector set has no norm"));
                }
                Step::Parameters { left } => {
                    let parameter = unsigned(cursor)?;
                    *left -= 1;
                    if *left == 0 {
                        return self.vector(parameter, cursor).map(Some);
                    }
                }
                Step::Done => return Ok(None),
            }
            cursor.commit();
        }
    }

    fn head(&mut self, cursor: &mut Cursor<'_>) -> Result<Part, Stop> {
        let head = Head::read(cursor)?;
        self.vector_bytes = head.vector_bytes;
        self.quantization = head.set.quantization;
        self.has_attributes = head.has_attributes;
        self.left = head.set.elements;
        self.step = match head.has_projection() {
            true => Step::Projection(Walk::new(&[Op::Str])),
            false => Step::Elements,
        };
        Ok(Part::VectorSet(head.set))
    }

    /// Reads the next string of an element, or how many parameters follow them.
    fn strings(&mut self, cursor: &mut Cursor<'_>, limits: &Limits) -> Result<(), Stop> {
        let string = if self.element.is_none() {
            &mut self.element
        } else if self.has_attributes && self.attributes.is_none() {
            &mut self.attributes
        } else if self.vector.is_none() {
            &mut self.vector
        } else {
            let left = unsigned(cursor)?;
            self.step = Step::Parameters { left };
            return Ok(());
        };
        string_item(cursor)?;
        *string = Some(cursor.text(limits)?);
        Ok(())
    }

    fn vector(&mut self, parameter: u64, cursor: &Cursor<'_>) -> Result<Part, Stop> {
        let blob = self.vector.take().unwrap_or_default();
        if blob.len() as u64 != self.vector_bytes {
            return Err(cursor.corrupt("a vector has other dimensions than its set"));
        }
        let norm = f32::from_bits(parameter as u32);
        let range = match self.quantization {
            Quantization::Int8 => f32::from_bits((parameter >> 32) as u32),
            // Redis 8.0 stores any bits there, NaN among them (measured).
            Quantization::None | Quantization::Binary => 0.0,
        };
        // Servers do add vectors whose norm overflows; their components are kept, as zero mostly.
        if norm.is_nan() || !range.is_finite() {
            return Err(cursor.corrupt("impossible norm of a vector"));
        }
        self.left -= 1;
        self.step = Step::Elements;
        Ok(Part::Vector(Vector {
            element: self.element.take().unwrap_or_default(),
            attributes: self.attributes.take().filter(|text| !text.is_empty()),
            quantization: self.quantization,
            blob,
            norm,
            range,
        }))
    }
}

/// What stands before the elements.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) set: VectorSet,
    /// Each element has a third string, between its name and its vector.
    pub(crate) has_attributes: bool,
    /// How long each vector is, in bytes.
    vector_bytes: u64,
}

impl Head {
    /// Reads it up to the string of the projection, if it has one.
    pub(crate) fn read(cursor: &mut Cursor<'_>) -> Result<Self, Stop> {
        let (dimensions, elements) = (unsigned(cursor)?, unsigned(cursor)?);
        let (settings, flags) = (unsigned(cursor)?, unsigned(cursor)?);
        let quantization = match settings & 0xff {
            0 => Quantization::None,
            1 => Quantization::Int8,
            2 => Quantization::Binary,
            _ => return Err(cursor.corrupt("undefined quantization of a vector set")),
        };
        let bytes = match quantization {
            Quantization::None => dimensions.checked_mul(4),
            Quantization::Int8 => Some(dimensions),
            Quantization::Binary => dimensions.div_ceil(64).checked_mul(8),
        };
        let impossible = || cursor.corrupt("impossible dimensions of a vector set");
        let vector_bytes = bytes.ok_or_else(impossible)?;
        let mut input_dimensions = None;
        if flags & HAS_PROJECTION != 0 {
            input_dimensions = Some(unsigned(cursor)?);
            string_item(cursor)?;
        }
        Ok(Self {
            set: VectorSet {
                dimensions,
                elements,
                quantization,
                links_max: settings >> 8 & 0xffff,
                input_dimensions,
            },
            has_attributes: flags & HAS_ATTRIBUTES != 0,
            vector_bytes,
        })
    }

    /// Whether a string with the projection follows.
    pub(crate) fn has_projection(&self) -> bool {
        self.set.input_dimensions.is_some()
    }
}

/// Reads the end behind the last element.
pub(crate) fn end(cursor: &mut Cursor<'_>) -> Result<(), Stop> {
    match cursor.length()? {
        ITEM_END => Ok(()),
        _ => Err(cursor.corrupt("a vector set goes on behind its elements")),
    }
}

/// Reads a number. Servers write signed ones as unsigned ones, and read either.
pub(crate) fn unsigned(cursor: &mut Cursor<'_>) -> Result<u64, Stop> {
    match cursor.length()? {
        ITEM_SIGNED | ITEM_UNSIGNED => cursor.length(),
        _ => Err(cursor.corrupt("a vector set has something else in the place of a number")),
    }
}

/// Reads that a string follows.
pub(crate) fn string_item(cursor: &mut Cursor<'_>) -> Result<(), Stop> {
    match cursor.length()? {
        ITEM_STRING => Ok(()),
        _ => Err(cursor.corrupt("a vector set has something else in the place of a string")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rdb::{Error, ErrorKind, Event, ValueParser, ValueType};

    const ID: &[u8] = b"\x81\xbd\xe7\x2d\xa2\xbb\x1e\xb4\x00";
    /// Two dimensions, one element, quantized to 8 bits, with attributes.
    const HEAD: &[u8] = b"\x02\x02\x02\x01\x02\x50\x01\x02\x02";
    const NAMED: &[u8] = b"\x05\x01e\x05\x02{}\x05\x02\x7f\x81";

    fn parts(content: &[&[u8]]) -> Result<Vec<Part>, Error> {
        let body = Bytes::from([ID, &content.concat()].concat());
        let mut parser = ValueParser::new(ValueType::common(7), body, Limits::default());
        let mut parts = Vec::new();
        while let Some(event) = parser.next_event()? {
            if let Event::Part(part) = event {
                parts.push(part);
            }
        }
        Ok(parts)
    }

    /// Three parameters, the last with these bits.
    fn parameters(norm: u32, range: u32) -> Vec<u8> {
        let last = (u64::from(range) << 32 | u64::from(norm)).to_be_bytes();
        [&b"\x02\x03\x02\x07\x02\x00\x02\x81"[..], &last, b"\0"].concat()
    }

    #[test]
    fn reads_settings_and_vectors() {
        let good = parameters(2_f32.to_bits(), 0.5_f32.to_bits());
        let head: &[u8] = b"\x02\x02\x02\x01\x02\x50\x01\x02\x02";
        let parts = parts(&[head, NAMED, &good]).unwrap();
        let [Part::VectorSet(set), Part::Vector(vector)] = &parts[..] else {
            panic!("{parts:?}");
        };
        let settings = (set.dimensions, set.elements, set.links_max);
        assert_eq!(settings, (2, 1, 16), "{set:?}");
        assert_eq!(vector.element, "e");
        assert_eq!(vector.attributes.as_deref(), Some(&b"{}"[..]));
        assert_eq!(vector.components(2).collect::<Vec<_>>(), [1.0, -1.0]);
    }

    /// Redis 8.0 stores whatever bits where there is no range.
    #[test]
    fn a_range_that_means_nothing_may_be_anything() {
        let floats = b"\x05\x01e\x05\x08\x9a\x99\x19\x3f\xcd\xcc\x4c\xbf";
        for range in [0, f32::NAN.to_bits(), f32::INFINITY.to_bits(), u32::MAX] {
            let last = parameters(5_f32.to_bits(), range);
            let parts = parts(&[b"\x02\x02\x02\x01\x02\x50\x00\x02\x00", floats, &last]);
            assert!(parts.is_ok(), "{range:08x}: {parts:?}");
            let quantized = super::tests::parts(&[HEAD, NAMED, &last]);
            assert_eq!(quantized.is_ok(), range == 0, "{range:08x}");
        }
    }

    #[test]
    fn gives_components_back_as_far_as_they_were_kept() {
        let floats: Vec<u8> = [0.6_f32, -0.8]
            .iter()
            .flat_map(|f| f.to_le_bytes())
            .collect();
        for (quantization, blob, expected) in [
            (Quantization::None, floats, vec![3.0, -4.0]),
            (Quantization::Int8, vec![127, 0x81], vec![2.5, -2.5]),
            (
                Quantization::Binary,
                vec![2, 0, 0, 0, 0, 0, 0, 0],
                vec![-1.0, 1.0],
            ),
        ] {
            let vector = Vector {
                element: Bytes::new(),
                attributes: None,
                quantization,
                blob: blob.into(),
                norm: 5.0,
                range: 0.5,
            };
            let components: Vec<_> = vector.components(2).collect();
            assert_eq!(components, expected, "{quantization:?}");
        }
    }

    #[test]
    fn vectors_may_be_infinitely_long() {
        let last = parameters(f32::INFINITY.to_bits(), 0);
        let parts = parts(&[HEAD, NAMED, &last]).unwrap();
        let Some(Part::Vector(vector)) = parts.last() else {
            panic!("{parts:?}");
        };
        assert_eq!(vector.norm, f32::INFINITY);
        assert!(vector.components(2).all(f32::is_finite));
    }

    #[test]
    fn refuses_what_no_server_writes() {
        let good = parameters(1, 1);
        assert!(parts(&[HEAD, NAMED, &good]).is_ok());
        let more = [&good[..good.len() - 1], b"\x02\x05\0"].concat();
        for (name, content) in [
            (
                "quantization",
                &[&b"\x02\x02\x02\x01\x02\x03\x02\x00"[..]][..],
            ),
            ("a float for a number", &[b"\x03\0\0\0\0"]),
            ("a number for a string", &[HEAD, b"\x02\x01"]),
            (
                "other dimensions",
                &[HEAD, b"\x05\x01e\x05\0\x05\x01\x7f", &good],
            ),
            ("no parameters", &[HEAD, NAMED, b"\x02\0\0"]),
            (
                "not a number",
                &[HEAD, NAMED, &parameters(f32::NAN.to_bits(), 0)],
            ),
            ("more than it says", &[HEAD, NAMED, &more]),
            (
                "dimensions of 2^64-1",
                &[b"\x02\x81\xff\xff\xff\xff\xff\xff\xff\xff\x02\x01\x02\0\x02\0"],
            ),
        ] {
            let error = parts(content).unwrap_err();
            assert!(
                matches!(error.kind, ErrorKind::Corrupt(_)),
                "{name}: {error}"
            );
        }
    }
}
