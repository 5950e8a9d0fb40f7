//! What is compared, made from a seed.

use crate::{load::Load, support::random::Random};

const SEED: u64 = 7;

/// Appends a command of texts.
fn say(load: &mut Load, args: &[&str]) {
    load.begin(args.len());
    for arg in args {
        load.arg(arg.as_bytes());
    }
}

/// Small keys of all types: of a hundred, sixty strings, fifteen hashes, ten lists, six sets, six
/// sorted sets, two streams, one larger hash.
pub(crate) fn mixed(load: &mut Load, keys: u64) {
    let mut random = Random::seeded(SEED);
    for n in 0..keys {
        let key = format!("mixed:{n}");
        match n % 100 {
            0..60 => {
                let value = random.bytes(16 + random.clone().below(200) as usize);
                load.command(&[b"SET", key.as_bytes(), &value]);
            }
            60..75 => fields(load, &key, 5 + n % 7, &mut random),
            75..85 => elements(load, "RPUSH", &key, 8 + n % 10, &mut random),
            85..91 => elements(load, "SADD", &key, 6 + n % 9, &mut random),
            91..97 => {
                let count = 6 + n % 9;
                load.begin(2 + 2 * count as usize);
                load.arg(b"ZADD");
                load.arg(key.as_bytes());
                for member in 0..count {
                    load.arg(format!("{}.5", random.below(1 << 30)).as_bytes());
                    load.arg(format!("member:{member}").as_bytes());
                }
            }
            97..99 => {
                for entry in 1..5 {
                    let (id, value) = (format!("{entry}-1"), random.next().to_string());
                    say(load, &["XADD", &key, &id, "field", &value]);
                }
            }
            _ => fields(load, &key, 300, &mut random),
        }
        if n % 3 == 0 {
            say(load, &["PEXPIREAT", &key, "4000000000000"]);
        }
    }
}

fn fields(load: &mut Load, key: &str, count: u64, random: &mut Random) {
    load.begin(2 + 2 * count as usize);
    load.arg(b"HSET");
    load.arg(key.as_bytes());
    for field in 0..count {
        load.arg(format!("field:{field}").as_bytes());
        load.arg(random.next().to_string().as_bytes());
    }
}

fn elements(load: &mut Load, command: &str, key: &str, count: u64, random: &mut Random) {
    load.begin(2 + count as usize);
    load.arg(command.as_bytes());
    load.arg(key.as_bytes());
    for _ in 0..count {
        load.arg(format!("{:016x}", random.next()).as_bytes());
    }
}

/// Values of more than a mebibyte, of each type as many.
pub(crate) fn large(load: &mut Load, keys: u64) {
    let mut random = Random::seeded(SEED);
    for n in 0..keys {
        let key = format!("large:{n}");
        if n % 6 == 0 {
            let value = random.bytes(1_200_000);
            load.command(&[b"SET", key.as_bytes(), &value]);
            continue;
        }
        // Twelve thousand elements of a hundred bytes.
        for part in 0..24u64 {
            let name = |at: u64| format!("{:012}", part * 500 + at);
            let value = |random: &mut Random| {
                let words = (0..11).map(|_| format!("{:08x}", random.next() as u32));
                words.collect::<String>()
            };
            match n % 6 {
                1 => {
                    load.begin(2 + 500);
                    load.arg(b"RPUSH");
                    load.arg(key.as_bytes());
                    (0..500).for_each(|at| load.arg((name(at) + &value(&mut random)).as_bytes()));
                }
                2 => {
                    load.begin(2 + 500);
                    load.arg(b"SADD");
                    load.arg(key.as_bytes());
                    (0..500).for_each(|at| load.arg((name(at) + &value(&mut random)).as_bytes()));
                }
                3 => {
                    load.begin(2 + 1000);
                    load.arg(b"ZADD");
                    load.arg(key.as_bytes());
                    for at in 0..500 {
                        load.arg(format!("{}.25", random.below(1 << 30)).as_bytes());
                        load.arg((name(at) + &value(&mut random)).as_bytes());
                    }
                }
                4 => {
                    load.begin(2 + 1000);
                    load.arg(b"HSET");
                    load.arg(key.as_bytes());
                    for at in 0..500 {
                        load.arg(name(at).as_bytes());
                        load.arg(value(&mut random).as_bytes());
                    }
                }
                _ => {
                    for at in 0..500 {
                        let id = format!("{}-1", part * 500 + at + 1);
                        say(load, &["XADD", &key, &id, "field", &value(&mut random)]);
                    }
                }
            }
        }
    }
}
