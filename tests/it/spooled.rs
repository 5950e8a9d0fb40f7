//! Where bytes wait for a target that is slow: what happens when there is no room for more, when the
//! disk takes nothing, and when it gives back other bytes than it was given.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
    time::Duration,
};

use crate::support::{
    http::Site,
    keyferry::Keyferry,
    random::Random,
    scene::Scene,
    server::{Server, wait_for},
    version::Version,
};

const SOON: Duration = Duration::from_secs(60);
const MIB: usize = 1 << 20;

/// The directory of a test, where the spools are, and the migration's part of it.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &str {
        self.0.path().to_str().unwrap()
    }

    /// Where the stream is spooled of the migration called `one`.
    fn stream(&self) -> PathBuf {
        self.0.path().join("one/stream")
    }
}

/// The arguments of a migration called `one` that spools into `folder`.
fn args<'a>(folder: &'a Folder, memory: &'a str, disk: &'a str) -> Vec<&'a str> {
    let mut args = vec!["--checkpoint-name", "one", "--spool-dir", folder.path()];
    args.extend(["--spool-memory", memory, "--spool-disk", disk]);
    args.extend(["--status-listen", "127.0.0.1:0"]);
    args
}

/// Writes a MiB that no compression makes smaller.
fn write_mib(source: &Server) {
    static MEBIBYTE: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let mut random = Random::seeded(7);
        let words = std::iter::repeat_with(|| random.next().to_le_bytes());
        words.take(MIB / 8).flatten().collect()
    });
    source.client().run(command!["SET", "ballast", *MEBIBYTE]);
}

fn number(status: &serde_json::Value, path: &str) -> u64 {
    status.pointer(path).and_then(|n| n.as_u64()).unwrap()
}

/// Writes until the status says that this is waited for.
fn write_until_it_waits(scene: &Scene, site: &Site, reason: &str) {
    wait_for(reason, SOON, || {
        write_mib(&scene.source);
        let status = site.json("/status");
        let why = status["waiting_because"].as_str().unwrap_or_default();
        why.contains(reason)
    });
}

/// Waits until the source has sent more than a spool may hold: what it sends then stays with it.
fn wait_until_it_stands(scene: &Scene, site: &Site, held_max: u64) {
    let mut client = scene.source.client();
    let mut offset = || -> u64 {
        let offset = client.info("replication", "master_repl_offset").unwrap();
        offset.trim().parse().unwrap()
    };
    wait_for("more than is received", SOON, || {
        write_mib(&scene.source);
        let received = number(&site.json("/status"), "/received_offset");
        offset() > received + 16 * MIB as u64
    });
    let status = site.json("/status");
    let held = number(&status, "/received_offset") - number(&status, "/applied_offset");
    assert!(held <= held_max, "{held} bytes are held: {status}");
}

#[test]
fn a_spool_that_is_full_stops_the_reading_until_there_is_room() {
    let scene = Scene::between("redis-7.0", "redis-7.0");
    let folder = Folder::new();
    let mut keyferry = scene.sync(&args(&folder, "256kb", "1mb"));
    let site = Site::of(&mut keyferry);
    keyferry.wait_for_stderr("following", SOON);
    scene.target.freeze();
    write_until_it_waits(&scene, &site, "the spool is full, in memory and on disk");
    // One piece more than memory, the disk, and a transaction that is under way.
    wait_until_it_stands(&scene, &site, 4 * MIB as u64);
    keyferry.wait_for_stderr("the quota of the spool is full", SOON);
    keyferry.wait_for_stderr("the source is read no further", SOON);

    let writer = scene.write();
    scene.target.thaw();
    keyferry.wait_for_stderr("the source is read on", SOON);
    let finished = scene.finish(writer, keyferry);
    assert_eq!(scene.snapshots(), 1, "{}", finished.stderr);
}

#[test]
fn a_disk_that_takes_nothing_is_waited_for() {
    let scene = Scene::between("redis-7.0", "redis-7.0");
    let folder = Folder::new();
    let mut keyferry = scene.sync(&args(&folder, "256kb", "1gb"));
    let site = Site::of(&mut keyferry);
    keyferry.wait_for_stderr("following", SOON);
    let away = folder.stream().with_extension("away");
    fs::rename(folder.stream(), &away).unwrap();
    scene.target.freeze();
    write_until_it_waits(&scene, &site, "the disk takes nothing");
    keyferry.wait_for_stderr("the spool cannot be written to disk", SOON);
    wait_until_it_stands(&scene, &site, 4 * MIB as u64);

    fs::rename(&away, folder.stream()).unwrap();
    keyferry.wait_for_stderr("the spool is written to disk again", SOON);
    keyferry.wait_for_stderr("the source is read on", SOON);
    let writer = scene.write();
    scene.target.thaw();
    let finished = scene.finish(writer, keyferry);
    assert_eq!(scene.snapshots(), 1, "{}", finished.stderr);
}

#[test]
fn a_stop_says_that_nothing_could_be_kept_and_the_source_has_it() {
    let scene = Scene::between("redis-7.0", "redis-7.0");
    let folder = Folder::new();
    let mut all = args(&folder, "256kb", "1gb");
    all.extend(["--drain-timeout", "1s"]);
    let mut keyferry = scene.sync(&all);
    let site = Site::of(&mut keyferry);
    keyferry.wait_for_stderr("following", SOON);
    let away = folder.stream().with_extension("away");
    fs::rename(folder.stream(), &away).unwrap();
    scene.target.freeze();
    write_until_it_waits(&scene, &site, "the disk takes nothing");
    keyferry.signal("TERM");
    let stopped = keyferry.wait(SOON);
    stopped.assert_code(0);
    let said = "what was received and not applied is not kept";
    assert!(stopped.stderr.contains(said), "{}", stopped.stderr);

    fs::rename(&away, folder.stream()).unwrap();
    scene.target.thaw();
    goes_on(&scene, &all);
}

