//! The built binary, as an operator runs it.

use std::{
    io::Read,
    process::{Child, ChildStdin, Command as Process, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::server::signal;

/// What keyferry keeps on disk. Every test has a source and a target of its own, and so a directory.
pub(crate) const STATE_DIR: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/state");

/// A run of `keyferry`; killed when it is dropped before its end.
pub(crate) struct Keyferry {
    process: Child,
    stdout: Capture,
    stderr: Capture,
    shown: bool,
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
}

impl Finished {
    /// The exit code; `None` when a signal ended it.
    pub(crate) fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Fails the test when the exit code is another one.
    pub(crate) fn assert_code(&self, code: i32) -> &Finished {
        assert_eq!(
            self.code(),
            Some(code),
            "stdout:\n{}\nstderr:\n{}",
            self.stdout,
            self.stderr
        );
        self
    }

    /// The summary that `--json` printed.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("stdout is no JSON ({error}):\n{}", self.stdout))
    }
}

impl Keyferry {
    /// Starts it with these arguments and no `KEYFERRY_` variables but those given.
    pub(crate) fn start(args: &[&str], environment: &[(&str, &str)]) -> Keyferry {
        Keyferry::start_with(Stdio::null(), args, environment)
    }

    /// Starts it with a standard input that the test writes to.
    pub(crate) fn start_fed(args: &[&str]) -> (Keyferry, ChildStdin) {
        let mut keyferry = Keyferry::start_with(Stdio::piped(), args, &[]);
        let stdin = keyferry.process.stdin.take().unwrap();
        (keyferry, stdin)
    }

    /// Starts it from a shell that limits itself before, such as by `ulimit -f 8`.
    pub(crate) fn start_limited(limit: &str, args: &[&str]) -> Keyferry {
        let script = format!("{limit} && exec \"$0\" \"$@\"");
        let mut shell = Process::new("sh");
        shell.args(["-c", &script, env!("CARGO_BIN_EXE_keyferry")]);
        Keyferry::spawn(shell, Stdio::null(), args, &[])
    }

    fn start_with(stdin: Stdio, args: &[&str], environment: &[(&str, &str)]) -> Keyferry {
        let process = Process::new(env!("CARGO_BIN_EXE_keyferry"));
        Keyferry::spawn(process, stdin, args, environment)
    }

    fn spawn(
        mut process: Process,
        stdin: Stdio,
        args: &[&str],
        environment: &[(&str, &str)],
    ) -> Keyferry {
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("KEYFERRY_")) {
            process.env_remove(name);
        }
        let mut process = process
            .args(args)
            .env("XDG_STATE_HOME", STATE_DIR)
            .env_remove("STATE_DIRECTORY")
            .envs(environment.iter().copied())
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Keyferry {
            stdout: Capture::of(process.stdout.take().unwrap()),
            stderr: Capture::of(process.stderr.take().unwrap()),
            process,
            shown: false,
        }
    }

    /// Runs it to its end.
    pub(crate) fn run(args: &[&str], within: Duration) -> Finished {
        Keyferry::start(args, &[]).wait(within)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// What it has said on stderr so far.
    pub(crate) fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Asks it to end as an operator does: `TERM` or `INT`.
    pub(crate) fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Ends it as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Whether it still runs.
    pub(crate) fn running(&mut self) -> bool {
        self.process.try_wait().unwrap().is_none()
    }

    /// Waits until stderr says this.
    ///
    /// # Panics
    /// When it ends or the time is over before.
    pub(crate) fn wait_for_stderr(&mut self, said: &str, within: Duration) {
        let deadline = Instant::now() + within;
        while !self.stderr().contains(said) {
            let running = self.running() && Instant::now() < deadline;
            assert!(running, "never said {said:?}:\n{}", self.stderr());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not come in time.
    pub(crate) fn wait(mut self, within: Duration) -> Finished {
        let started = Instant::now();
        let status = loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                break status;
            }
            assert!(started.elapsed() < within, "did not end within {within:?}");
            thread::sleep(Duration::from_millis(10));
        };
        self.shown = true;
        let finished = Finished {
            status,
            stdout: self.stdout.finish(),
            stderr: self.stderr.finish(),
            took: started.elapsed(),
        };
        eprintln!("--- keyferry: {}\n{}", finished.status, finished.stderr);
        finished
    }

    /// The most memory it ever had resident, in bytes; while it runs.
    pub(crate) fn peak_memory_bytes(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).ok()?;
        let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
        let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kib * 1024)
    }
}

impl Drop for Keyferry {
    fn drop(&mut self) {
        self.kill();
        if !self.shown && thread::panicking() {
            eprintln!("--- keyferry, killed by the test\n{}", self.stderr());
        }
    }
}

/// Reads a pipe to its end, so that the process never waits for us.
struct Capture {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Capture {
    fn of(mut pipe: impl Read + Send + 'static) -> Capture {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let into = bytes.clone();
        let reader = thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(count @ 1..) = pipe.read(&mut piece) {
                into.lock().unwrap().extend_from_slice(&piece[..count]);
            }
        });
        Capture {
            bytes,
            reader: Some(reader),
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap()).into_owned()
    }

    fn finish(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        self.text()
    }
}
