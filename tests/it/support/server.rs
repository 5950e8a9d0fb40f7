//! A real server of one version: own directory, own port on loopback, gone with the value.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command as Process, Stdio},
    thread,
    time::{Duration, Instant},
};

use redis::Value;
use tempfile::TempDir;

use super::{
    client::{Client, text},
    version::Version,
};

/// How long a server may take to answer PING after it was started.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// How much of a server's log a failed test shows.
const LOG_LINES_SHOWN: usize = 40;

/// How a server is started.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    version: Version,
    config: Vec<String>,
    login: Option<(String, String)>,
    snapshot: Option<PathBuf>,
}

impl Setup {
    /// Adds a line of the configuration file; it beats the lines before it.
    pub(crate) fn config(mut self, line: impl Into<String>) -> Setup {
        self.config.push(line.into());
        self
    }

    /// Protects the server by `requirepass`.
    pub(crate) fn password(mut self, password: &str) -> Setup {
        self.config.push(format!("requirepass {password}"));
        self.login = Some((String::new(), password.to_owned()));
        self
    }

    /// Adds an ACL user with these rules, such as `~* +@all`.
    pub(crate) fn user(mut self, name: &str, password: &str, rules: &str) -> Setup {
        self.config
            .push(format!("user {name} on >{password} {rules}"));
        self
    }

    /// Lets it load a copy of this RDB file when it starts.
    pub(crate) fn snapshot(mut self, file: &Path) -> Setup {
        self.snapshot = Some(file.to_owned());
        self
    }

    /// Starts the server and waits until it answers.
    pub(crate) fn start(self) -> Server {
        let program = self.version.program();
        assert!(
            program.exists(),
            "{} is not in .servers: run make servers",
            self.version
        );
        // Another process may take the port between our look and the server's bind.
        for _ in 0..5 {
            let mut server = Server::spawn(self.clone(), free_port());
            if server.wait_ready() {
                return server;
            }
            assert!(
                server.log().contains("already in use"),
                "{} did not start:\n{}",
                server.setup.version,
                server.log_tail()
            );
        }
        panic!("{} found no free port", self.version);
    }
}

/// A running server.
pub(crate) struct Server {
    setup: Setup,
    port: u16,
    dir: TempDir,
    process: Child,
}

impl Server {
    /// A server of this version, to be started.
    pub(crate) fn of(version: Version) -> Setup {
        Setup {
            version,
            config: Vec::new(),
            login: None,
            snapshot: None,
        }
    }

    /// A server of this version with the plain configuration.
    pub(crate) fn start(name: &str) -> Server {
        Server::of(Version::named(name)).start()
    }

    pub(crate) fn version(&self) -> Version {
        self.setup.version
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// `host:port`.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The URL with the password it was set up with.
    pub(crate) fn url(&self) -> String {
        match &self.setup.login {
            Some((user, password)) => format!("redis://{user}:{password}@{}", self.address()),
            None => self.url_without_login(),
        }
    }

    pub(crate) fn url_without_login(&self) -> String {
        format!("redis://{}", self.address())
    }

    /// The path of its Unix socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("socket")
    }

    /// Writes its data to an RDB file in its directory.
    pub(crate) fn save(&self) -> PathBuf {
        self.client().run(command!["SAVE"]);
        self.dir.path().join("dump.rdb")
    }

    /// A new connection.
    pub(crate) fn client(&self) -> Client {
        Client::open(&self.url()).unwrap_or_else(|error| panic!("{}: {error}", self.setup.version))
    }

