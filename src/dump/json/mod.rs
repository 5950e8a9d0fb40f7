//! `rdb json`: an RDB as JSON Lines.
//!
//! Each line is one object; `docs/rdb.md` says what is in it. A key whose value is long comes as
//! several lines, its parts, each about as long as was asked for: the arrays (and the arrays in
//! objects) of the parts in a row are those of the value, and so are their strings.
//!
//! Elements are written as they are parsed, and a part that is complete is on its way out. So
//! what is held is one element, or one piece of a string, whatever the size of the value.

mod line;
mod nest;
mod string;
mod value;

use bytes::Bytes;

use crate::{
    keyspace::{Db, UnixMs},
    rdb::{Altitude, Checksum, Event, Header},
};

use super::{
    CopyError, Output, Reader,
    byte_string::{push_bytes, push_text},
};

use line::{KeyLines, Lines};

/// The version of what is written: it changes where something is renamed or means another thing.
const FORMAT: u32 = 1;

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JsonOptions {
    /// A part of a value ends with the element that makes it longer than this, in bytes of JSON.
    pub chunk_bytes: usize,
    /// What stands between the keys comes too: AUX fields, hints, data of modules.
    pub aux: bool,
}

/// Writes the keys that `reader` selects, and what belongs to no key, to `output`.
///
/// The limit `chunk_bytes_max` of the reader is the longest piece of a string in one line.
///
/// # Errors
/// Those of reading and of writing. What was written before is whole lines but for the last.
pub async fn write_json(
    reader: &mut Reader,
    output: &mut Output,
    options: JsonOptions,
) -> Result<(), CopyError> {
    let mut lines = Lines::new(output);
    let mut keys = KeyLines::new(options.chunk_bytes);
    while let Some(event) = reader.next().await? {
        keys.note(&event);
        match event {
            Event::Key(key) => {
                reader.choose(Altitude::Content);
                keys.begin(reader.db(), key);
            }
            Event::Part(part) => keys.part(&mut lines, part)?,
            Event::BodyPiece(bytes) => keys.body_piece(&mut lines, &bytes)?,
            Event::ValueEnd => keys.end(&mut lines)?,
            Event::KeyMeta { classes } => keys.metadata(&classes),
            Event::KeyFlags {
                sticky,
                memcached_flags,
            } => keys.flags(sticky, memcached_flags),
            Event::MemberExpiry {
                key,
                member,
                expire_at_ms,
            } => push_member_expiry(lines.text(), reader.db(), [&key, &member], expire_at_ms),
            Event::Header(header) => push_header(lines.text(), header),
            Event::Function { code } => push_function(lines.text(), &code),
            Event::End(checksum) => push_end(lines.text(), keys.written(), checksum),
            event if options.aux => push_aux(lines.text(), &event),
            _ => {}
        }
        lines.relieve()?;
    }
    lines.finish()?;
    reader.finish().await?;
    Ok(())
}

fn push_header(json: &mut Vec<u8>, header: Header) {
    let (magic, version) = (header.magic(), header.version);
    let line = format!(
        "{{\"kind\":\"header\",\"format\":{FORMAT},\"rdb\":\"{magic}\",\"rdb_version\":{version}}}\n"
    );
    json.extend_from_slice(line.as_bytes());
}

fn push_function(json: &mut Vec<u8>, code: &Bytes) {
    json.extend_from_slice(b"{\"kind\":\"function\",\"code\":");
    push_bytes(json, code);
    json.extend_from_slice(b"}\n");
}

fn push_member_expiry(json: &mut Vec<u8>, db: Db, [key, member]: [&Bytes; 2], at: UnixMs) {
    let start = format!("{{\"kind\":\"member_expiry\",\"db\":{db},\"key\":");
    json.extend_from_slice(start.as_bytes());
    push_bytes(json, key);
    json.extend_from_slice(b",\"member\":");
    push_bytes(json, member);
    json.extend_from_slice(format!(",\"expire_at_ms\":{at}}}\n").as_bytes());
}

fn push_end(json: &mut Vec<u8>, keys: u64, checksum: Checksum) {
    let checksum = checksum.name();
    let line = format!("{{\"kind\":\"end\",\"keys\":{keys},\"checksum\":\"{checksum}\"}}\n");
    json.extend_from_slice(line.as_bytes());
}

fn push_aux(json: &mut Vec<u8>, event: &Event) {
    match event {
        Event::Aux { name, value } => {
            json.extend_from_slice(b"{\"kind\":\"aux\",\"name\":");
            push_bytes(json, name);
            json.extend_from_slice(b",\"value\":");
            push_bytes(json, value);
        }
        Event::ModuleAux { module } => {
            json.extend_from_slice(b"{\"kind\":\"module_aux\",\"module\":");
            push_text(json, module);
        }
        Event::SelectDb(db) => {
            json.extend_from_slice(format!("{{\"kind\":\"db\",\"db\":{db}").as_bytes());
        }
        Event::ResizeDb { keys, expires } => {
            let hint = format!("{{\"kind\":\"db_size\",\"keys\":{keys},\"expires\":{expires}");
            json.extend_from_slice(hint.as_bytes());
        }
        Event::SlotInfo {
            slot,
            keys,
            expires,
        } => {
            let hint = format!(
                "{{\"kind\":\"slot_info\",\"slot\":{slot},\"keys\":{keys},\"expires\":{expires}"
            );
            json.extend_from_slice(hint.as_bytes());
        }
        Event::SlotImport { job, ranges } => {
            json.extend_from_slice(b"{\"kind\":\"slot_import\",\"job\":");
            push_bytes(json, job);
            let ranges: Vec<_> = ranges.iter().map(|(a, b)| format!("[{a},{b}]")).collect();
            json.extend_from_slice(format!(",\"ranges\":[{}]", ranges.join(",")).as_bytes());
        }
        Event::SearchIndex { name } => {
            json.extend_from_slice(b"{\"kind\":\"search_index\",\"name\":");
            push_bytes(json, name);
        }
        _ => return,
    }
    json.extend_from_slice(b"}\n");
}
