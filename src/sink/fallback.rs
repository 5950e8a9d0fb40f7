//! A RESTORE that the target refuses, said with commands.
//!
//! Servers differ in how closely they look at a payload: Valkey 9 checks every value deeply, while
//! Redis takes some that are slightly wrong, such as a stream that counts more entries than it
//! has. What a source holds and can dump is not lost for that: its content is read here and
//! written under the lane's staging name, in transactions of a bounded size, then renamed.

use bytes::Bytes;

use crate::{
    keyspace::Loss,
    rdb::{self, Event, ValueParser, ValueType, payload::Payload},
    resp::Command,
};

use super::{
    Hold, Lossy, Target,
    batch::Shape,
    repeats::{Repeat, Repeats},
    staging::Staged,
};

/// The RDB type of arrays, which no other command writes.
const ARRAY: u8 = 28;

/// What a RESTORE becomes.
#[derive(Debug)]
pub(super) struct Rebuilt {
    /// What writes the value; `None` when nothing can, or there is nothing.
    pub(super) plan: Option<Plan>,
    /// What they cannot say.
    pub(super) lossy: Vec<Lossy>,
    /// Whether there is nothing to write, since the value has no elements.
    pub(super) is_empty: bool,
}

/// Says `restore`, a RESTORE as this room writes it, with other commands.
///
/// The value is read to its end before anything of it is written.
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
    if let Some(loss) = loses(&payload) {
        return Ok(Rebuilt {
            plan: None,
            lossy: vec![Lossy { loss, key }],
            is_empty: false,
        });
    }
    let plan = Plan::new(restore, payload, target, staging);
    let mut trial = plan.begin();
    while trial.next()?.is_some() {}
    Ok(Rebuilt {
        plan: (!trial.is_empty).then_some(plan),
        lossy: trial.lossy,
        is_empty: trial.is_empty,
    })
}

/// What is lost with a value that only RESTORE writes: of a module, the one on the target being
/// another version, or an array.
fn loses(payload: &Payload) -> Option<Loss> {
    if payload.value_type.is_module() {
        let type_name = rdb::module_name(&payload.body).unwrap_or_default();
        return Some(Loss::of_module(&type_name));
    }
    (payload.value_type == ValueType::common(ARRAY)).then_some(Loss::Array)
}

/// How a value gets under its name, as often as it has to be begun.
#[derive(Debug)]
pub(super) struct Plan {
    key: Bytes,
    expire_at: Option<Bytes>,
    replaces: bool,
    payload: Payload,
    target: Target,
    staging: Bytes,
}

/// A value on its way under its name, transaction by transaction.
#[derive(Debug)]
pub(super) struct Rebuilding {
    key: Bytes,
    expire_at: Option<Bytes>,
    replaces: bool,
    values: ValueParser,
    /// `None` once its last transaction was taken.
    staged: Option<Staged>,
    repeats: Repeats,
    lossy: Vec<Lossy>,
    is_empty: bool,
}

/// Commands that belong into one transaction.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) commands: Vec<Command>,
    pub(super) shape: Shape,
    /// Whether the value has its name then.
    pub(super) is_last: bool,
}

impl Plan {
    fn new(restore: &Command, payload: Payload, target: &Target, staging: &Bytes) -> Plan {
        let args = restore.args();
        Plan {
            key: args.get(1).cloned().unwrap_or_default(),
            expire_at: args.get(2).filter(|at| *at != "0").cloned(),
            replaces: args.iter().skip(4).any(|arg| arg == "REPLACE"),
            payload,
            target: target.clone(),
            staging: staging.clone(),
        }
    }

    /// Begins with nothing under the staging name.
    pub(super) fn begin(&self) -> Rebuilding {
        let Payload {
            value_type, body, ..
        } = &self.payload;
        let limits = rdb::Limits::default();
        // Expiries of fields stand in the payload as they are to be written.
        let staged = Staged::new(self.staging.clone(), &self.target, Hold::Released);
        Rebuilding {
            key: self.key.clone(),
            expire_at: self.expire_at.clone(),
            replaces: self.replaces,
            values: ValueParser::new(*value_type, body.clone(), limits),
            staged: Some(staged),
            repeats: Repeats::default(),
            lossy: Vec::new(),
            is_empty: true,
        }
    }
}

