//! A RESTORE that the target refuses, said with commands.
//!
//! Servers differ in how closely they look at a payload: Valkey 9 checks every value deeply, while
//! Redis takes some that are slightly wrong, such as a stream that counts more entries than it
//! has. What a source holds and can dump is not lost for that: its content is read here and
//! written under the lane's staging name, then renamed.

use bytes::Bytes;

use crate::{
    rdb::{self, Event, ValueParser, ValueType},
    resp::Command,
};

use super::{
    Hold, Loss, Lossy, Target,
    rebuild::{CHUNK, Rebuild},
    staging::finish_staging,
};

/// The RDB type of arrays, which no other command writes.
const ARRAY: u8 = 28;

/// What a RESTORE became.
#[derive(Debug)]
pub(super) struct Rebuilt {
    /// The commands that write the value, for one transaction; none when nothing can.
    pub(super) commands: Vec<Command>,
    /// What they cannot say.
    pub(super) lossy: Vec<Lossy>,
    /// Whether there is nothing to write, since the value has no elements.
    pub(super) is_empty: bool,
    /// Whether all fields of the value may expire before it gets its name.
    pub(super) may_vanish: bool,
}

impl Rebuilt {
    /// Nothing at all, since the target has no such value.
    fn lost(loss: Loss, key: Bytes) -> Rebuilt {
        Rebuilt {
            commands: Vec::new(),
            lossy: vec![Lossy { loss, key }],
            is_empty: false,
            may_vanish: false,
        }
    }
}

/// Says `restore`, a RESTORE as this room writes it, with other commands.
///
/// # Errors
/// What is wrong with the payload.
pub(super) fn rebuild(
    restore: &Command,
    target: &Target,
    staging: &Bytes,
) -> Result<Rebuilt, rdb::Error> {
    let payload = restore.args().get(3).cloned().unwrap_or_default();
    let payload = rdb::payload::check(&payload)?;
    let key = restore.args().get(1).cloned().unwrap_or_default();
    if payload.value_type.is_module() {
        // Only the module itself can read it; the one on the target is another version.
        let type_name = rdb::module_name(&payload.body).unwrap_or_default();
        return Ok(Rebuilt::lost(Loss::of_module(&type_name), key));
    }
    if payload.value_type == ValueType::common(ARRAY) {
        return Ok(Rebuilt::lost(Loss::Array, key));
    }
    let limits = rdb::Limits::default();
    let mut values = ValueParser::new(payload.value_type, payload.body, limits);
    // Expiries of fields stand in the payload as they are to be written.
    let mut rebuild = Rebuild::new(staging.clone(), target, Hold::Released, CHUNK);
    let mut commands = vec![Command::new(vec!["UNLINK".into(), staging.clone()])];
    let mut lossy = Vec::new();
    let mut is_empty = true;
    while let Some(event) = values.next_event()? {
        let Event::Part(part) = event else { continue };
        is_empty = false;
        if let Err(Lossy { loss, .. }) = rebuild.part(part, &mut commands) {
            let key = key.clone();
            lossy.push(Lossy { loss, key });
        }
    }
    if is_empty {
        return Ok(Rebuilt {
            commands: Vec::new(),
            lossy,
            is_empty,
            may_vanish: false,
        });
    }
    rebuild.finish(&mut commands);
    let expire_at = restore.args().get(2).filter(|at| *at != "0").cloned();
    let replaces = restore.args().iter().any(|arg| arg == "REPLACE");
    let may_vanish = rebuild.may_vanish();
    finish_staging(&mut commands, staging, key, expire_at, replaces, may_vanish);
    Ok(Rebuilt {
        commands,
        lossy,
        is_empty,
        may_vanish,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::Flavor;

    fn words(commands: &[Command]) -> Vec<String> {
        let words = |command: &Command| {
            let args = command
                .args()
                .iter()
                .map(|arg| arg.escape_ascii().to_string());
            args.collect::<Vec<_>>().join(" ")
        };
        commands.iter().map(words).collect()
    }

    #[test]
    fn a_refused_payload_becomes_commands_under_the_staging_name() {
        let target = Target {
            flavor: Flavor::Valkey,
            version: (9, 1, 0),
            modules: Vec::new(),
            bulk_bytes_max: 1 << 29,
            databases: 16,
        };
        let body = Bytes::from_static(b"\x02\x01x\x02yy");
        let mut payload = vec![1];
        payload.extend_from_slice(&body);
        let list = ValueType::common(1);
        payload.extend_from_slice(&rdb::payload::footer(
            1,
            &body,
            target.payload_version(list),
        ));
        let mut args: Vec<Bytes> = vec!["RESTORE".into(), "k".into(), "500".into()];
        args.extend([payload.into(), "REPLACE".into(), "ABSTTL".into()]);

        let rebuilt = rebuild(&Command::new(args.clone()), &target, &"s".into()).unwrap();
        assert_eq!(
            words(&rebuilt.commands),
            ["UNLINK s", "RPUSH s x yy", "RENAME s k", "PEXPIREAT k 500"]
        );
        assert_eq!(rebuilt.lossy, []);

        args.truncate(4);
        args[2] = "0".into();
        let rebuilt = rebuild(&Command::new(args.clone()), &target, &"s".into()).unwrap();
        assert_eq!(
            words(&rebuilt.commands),
            ["UNLINK s", "RPUSH s x yy", "RENAMENX s k", "UNLINK s"]
        );

        let version = target.payload_version(list);
        let mut payload = vec![1, 0];
        payload.extend_from_slice(&rdb::payload::footer(1, b"\0", version));
        args[3] = payload.into();
        let rebuilt = rebuild(&Command::new(args.clone()), &target, &"s".into()).unwrap();
        assert!(rebuilt.is_empty && rebuilt.commands.is_empty());

        args[3] = "garbage".into();
        assert!(rebuild(&Command::new(args), &target, &"s".into()).is_err());
    }
}
