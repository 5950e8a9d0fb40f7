//! The inputs: RDB files as servers write them, the same in every run.

/// A file, and how many keys and elements are in it.
pub(crate) struct Input {
    pub(crate) file: Vec<u8>,
    pub(crate) keys: u64,
    pub(crate) elements: u64,
}

type Make = fn() -> Input;

/// Every input by its name.
pub(crate) const INPUTS: [(&str, Make); 4] = [
    ("small-strings", small_strings),
    ("packed-hashes", packed_hashes),
    ("table-zset", table_zset),
    ("lzf-strings", lzf_strings),
];

/// A session store: a million short strings, of which every fourth is a number, every eighth expires.
fn small_strings() -> Input {
    let keys = 1_000_000;
    let mut file = start();
    for n in 0..keys {
        if n % 8 == 0 {
            file.push(252);
            file.extend((4_102_444_800_000_u64 + n).to_le_bytes());
        }
        file.push(0);
        put_string(&mut file, format!("session:{n:08}").as_bytes());
        if n % 4 == 0 {
            file.push(0xc2);
            file.extend((n as i32).to_le_bytes());
        } else {
            put_string(
                &mut file,
                format!("user-{:x}", scrambled(n) >> 40).as_bytes(),
            );
        }
    }
    end(file, keys, keys)
}

/// Objects: a hundred thousand hashes of eight fields, each a listpack of some 200 bytes.
fn packed_hashes() -> Input {
    let keys = 100_000;
    let mut file = start();
    for n in 0..keys {
        file.push(16);
        put_string(&mut file, format!("object:{n:08}").as_bytes());
        let mut elements = Vec::new();
        for field in 0..8 {
            put_listpack_string(&mut elements, format!("field-{field}").as_bytes());
            if field % 4 == 3 {
                // 32 bits and the length to walk backwards by.
                elements.push(0xf3);
                elements.extend((n as i32).to_le_bytes());
                elements.push(5);
            } else {
                let value = format!("value {:016x}", scrambled(n * 8 + field));
                put_listpack_string(&mut elements, value.as_bytes());
            }
        }
        let mut blob = Vec::from((elements.len() as u32 + 7).to_le_bytes());
        blob.extend(16_u16.to_le_bytes());
        blob.extend(elements);
        blob.push(0xff);
        put_string(&mut file, &blob);
    }
    end(file, keys, keys * 8)
}

/// A leaderboard: one sorted set of a million members with binary scores (type 5).
fn table_zset() -> Input {
    let members = 1_000_000;
    let mut file = start();
    file.push(5);
    put_string(&mut file, b"leaderboard");
    put_length(&mut file, members);
    for n in 0..members {
        put_string(
            &mut file,
            format!("player:{:010x}", scrambled(n) >> 24).as_bytes(),
        );
        file.extend(((scrambled(n) >> 32) as f64 / 16.0).to_le_bytes());
    }
    end(file, 1, members)
}

/// Documents: twenty thousand strings of about 4 KiB, compressed like text.
fn lzf_strings() -> Input {
    let keys = 20_000;
    let mut file = start();
    for n in 0..keys {
        file.push(0);
        put_string(&mut file, format!("document:{n:08}").as_bytes());
        let (compressed, original) = document(n);
        file.push(0xc3);
        put_length(&mut file, compressed.len() as u64);
        put_length(&mut file, original);
        file.extend(compressed);
    }
    end(file, keys, keys)
}

/// LZF instructions as text gives them: half of them literals of one to sixteen bytes, the others
/// copies of three to eighteen bytes from within the last 2 KiB; and what they inflate to.
fn document(seed: u64) -> (Vec<u8>, u64) {
    let (mut compressed, mut original) = (Vec::new(), 0_u64);
    let mut random = seed;
    while original < 4096 {
        random = scrambled(random);
        let literals = 1 + (random >> 60);
        compressed.push(literals as u8 - 1);
        compressed.extend(random.to_le_bytes().iter().cycle().take(literals as usize));
        original += literals;
        let (len, distance) = (3 + (random >> 40 & 15), 1 + (random & 2047) % original);
        let (len_bits, far) = (len - 2, distance - 1);
        if len_bits < 7 {
            compressed.push((len_bits << 5 | far >> 8) as u8);
        } else {
            compressed.extend([(7 << 5 | far >> 8) as u8, (len_bits - 7) as u8]);
        }
        compressed.push(far as u8);
        original += len;
    }
    (compressed, original)
}

fn start() -> Vec<u8> {
    b"REDIS0011\xfa\x09redis-ver\x057.2.6\xfe\x00".to_vec()
}

/// Ends a file; a checksum of zero is not compared, but the bytes are summed all the same.
fn end(mut file: Vec<u8>, keys: u64, elements: u64) -> Input {
    file.push(255);
    file.extend([0; 8]);
    Input {
        file,
        keys,
        elements,
    }
}

fn put_length(out: &mut Vec<u8>, length: u64) {
    match length {
        0..=63 => out.push(length as u8),
        64..=16_383 => out.extend((0x4000 | length as u16).to_be_bytes()),
        _ => {
            out.push(0x80);
            out.extend((length as u32).to_be_bytes());
        }
    }
}

fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    put_length(out, bytes.len() as u64);
    out.extend(bytes);
}

/// A string of less than 64 bytes in a listpack, with the length to walk backwards by.
fn put_listpack_string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(0x80 | bytes.len() as u8);
    out.extend(bytes);
    out.push(bytes.len() as u8 + 1);
}

/// A number that looks like none in particular (splitmix64).
fn scrambled(n: u64) -> u64 {
    let n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ n >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ n >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ n >> 31
}