    /// Whether it answers PING in time; false when its process ended.
    pub(crate) fn wait_ready(&mut self) -> bool {
        let deadline = Instant::now() + READY_WITHIN;
        while Instant::now() < deadline {
            if self.process.try_wait().unwrap().is_some() {
                return false;
            }
            let pong =
                Client::open(&self.url()).and_then(|mut client| client.try_run(&command!["PING"]));
            if matches!(pong, Ok(ref pong) if text(pong) == "PONG") {
                return true;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!(
            "{} does not answer:\n{}",
            self.setup.version,
            self.log_tail()
        );
    }

    /// Stands still: takes connections and bytes, answers nothing.
    pub(crate) fn freeze(&self) {
        signal(self.pid(), "STOP");
    }

    /// Goes on after [`Server::freeze`].
    pub(crate) fn thaw(&self) {
        signal(self.pid(), "CONT");
    }

    /// Dies at once, as by `kill -9`.
    pub(crate) fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Feeds a file to its `redis-cli`; returns what that said, on both outputs.
    pub(crate) fn redis_cli(&self, args: &[&str], input: &Path) -> String {
        let output = Process::new(self.version().redis_cli())
            .args(["-p", &self.port.to_string()])
            .args(args)
            .stdin(fs::File::open(input).unwrap())
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&said).into_owned()
    }

    /// How many keys all of its databases hold.
    pub(crate) fn keys(&self) -> u64 {
        let [keys, _] = self.key_counts();
        keys
    }

    /// How many of them never expire. One that has expired counts as a key until the server comes
    /// across it.
    pub(crate) fn lasting_keys(&self) -> u64 {
        let [keys, expiring] = self.key_counts();
        keys - expiring
    }

    fn key_counts(&self) -> [u64; 2] {
        let keyspace = text(&self.client().run(command!["INFO", "keyspace"]));
        ["keys=", "expires="].map(|name| {
            let counts = keyspace.split(name).skip(1);
            let counts = counts.filter_map(|rest| rest.split(',').next()?.parse::<u64>().ok());
            counts.sum()
        })
    }

    /// Saves its dataset and ends.
    pub(crate) fn shutdown_with_save(&mut self) {
        let _ = self.client().try_run(&command!["SHUTDOWN", "SAVE"]);
        let _ = self.process.wait();
    }

    /// Starts again on the same port and directory, after it was killed or shut down.
    pub(crate) fn start_again(&mut self) {
        let dir = self.dir.path().to_owned();
        self.process = spawn_process(&self.setup.version, &dir);
        assert!(self.wait_ready(), "did not come back:\n{}", self.log_tail());
    }

    /// Becomes a replica of another server, and waits until it has its snapshot.
    pub(crate) fn replicate(&self, primary: &Server) {
        let mut client = self.client();
        let port = u64::from(primary.port());
        client.run(command!["REPLICAOF", "127.0.0.1", port]);
        wait_for("the replica's snapshot", READY_WITHIN, || {
            client
                .info("replication", "master_link_status")
                .is_some_and(|status| status == "up")
        });
    }

    /// Waits until a replica has applied everything that its primary has.
    pub(crate) fn wait_for_offset_of(&self, primary: &Server) {
        let (mut ours, mut theirs) = (self.client(), primary.client());
        let offset = |client: &mut Client, name: &str| -> i64 {
            let offset = client.info("replication", name);
            offset.and_then(|n| n.trim().parse().ok()).unwrap_or(-1)
        };
        let wanted = offset(&mut theirs, "master_repl_offset");
        wait_for("the replica's offset", READY_WITHIN, || {
            offset(&mut ours, "slave_repl_offset") >= wanted
        });
    }

    /// The whole log.
    pub(crate) fn log(&self) -> String {
        let read = |name| fs::read(self.dir.path().join(name)).unwrap_or_default();
        let bytes = [read("stdout"), read("log")].concat();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
    }

    fn spawn(setup: Setup, port: u16) -> Server {
        let dir = tempfile::Builder::new()
            .prefix("keyferry-it-")
            .tempdir()
            .unwrap();
        let path = dir.path().display();
        let mut config = vec![
            "bind 127.0.0.1".to_owned(),
            format!("port {port}"),
            format!("unixsocket {path}/socket"),
            format!("dir {path}"),
            format!("logfile {path}/log"),
            "daemonize no".to_owned(),
            "save \"\"".to_owned(),
            "repl-diskless-sync-delay 0".to_owned(),
        ];
        config.extend(setup.config.iter().cloned());
        if let Some(snapshot) = &setup.snapshot {
            fs::copy(snapshot, dir.path().join("dump.rdb")).unwrap();
        }
        // In a file and not in the arguments, where `ps` would show a password.
        fs::write(dir.path().join("config"), config.join("\n") + "\n").unwrap();
        let process = spawn_process(&setup.version, dir.path());
        Server {
            setup,
            port,
            dir,
            process,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            let (version, port) = (self.setup.version, self.port);
            eprintln!("--- log of {version} on {port}\n{}", self.log_tail());
        }
    }
}

/// Sends a signal (`TERM`, `STOP`...) to a process that the caller started.
pub(crate) fn signal(pid: u32, name: &str) {
    // The shell's own kill: a slim machine may have no program of that name.
    let status = Process::new("sh")
        .args(["-c", &format!("kill -{name} {pid}")])
        .status()
        .unwrap();
    assert!(status.success(), "kill -{name} {pid}");
}

/// Waits for a condition.
///
/// # Panics
/// When it does not come true in time.
pub(crate) fn wait_for(what: &str, within: Duration, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + within;
    while !condition() {
        assert!(
            Instant::now() < deadline,
            "{what} took more than {within:?}"
        );
        thread::sleep(Duration::from_millis(20));
    }
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Whether a reply is an error that starts with this word.
pub(crate) fn is_error(reply: &Value, code: &str) -> bool {
    matches!(reply, Value::ServerError(error) if error.code() == code)
}

fn spawn_process(version: &Version, dir: &std::path::Path) -> Child {
    let stdout = fs::File::options()
        .create(true)
        .append(true)
        .open(dir.join("stdout"))
        .unwrap();
    Process::new(version.program())
        .arg(dir.join("config"))
        .stdin(Stdio::null())
        .stderr(stdout.try_clone().unwrap())
        .stdout(stdout)
        .spawn()
        .unwrap()
}