impl Rebuilding {
    /// What to send when all before it is confirmed; `None` after the last.
    ///
    /// # Errors
    /// What is wrong with the value.
    pub(super) fn next(&mut self) -> Result<Option<Step>, rdb::Error> {
        let Some(staged) = &mut self.staged else {
            return Ok(None);
        };
        while let Some(event) = self.values.next_event()? {
            let Event::Part(part) = event else { continue };
            self.is_empty = false;
            match self.repeats.see(&part) {
                Repeat::No => {}
                Repeat::Same => continue,
                Repeat::Differs => {
                    let (loss, key) = (Loss::RepeatedElement, self.key.clone());
                    self.lossy.push(Lossy { loss, key });
                    continue;
                }
            }
            if let Err(Lossy { loss, .. }) = staged.part(part) {
                let key = self.key.clone();
                self.lossy.push(Lossy { loss, key });
            }
            if let Some(commands) = staged.take_full() {
                return Ok(Some(Step {
                    commands,
                    shape: Shape::Transaction,
                    is_last: false,
                }));
            }
        }
        let Some(staged) = self.staged.take() else {
            return Ok(None);
        };
        let (key, expire_at) = (self.key.clone(), self.expire_at.take());
        let (commands, shape) = staged.finish(key, expire_at, self.replaces);
        Ok(Some(Step {
            commands,
            shape,
            is_last: true,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::{Flavor, gather::BATCH_BYTES};

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

    fn valkey() -> Target {
        Target {
            flavor: Flavor::Valkey,
            version: (9, 1, 0),
            modules: Vec::new(),
            bulk_bytes_max: 1 << 29,
            databases: 16,
        }
    }

    /// The payload of a list.
    fn payload(body: &[u8], target: &Target) -> Bytes {
        let version = target.payload_version(ValueType::common(1));
        let footer = rdb::payload::footer(1, body, version);
        [&[1], body, &footer].concat().into()
    }

    /// The transactions that a RESTORE becomes.
    fn said(args: &[Bytes], target: &Target) -> Vec<Vec<String>> {
        let rebuilt = rebuild(&Command::new(args.to_vec()), target, &"s".into()).unwrap();
        assert_eq!(rebuilt.lossy, []);
        let mut rebuilding = rebuilt.plan.unwrap().begin();
        let steps = std::iter::from_fn(|| rebuilding.next().unwrap());
        let steps: Vec<_> = steps
            .map(|step| (words(&step.commands), step.is_last))
            .collect();
        assert_eq!(steps.iter().filter(|(_, is_last)| *is_last).count(), 1);
        steps.into_iter().map(|(words, _)| words).collect()
    }

    #[test]
    fn a_large_value_becomes_several_transactions() {
        let target = valkey();
        let mut body = b"\x41\x2c".to_vec();
        for _ in 0..300 {
            body.extend_from_slice(b"\x43\xe8");
            body.extend_from_slice(&[b'x'; 1000]);
        }
        let args = [
            "RESTORE".into(),
            "k".into(),
            "0".into(),
            payload(&body, &target),
        ];
        let steps = said(&args, &target);
        assert!(steps.len() > 2, "{}", steps.len());
        let len = |step: &Vec<String>| step.iter().map(String::len).sum::<usize>();
        assert!(steps.iter().all(|step| len(step) < 2 * BATCH_BYTES));
        assert_eq!(steps[0][0], "UNLINK s");
        let last = steps.last().unwrap();
        assert_eq!(last[last.len() - 2..], ["RENAMENX s k", "UNLINK s"]);
        let pushed = steps
            .iter()
            .flatten()
            .filter(|word| word.starts_with("RPUSH"));
        let elements: usize = pushed.map(|push| push.split(' ').count() - 2).sum();
        assert_eq!(elements, 300);
    }

    #[test]
    fn a_refused_payload_becomes_commands_under_the_staging_name() {
        let target = valkey();
        let mut args: Vec<Bytes> = vec!["RESTORE".into(), "k".into(), "500".into()];
        let list = payload(b"\x02\x01x\x02yy", &target);
        args.extend([list, "REPLACE".into(), "ABSTTL".into()]);

        assert_eq!(
            said(&args, &target),
            [["UNLINK s", "RPUSH s x yy", "RENAME s k", "PEXPIREAT k 500"]]
        );

        args.truncate(4);
        args[2] = "0".into();
        assert_eq!(
            said(&args, &target),
            [["UNLINK s", "RPUSH s x yy", "RENAMENX s k", "UNLINK s"]]
        );

        args[3] = payload(b"\0", &target);
        let rebuilt = rebuild(&Command::new(args.clone()), &target, &"s".into()).unwrap();
        assert!(rebuilt.is_empty && rebuilt.plan.is_none());

        args[3] = "garbage".into();
        assert!(rebuild(&Command::new(args), &target, &"s".into()).is_err());
    }
}
