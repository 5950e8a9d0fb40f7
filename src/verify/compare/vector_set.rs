//! Vector sets: by their settings, and by the vectors and attributes of their elements.
//!
//! The links between the elements are an index, which each server builds anew.

use crate::{
    rdb::{Error, Part, Quantization, Vector, VectorSet, payload::Payload},
    verify::{First, Kind, Place},
};

use super::{Finds, first_shown, merge, name, parts::Parts, text::Text};

pub(super) fn compare(source: &Payload, target: &Payload, finds: &mut Finds) -> Result<(), Error> {
    let ((ours, source), (theirs, target)) = (read(source)?, read(target)?);
    settings(finds, &ours, &theirs);
    if finds.has(Kind::Value) {
        // Every vector differs then.
        return Ok(());
    }
    let dimensions = ours.dimensions;
    merge::named(source, target, |_, ours, theirs| {
        pair(finds, dimensions, ours, theirs);
    });
    Ok(())
}

/// Compares what VINFO tells about two vector sets, beside how many elements there are.
pub(in crate::verify) fn settings(finds: &mut Finds, source: &VectorSet, target: &VectorSet) {
    let quantization = |of: &VectorSet| match of.quantization {
        Quantization::None => "f32",
        Quantization::Int8 => "int8",
        Quantization::Binary => "bin",
    };
    let text = |number: u64| Some(number.to_string());
    let settings = |of: &VectorSet| {
        [
            ("quant-type", Some(quantization(of).to_owned())),
            ("vector-dim", text(of.dimensions)),
            ("projection-input-dim", of.input_dimensions.and_then(text)),
            ("hnsw-m", text(of.links_max)),
        ]
    };
    let pairs = settings(source).into_iter().zip(settings(target));
    for ((setting, ours), (_, theirs)) in pairs {
        if ours != theirs {
            finds.add(Kind::Value, || {
                first_shown(Place::Counter(setting), ours, theirs)
            });
        }
    }
}

/// Compares an element of vector sets with the same settings; `None` where a side does not have it.
pub(in crate::verify) fn pair(
    finds: &mut Finds,
    dimensions: u64,
    source: Option<&Vector>,
    target: Option<&Vector>,
) {
    let Some(element) = source.or(target).map(|vector| &vector.element) else {
        return;
    };
    let place = || Place::Vector(name(element));
    match (source, target) {
        (Some(ours), Some(theirs)) => {
            if !same_vector(ours, theirs) {
                finds.add_named(Kind::Value, element, || {
                    let [ours, theirs] = [ours, theirs].map(|of| shown(of, dimensions));
                    first_shown(place(), Some(ours), Some(theirs))
                });
            } else if ours.attributes != theirs.attributes {
                finds.add_named(Kind::Value, element, || {
                    let [ours, theirs] = [ours, theirs].map(|of| of.attributes.as_deref());
                    First::at(place(), ours, theirs)
                });
            }
        }
        _ => finds.add_named(Kind::Value, element, || {
            let [ours, theirs] = [source, target].map(|of| of.map(|of| shown(of, dimensions)));
            first_shown(place(), ours, theirs)
        }),
    }
}

/// By the bits that are stored: servers copy them, and compute none anew.
fn same_vector(source: &Vector, target: &Vector) -> bool {
    source.blob == target.blob
        && source.norm.to_bits() == target.norm.to_bits()
        && source.range.to_bits() == target.range.to_bits()
}

/// The first components, as many as a report may show.
fn shown(vector: &Vector, dimensions: u64) -> String {
    const COMPONENTS_MAX: u64 = 32;
    let components = vector.components(dimensions.min(COMPONENTS_MAX) as usize);
    let texts: Vec<String> = components.map(|component| component.to_string()).collect();
    texts.join(" ")
}

fn read(payload: &Payload) -> Result<(VectorSet, Vec<(Text, Vector)>), Error> {
    let (mut parts, mut vectors) = (Parts::of(payload), Vec::new());
    let mut set = VectorSet {
        dimensions: 0,
        elements: 0,
        quantization: Quantization::None,
        links_max: 0,
        input_dimensions: None,
    };
    while let Some(part) = parts.next()? {
        match part {
            Part::VectorSet(head) => set = head,
            Part::Vector(vector) => {
                vectors.push((Text::Shared(vector.element.clone()), vector));
            }
            _ => {}
        }
    }
    Ok((set, vectors))
}
