//! What it costs to apply every command exactly once: the same commands by plain pipelining, and as
//! the stream is applied, in transactions that carry the checkpoint, each sent when the one before
//! it is confirmed.
//!
//!     cargo run --release --example exactly_once -- redis://127.0.0.1:6379 [COMMANDS [ROUNDS]]
//!
//! It writes keys called `bench:...` and a checkpoint to that server, and removes neither.

#![allow(clippy::print_stdout, reason = "this is its output")]

use std::{
    env,
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bytes::BytesMut;
use keyferry::{
    keyspace::Db,
    net::{Node, dial},
    resp::{Command, Encoder, Limits, ReplyDecoder},
    sink::{
        Admin, Checkpoint, CheckpointPhase, Claim, Conflict, ImportMode, Lane, LaneConfig,
        LaneEvent, Marks, OnLossy, Throttle, TransactionBuilder, Window,
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::{Notify, mpsc},
};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Bytes that plain pipelining has in flight at the most: the window of a lane.
const WINDOW_BYTES_MAX: u64 = 4 << 20;
/// Bytes that are written at a time.
const PIECE_BYTES: usize = 64 << 10;
const TIMEOUT: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> Outcome<()> {
    let mut arguments = env::args().skip(1);
    let url = arguments.next().ok_or("the URL of a server is missing")?;
    let count: usize = arguments.next().map_or(Ok(500_000), |text| text.parse())?;
    let rounds: usize = arguments.next().map_or(Ok(7), |text| text.parse())?;
    let node: Node = url.parse()?;
    let commands: Vec<Command> = (0..count).map(command).collect();

    let (mut plain, mut transactions) = (Vec::new(), Vec::new());
    let mut sizes = (0, 0);
    // By turns, so that what else the machine does meets both.
    for _ in 0..rounds.max(1) {
        plain.push(pipelined(&node, &commands).await?);
        let (took, batches) = exactly_once(&node, &commands).await?;
        transactions.push(took);
        sizes = (count / batches.max(1), batches);
    }
    let (plain, transactions) = (median(&mut plain), median(&mut transactions));
    let per_s = |took: Duration| count as f64 / took.as_secs_f64();
    println!("{count} commands, median of {rounds} rounds by turns");
    println!(
        "plain pipelining       {plain:9.3?} {:9.0} commands/s",
        per_s(plain)
    );
    println!(
        "exactly once           {transactions:9.3?} {:9.0} commands/s, {} transactions of {} commands",
        per_s(transactions),
        sizes.1,
        sizes.0,
    );
    let ratio = transactions.as_secs_f64() / plain.as_secs_f64();
    println!("ratio                  {ratio:9.2}");
    Ok(())
}

/// One of four: two SET of 64 bytes, an INCR, an HSET.
fn command(n: usize) -> Command {
    let key = |kind: &str| format!("bench:{kind}:{:08}", n % 100_000);
    let words: Vec<String> = match n % 4 {
        0 | 1 => vec!["SET".into(), key("s"), format!("{n:064}")],
        2 => vec!["INCR".into(), key("n")],
        _ => vec![
            "HSET".into(),
            key("h"),
            format!("field:{}", n % 16),
            n.to_string(),
        ],
    };
    Command::of(words.iter().map(|word| word.as_bytes()))
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// Command after command, as many in flight as the window takes.
async fn pipelined(node: &Node, commands: &[Command]) -> Outcome<Duration> {
    let connection = dial(&node.endpoint, TIMEOUT).await?;
    let (mut reader, mut writer) = tokio::io::split(connection);
    let count = commands.len() as u64;
    let confirmed = Arc::new((AtomicU64::new(0), Notify::new()));
    let began = Instant::now();
    let counted = Arc::clone(&confirmed);
    let reading = tokio::spawn(async move {
        let mut decoder = ReplyDecoder::new(Limits::default());
        let mut inbound = BytesMut::new();
        while counted.0.load(Relaxed) < count {
            inbound.reserve(PIECE_BYTES);
            if reader.read_buf(&mut inbound).await? == 0 {
                return Err("the server has closed the connection".into());
            }
            decoder.feed(inbound.split().freeze());
            while decoder.next()?.is_some() {
                counted.0.fetch_add(1, Relaxed);
            }
            counted.1.notify_one();
        }
        Outcome::Ok(())
    });
    let mut encoder = Encoder::default();
    // All commands have about the same length.
    let (mut sent, mut sent_bytes) = (0_u64, 0_u64);
    for (n, command) in commands.iter().enumerate() {
        encoder.command(command);
        if encoder.len() < PIECE_BYTES && n + 1 < commands.len() {
            continue;
        }
        sent_bytes += encoder.len() as u64;
        sent = n as u64 + 1;
        for segment in encoder.take() {
            writer.write_all(&segment).await?;
        }
        while (sent - confirmed.0.load(Relaxed)) * (sent_bytes / sent) > WINDOW_BYTES_MAX {
            confirmed.1.notified().await;
        }
    }
    debug_assert_eq!(sent, count);
    reading.await??;
    Ok(began.elapsed())
}

/// Through a lane, as the stream is applied; also how many transactions it became.
async fn exactly_once(node: &Node, commands: &[Command]) -> Outcome<(Duration, usize)> {
    let claim = Claim::new("bench");
    let checkpoint = Checkpoint {
        phase: CheckpointPhase::Stream,
        replid: "0".repeat(40),
        offset: 0,
        db: Db(0),
        held: false,
        import_mode: false,
        began_empty: true,
        source: "bench".into(),
    };
    let mut admin = Admin::open(node, TIMEOUT).await?;
    admin.take_over(&claim).await?;
    admin.write_checkpoint(&claim, &checkpoint).await?;
    let config = LaneConfig {
        node: node.clone(),
        connect_timeout: TIMEOUT,
        window: Arc::new(Window::default()),
        retry_for: Duration::ZERO,
        conflict: Conflict::Replace,
        target: Arc::new(admin.probe().await?),
        on_lossy: OnLossy::Fail,
        silence_max: Duration::from_secs(60),
        claim: Some(claim.clone()),
        import_mode: ImportMode::Off,
        marks: Marks::Checkpoint(0),
        began_empty: true,
        run_id: admin.run_id().await?,
    };
    let (events, mut happened) = mpsc::unbounded_channel();
    let lane = Lane::start(0, config, events);
    let began = Instant::now();
    let mut transaction = TransactionBuilder::new(Some((claim, checkpoint)));
    let max = Throttle::default().batch_max();
    let mut batches = 0;
    for (n, command) in commands.iter().enumerate() {
        let offset = n as u64 + 1;
        transaction.push(Db(0), std::slice::from_ref(command), offset);
        if transaction.is_full(max) || n + 1 == commands.len() {
            transaction.covers(offset, Db(0));
            if let Some(batch) = transaction.take() {
                batches += 1;
                lane.send(batch).await.map_err(|_| "the lane has ended")?;
            }
        }
    }
    lane.finish().await;
    let took = began.elapsed();
    let mut confirmed = 0;
    while let Ok(event) = happened.try_recv() {
        match event {
            LaneEvent::Confirmed(done) => confirmed += done.commands,
            LaneEvent::Failed(error) => return Err(error.with_why().into()),
            _ => {}
        }
    }
    match confirmed == commands.len() as u64 {
        true => Ok((took, batches)),
        false => Err(format!("only {confirmed} commands were confirmed").into()),
    }
}
