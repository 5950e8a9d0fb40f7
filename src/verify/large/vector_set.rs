//! Vector sets: by the names of their elements, to each of which both sides are asked.
//!
//! From Redis 8.4 on the names come in pages; before, all of them at once.

use bytes::Bytes;

use crate::{
    rdb::{Quantization, Vector, VectorSet},
    resp::Reply,
    verify::{
        Kind,
        compare::{
            Finds,
            vector_set::{pair as compare_pair, settings},
        },
        pages::{
            One, PageSize, ValueError,
            replies::{self, Fields},
        },
        peer::Request,
    },
};

use super::Pair;

/// Names that are asked for at once.
const NAMES_PER_PAGE: usize = 1000;

pub(super) async fn compare(
    pair: &mut Pair<'_>,
    key: &Bytes,
    finds: &mut Finds,
) -> Result<(), ValueError> {
    let (mut source, mut target) = pair.split();
    let (ours, theirs) = tokio::join!(info(&mut source, key), info(&mut target, key));
    let (ours, theirs) = (ours?, theirs?);
    settings(finds, &ours, &theirs);
    if finds.has(Kind::Value) {
        // Every vector differs then.
        return Ok(());
    }
    elements(pair, key, &ours, finds, Walked::Source).await?;
    if ours.elements != theirs.elements || finds.has(Kind::Value) {
        elements(pair, key, &ours, finds, Walked::Target).await?;
    }
    Ok(())
}

/// Whose names are gone through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Walked {
    Source,
    Target,
}

/// Compares the elements that one side has.
async fn elements(
    pair: &mut Pair<'_>,
    key: &Bytes,
    set: &VectorSet,
    finds: &mut Finds,
    walked: Walked,
) -> Result<(), ValueError> {
    let (mut source, mut target) = pair.split();
    let mut names = match walked {
        Walked::Source => Names::of(&mut source, key).await?,
        Walked::Target => Names::of(&mut target, key).await?,
    };
    let mut size = PageSize::new();
    loop {
        let page = match walked {
            Walked::Source => names.next(&mut source, key).await?,
            Walked::Target => names.next(&mut target, key).await?,
        };
        if page.is_empty() {
            return Ok(());
        }
        let mut rest = &page[..];
        while !rest.is_empty() {
            let (some, after) = rest.split_at(rest.len().min(size.count() as usize));
            let (ours, theirs) = tokio::join!(
                vectors(&mut source, key, some, set.quantization),
                vectors(&mut target, key, some, set.quantization),
            );
            let (ours, theirs) = (ours?, theirs?);
            let bytes = ours.iter().flatten().map(|vector| vector.blob.len()).sum();
            size.learn(some.len(), bytes);
            for (ours, theirs) in ours.iter().zip(&theirs) {
                compare_pair(finds, set.dimensions, ours.as_ref(), theirs.as_ref());
            }
            rest = after;
        }
    }
}

/// The names of the elements of one side.
#[derive(Debug)]
enum Names {
    /// VRANGE goes on from here.
    From(Vec<u8>),
    /// What VRANDMEMBER answered, as far as it is not gone through.
    Left(std::vec::IntoIter<Bytes>),
}

impl Names {
    /// Before the first one.
    async fn of(one: &mut One<'_>, key: &Bytes) -> Result<Names, ValueError> {
        if one.can.vector_range {
            return Ok(Names::From(b"-".to_vec()));
        }
        let mut request = Request::default();
        // More than there are: then each comes once.
        request.add(&[b"VRANDMEMBER", key, b"1000000000"]);
        let all = one.ask(request).await?.pop().and_then(replies::strings);
        let all = all.ok_or_else(|| one.odd("VRANDMEMBER"))?;
        Ok(Names::Left(all.into_iter()))
    }

    /// The next ones, none behind the last.
    async fn next(&mut self, one: &mut One<'_>, key: &Bytes) -> Result<Vec<Bytes>, ValueError> {
        let start = match self {
            Names::Left(names) => return Ok(names.take(NAMES_PER_PAGE).collect()),
            Names::From(start) => start,
        };
        let mut request = Request::default();
        let count = NAMES_PER_PAGE.to_string();
        request.add(&[b"VRANGE", key, start, b"+", count.as_bytes()]);
        let page = one.ask(request).await?.pop().and_then(replies::strings);
        let page = page.ok_or_else(|| one.odd("VRANGE"))?;
        if let Some(last) = page.last() {
            *start = [b"(", &last[..]].concat();
        }
        Ok(page)
    }
}

/// The settings of a vector set.
async fn info(one: &mut One<'_>, key: &Bytes) -> Result<VectorSet, ValueError> {
    let mut request = Request::default();
    request.add(&[b"VINFO", key]);
    let fields = match one.ask(request).await?.pop() {
        Some(Reply::Array(None) | Reply::Bulk(None)) => return Err(ValueError::Moved),
        reply => reply.and_then(Fields::of).unwrap_or_default(),
    };
    let quantization = match fields.get("quant-type") {
        Some(Reply::Simple(name) | Reply::Bulk(Some(name))) => match &name[..] {
            b"f32" => Some(Quantization::None),
            b"int8" => Some(Quantization::Int8),
            b"bin" => Some(Quantization::Binary),
            _ => None,
        },
        _ => None,
    };
    let read = || {
        Some(VectorSet {
            dimensions: fields.number("vector-dim")?,
            elements: fields.number("size")?,
            quantization: quantization?,
            links_max: fields.number("hnsw-m")?,
            input_dimensions: fields
                .number("projection-input-dim")
                .filter(|count| *count > 0),
        })
    };
    read().ok_or_else(|| one.odd("VINFO"))
}

/// The vectors and attributes of these elements, `None` for those that are none.
async fn vectors(
    one: &mut One<'_>,
    key: &Bytes,
    names: &[Bytes],
    quantization: Quantization,
) -> Result<Vec<Option<Vector>>, ValueError> {
    let mut request = Request::default();
    for name in names {
        request.add(&[b"VEMB", key, name, b"RAW"]);
        request.add(&[b"VGETATTR", key, name]);
    }
    let mut replies = one.ask(request).await?.into_iter();
    let mut vectors = Vec::with_capacity(names.len());
    for name in names {
        let vector = match (replies.next(), replies.next().and_then(replies::nullable)) {
            (Some(Reply::Array(None) | Reply::Bulk(None)), _) => None,
            (Some(raw), Some(attributes)) => {
                let vector = vector(name, raw, attributes, quantization);
                Some(vector.ok_or_else(|| one.odd("VEMB"))?)
            }
            _ => return Err(one.odd("VGETATTR")),
        };
        vectors.push(vector);
    }
    Ok(vectors)
}

/// What VEMB RAW answers: how it is quantized, the blob, how long the vector was, and of integers
/// what the largest stands for.
fn vector(
    name: &Bytes,
    raw: Reply,
    attributes: Option<Bytes>,
    quantization: Quantization,
) -> Option<Vector> {
    let mut raw = replies::strings(raw)?.into_iter().skip(1);
    let blob = raw.next()?;
    let norm = replies::double(&raw.next()?)? as f32;
    let range = match raw.next() {
        Some(range) => replies::double(&range)? as f32,
        None => 0.0,
    };
    Some(Vector {
        element: name.clone(),
        attributes: attributes.filter(|text| !text.is_empty()),
        quantization,
        blob,
        norm,
        range,
    })
}