/// The same command goes on and loses nothing, without another snapshot.
fn goes_on(scene: &Scene, args: &[&str]) {
    let writer = scene.write();
    let mut keyferry = scene.sync(args);
    keyferry.wait_for_stderr("following", SOON);
    scene.finish(writer, keyferry);
    assert_eq!(scene.snapshots(), 1);
}

/// The kernel refuses to let a file grow: what the spool and the list of written keys get from a
/// disk that is full or broken.
#[test]
fn a_file_that_may_not_grow_is_an_error_and_the_same_command_goes_on() {
    let scene = Scene::between("redis-7.0", "redis-7.0");
    let folder = Folder::new();
    let (from, to) = (scene.source.url(), scene.target.url());
    let all = args(&folder, "256kb", "1gb");
    let mut sync = vec!["sync", "--source", &from, "--target", &to, "--json"];
    sync.extend(&all);
    // Blocks of 512 bytes: enough for the marks of the directory, not for the names of all keys.
    let failed = Keyferry::start_limited("ulimit -f 4", &sync).wait(SOON);
    failed.assert_code(5);
    assert!(
        failed.stderr.contains("cannot be written"),
        "{}",
        failed.stderr
    );
    let path = folder.0.path().join("one/written");
    assert!(
        failed.stderr.contains(path.to_str().unwrap()),
        "{}",
        failed.stderr
    );

    // Each segment of the stream is cut short; the next one holds some again.
    let mut keyferry = Keyferry::start_limited("ulimit -f 1024", &sync);
    keyferry.wait_for_stderr("following", SOON);
    scene.target.freeze();
    wait_for("an error of the disk", SOON, || {
        write_mib(&scene.source);
        assert!(keyferry.running(), "{}", keyferry.stderr());
        keyferry
            .stderr()
            .contains("the spool cannot be written to disk")
    });
    let writer = scene.write();
    scene.target.thaw();
    scene.finish(writer, keyferry);
    assert_eq!(scene.snapshots(), 2, "one of each run");
}

/// Turns a bit in the middle of every segment.
fn damage(stream: &Path) {
    let segments = segments(stream);
    assert!(!segments.is_empty(), "nothing is on disk");
    for path in segments {
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x10;
        fs::write(&path, bytes).unwrap();
    }
}

fn segments(stream: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(stream)
        .unwrap()
        .map(|file| file.unwrap().path());
    files
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "spool")
        })
        .collect()
}

/// Lets a part of the stream wait on the disk, behind a target that stands still.
fn spooled(scene: &Scene, all: &[&str]) -> Keyferry {
    let mut keyferry = scene.sync(all);
    let site = Site::of(&mut keyferry);
    keyferry.wait_for_stderr("following", SOON);
    scene.target.freeze();
    let writer = scene.write();
    wait_for("something on the disk", SOON, || {
        write_mib(&scene.source);
        number(&site.json("/status"), "/spool/disk_bytes") > 8 * MIB as u64
    });
    writer.stop();
    keyferry
}

#[test]
fn a_segment_that_is_damaged_ends_the_run_and_the_source_is_asked_again() {
    let scene = Scene::between("redis-7.0", "redis-7.0");
    let folder = Folder::new();
    let all = args(&folder, "256kb", "1gb");
    let keyferry = spooled(&scene, &all);
    damage(&folder.stream());
    scene.target.thaw();
    let ended = keyferry.wait(SOON);
    ended.assert_code(5);
    for said in [
        "is damaged at position",
        "one/stream",
        "run the same command again",
    ] {
        assert!(ended.stderr.contains(said), "{said}: {}", ended.stderr);
    }
    goes_on(&scene, &all);
}

#[test]
fn a_segment_that_is_damaged_between_two_runs_is_not_used() {
    let scene = Scene::between("redis-7.0", "redis-7.0");
    let folder = Folder::new();
    let all = args(&folder, "256kb", "1gb");
    let mut keyferry = spooled(&scene, &all);
    keyferry.kill();
    damage(&folder.stream());
    scene.target.thaw();
    let writer = scene.write();
    let mut keyferry = scene.sync(&all);
    keyferry.wait_for_stderr("the spool is damaged", SOON);
    keyferry.wait_for_stderr("following", SOON);
    scene.finish(writer, keyferry);
    assert_eq!(scene.snapshots(), 1);
}

/// The backlog does not reach back to what was lost: nothing of what follows is applied.
#[test]
fn a_damaged_segment_that_the_source_cannot_replace_is_a_gap() {
    let source = Server::of(Version::named("redis-7.0"))
        .config("repl-backlog-size 16kb")
        .start();
    let scene = Scene::of(source, Server::start("redis-7.0"), 1);
    let folder = Folder::new();
    let all = args(&folder, "256kb", "1gb");
    let keyferry = spooled(&scene, &all);
    damage(&folder.stream());
    scene.target.thaw();
    keyferry.wait(SOON).assert_code(5);
    let gap = scene.sync(&all).wait(SOON);
    gap.assert_code(3);
    let said = "bytes of the stream are missing";
    assert!(gap.stderr.contains(said), "{}", gap.stderr);
    let args = [
        &all[..],
        &["--allow-full-resync", "--yes", "--until-caught-up"],
    ]
    .concat();
    scene.sync(&args).wait(SOON).assert_code(0);
    scene.assert_equal();
}
