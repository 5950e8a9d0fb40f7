//! What a server says about itself.

use std::{collections::BTreeMap, ops::Bound, str::FromStr};

use crate::keyspace::Db;

/// The reply to `INFO`, by field name.
///
/// ```
/// use keyferry::resp::Info;
///
/// let info = Info::parse("# Replication\r\nrole:master\r\nmaster_repl_offset:1024\r\n");
/// assert_eq!(info.get("role"), Some("master"));
/// assert_eq!(info.number::<u64>("master_repl_offset"), Some(1024));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Info {
    fields: BTreeMap<String, String>,
}

impl Info {
    /// Reads `name:value` lines; section titles and lines of another form are left out.
    pub fn parse(text: &str) -> Info {
        let fields = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.trim_end().to_owned()))
            .collect();
        Info { fields }
    }

    /// The value of a field; `None` when the server does not have it.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }

    /// The value of a field as a number; `None` when it is missing or something else.
    pub fn number<T: FromStr>(&self, name: &str) -> Option<T> {
        self.get(name)?.parse().ok()
    }

    /// One part of a field that is a list of them, such as `keys` of `db0:keys=2,expires=0`.
    pub fn part(&self, name: &str, part: &str) -> Option<&str> {
        self.get(name)?
            .split(',')
            .filter_map(|pair| pair.split_once('='))
            .find_map(|(found, value)| (found == part).then_some(value))
    }

    /// The databases that hold keys, and how many, from the section `keyspace`.
    pub fn keyspace(&self) -> Vec<(Db, u64)> {
        let mut keyspace: Vec<(Db, u64)> = self
            .starting_with("db")
            .filter_map(|(name, _)| {
                let db = name.strip_prefix("db")?.parse().ok()?;
                let keys = self.part(name, "keys")?.parse().ok()?;
                Some((Db(db), keys))
            })
            .collect();
        keyspace.sort();
        keyspace
    }

    /// All fields whose name begins with `prefix`, in the order of their names.
    pub fn starting_with<'a>(
        &'a self,
        prefix: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.fields
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(move |(name, _)| name.starts_with(prefix))
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &str = "# Server\r\nredis_version:7.0.15\r\nexecutable:/usr/bin/redis-server\r\n\
        config_file:\r\n\r\n# Replication\r\nrole:master\r\nconnected_slaves:1\r\n\
        slave0:ip=127.0.0.1,port=7777,state=online,offset=50,lag=0\r\n\
        master_replid:f1201b72a276aa8b04f1f574320a89b9e3b67da5\r\nmaster_repl_offset:50\r\n\
        module:name=bf,ver=20612,api=1\r\n\r\n# Keyspace\r\ndb0:keys=2,expires=0,avg_ttl=0\r\n\
        db12:keys=9,expires=1,avg_ttl=5\r\nno colon here\r\n";

    #[test]
    fn finds_fields_by_name() {
        let info = Info::parse(INFO);
        for (name, value) in [
            ("redis_version", Some("7.0.15")),
            ("config_file", Some("")),
            (
                "master_replid",
                Some("f1201b72a276aa8b04f1f574320a89b9e3b67da5"),
            ),
            ("# Server", None),
            ("second_repl_offset", None),
            ("no colon here", None),
        ] {
            assert_eq!(info.get(name), value, "{name}");
        }
        assert_eq!(info.number::<u64>("master_repl_offset"), Some(50));
        assert_eq!(info.number::<u64>("role"), None);
        assert_eq!(info.part("db12", "keys"), Some("9"));
        assert_eq!(info.part("slave0", "port"), Some("7777"));
        assert_eq!(info.part("slave0", "ort"), None);
        let dbs: Vec<&str> = info.starting_with("db").map(|(name, _)| name).collect();
        assert_eq!(dbs, ["db0", "db12"]);
        assert_eq!(info.keyspace(), [(Db(0), 2), (Db(12), 9)]);
    }

    #[test]
    fn a_value_may_contain_colons_and_lines_may_end_in_lf() {
        let info = Info::parse("a:b:c\nd:e\n");
        assert_eq!(info.get("a"), Some("b:c"));
        assert_eq!(info.get("d"), Some("e"));
        assert_eq!(Info::parse(""), Info::default());
    }
}
