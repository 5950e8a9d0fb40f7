//! What processes cost: time, processor time, memory.

use std::{
    fs,
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use crate::support::{client::Client, server::Server};

/// The kernel counts processor time in these, on every architecture.
const TICKS_PER_S: f64 = 100.0;

/// What a run has cost.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    pub(crate) wall_s: f64,
    /// Processor time of the migrating process, user and system; none of native replication.
    pub(crate) cpu_s: Option<f64>,
    /// The most memory it ever had.
    pub(crate) peak_bytes: Option<u64>,
}

/// Runs processes side by side to their end.
///
/// # Panics
/// When one of them fails.
pub(crate) fn run(commands: &mut [Command]) -> Usage {
    let before = ended_children_cpu_s();
    let began = Instant::now();
    let mut children: Vec<Child> = commands.iter_mut().map(|it| it.spawn().unwrap()).collect();
    let watch: Vec<_> = children
        .iter()
        .map(|child| {
            let pid = child.id();
            thread::spawn(move || watch_peak(pid))
        })
        .collect();
    for child in &mut children {
        let status = child.wait().unwrap();
        assert!(status.success(), "{status}");
    }
    let wall_s = began.elapsed().as_secs_f64();
    let peaks = watch.into_iter().map(|watch| watch.join().unwrap());
    Usage {
        wall_s,
        cpu_s: Some(ended_children_cpu_s() - before),
        peak_bytes: peaks.max(),
    }
}

/// The most memory that a process has had when it ends.
fn watch_peak(pid: u32) -> u64 {
    let mut peak = 0;
    while let Some(bytes) = peak_bytes(pid) {
        peak = bytes;
        thread::sleep(Duration::from_millis(5));
    }
    peak
}

/// The most memory that a running process ever had; the kernel keeps it.
pub(crate) fn peak_bytes(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// Processor time of a running process.
pub(crate) fn cpu_s(pid: u32) -> f64 {
    stat_s(&format!("/proc/{pid}/stat"), 11)
}

/// Processor time of all processes that were started here and waited for.
fn ended_children_cpu_s() -> f64 {
    stat_s("/proc/self/stat", 13)
}

/// Two neighbouring times of a `stat` file, the first of which stands so far behind the name.
fn stat_s(path: &str, at: usize) -> f64 {
    let stat = fs::read_to_string(path).unwrap();
    let (_, behind_name) = stat.rsplit_once(')').unwrap();
    let fields = behind_name.split_whitespace().skip(at).take(2);
    let ticks: f64 = fields.map(|field| field.parse::<f64>().unwrap()).sum();
    ticks / TICKS_PER_S
}

/// Processor time that a server has used, its snapshot processes included.
pub(crate) fn server_cpu_s(server: &Server) -> f64 {
    let mut client: Client = server.client();
    let mut sum = 0.0;
    for name in ["sys", "user", "sys_children", "user_children"] {
        let value = client.info("cpu", &format!("used_cpu_{name}"));
        sum += value.and_then(|it| it.trim().parse::<f64>().ok()).unwrap();
    }
    sum
}
