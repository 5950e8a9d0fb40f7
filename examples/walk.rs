//! Walks an RDB file and counts what is in it: how fast the parser is on a file at hand.
//!
//!     cargo run --release --example walk -- dump.rdb [raw|elements|skip]

#![allow(clippy::print_stdout, reason = "this is its output")]

use std::{env, error::Error, fs::File, io::Read, time::Instant};

use keyferry::rdb::{Altitude, Event, Limits, Parser};

/// What is read from the file at a time.
const PIECE_BYTES: usize = 256 << 10;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let path = arguments.next().ok_or("the path of a file is missing")?;
    let altitude = match arguments.next().as_deref() {
        None | Some("raw") => Altitude::Raw {
            bytes_max: 64 << 20,
        },
        Some("elements") => Altitude::Elements,
        Some("skip") => Altitude::Skip,
        Some(other) => return Err(format!("{other} is neither raw, elements nor skip").into()),
    };

    let began = Instant::now();
    let mut file = File::open(path)?;
    let mut parser = Parser::new(Limits::default());
    let mut piece = vec![0; PIECE_BYTES];
    let (mut keys, mut parts) = (0_u64, 0_u64);
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            break;
        }
        parser.feed(piece.get(..read).unwrap_or_default());
        while let Some(event) = parser.next_event()? {
            match event {
                Event::Key(_) => {
                    keys += 1;
                    parser.choose(altitude);
                }
                Event::Part(_) | Event::Body(_) => parts += 1,
                _ => {}
            }
        }
    }
    parser.finish()?;

    let (bytes, seconds) = (parser.offset(), began.elapsed().as_secs_f64());
    println!(
        "{keys} keys, {parts} parts, {bytes} bytes in {seconds:.3} s: {:.2} million keys/s, {:.2} GB/s",
        keys as f64 / seconds / 1e6,
        bytes as f64 / seconds / 1e9,
    );
    Ok(())
}
