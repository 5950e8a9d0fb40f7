//! The snapshot on a connection of its own: Redis 8 (rdb-channel) and Valkey 8 (dual-channel). That
//! it was used is read from the source: its log, INFO, its clients.

use std::time::Duration;

use crate::support::{
    client::{Client, text},
    dataset::Dataset,
    keyferry::Keyferry,
    migration::wait_until_confirmed,
    oracle::Oracle,
    proxy::{Fault, Proxy},
    scene::{SOON, Scene, snapshots_of, sync},
    server::{Server, Setup, wait_for},
    version::{Family, Version},
};

/// The servers that can, and are here.
fn sources() -> Vec<Version> {
    let can = |version: &Version| version.is_redis_from(8, 0) || version.is_valkey_from(8, 0);
    let here = Version::available().into_iter();
    here.filter(can).collect()
}

/// A server that sends its snapshot over a connection of its own to who is able to.
fn able(version: Version) -> Setup {
    match version.family {
        Family::Redis => Server::of(version),
        Family::Valkey => Server::of(version).config("dual-channel-replication-enabled yes"),
    }
}

/// How many snapshots a server has begun to send over a connection of their own.
fn over_a_channel(source: &Server) -> usize {
    let log = source.log();
    let begun = [
        "Starting to deliver RDB and replication stream",
        "using: dual-channel",
    ];
    begun.iter().map(|said| log.matches(said).count()).sum()
}

/// What the source says of a replica while both of its connections are open.
fn shows_two_connections(client: &mut Client) -> bool {
    let replication = text(&client.run(command!["INFO", "replication"]));
    replication.contains("state=send_bulk_and_stream")
        || (replication.contains("type=rdb-channel") && replication.contains("type=main-channel"))
}

/// How a snapshot of this server begins.
fn snapshot_mark(version: Version) -> &'static [u8] {
    match version.is_valkey_from(9, 0) {
        true => b"VALKEY0",
        false => b"REDIS00",
    }
}

/// Two servers and data of every type, of which there is more than what sockets hold.
fn scene(source: Setup, target: &str) -> Scene {
    Scene::with(source, target, |dataset| Dataset {
        small_keys: 300,
        big_string_bytes: 6 << 20,
        ..dataset
    })
}

/// Keyferry in the middle of a snapshot that comes over a connection of its own and goes no further.
fn held_in_snapshot(scene: &Scene, args: &[&str]) -> (Proxy, Keyferry) {
    let proxy = Proxy::before(&scene.source);
    proxy.set_after(
        snapshot_mark(scene.source.version()),
        Fault::HoldAt(500_000),
    );
    let keyferry = sync(&proxy.url(), &scene.target.url(), args);
    wait_for("the middle of the snapshot", SOON, || proxy.held() == 1);
    // What comes after it is spared.
    proxy.set(Fault::None);
    let mut client = scene.source.client();
    wait_for("two connections", SOON, || {
        shows_two_connections(&mut client)
    });
    (proxy, keyferry)
}

#[test]
fn the_snapshot_and_what_is_written_meanwhile_arrive_over_two_connections() {
    for version in sources() {
        eprintln!("--- {version}");
        let scene = scene(able(version), version.name);
        let writer = scene.write();
        let (proxy, mut keyferry) = held_in_snapshot(&scene, &["--snapshot-channel", "on"]);
        // The stream comes although the snapshot stands still.
        let before = proxy.passed_bytes();
        wait_for("the stream", SOON, || {
            proxy.passed_bytes() > before + 100_000
        });
        proxy.let_go();
        keyferry.wait_for_stderr("following", SOON);
        assert!(!shows_two_connections(&mut scene.source.client()));
        scene.finish(writer, keyferry);
        assert_eq!((over_a_channel(&scene.source), scene.snapshots()), (1, 1));
    }
}

#[test]
fn a_source_without_it_goes_on_over_one_connection() {
    for (source, args) in [
        (Server::of(Version::named("redis-7.0")), &[][..]),
        (
            Server::of(Version::named("redis-8.0")).config("repl-rdb-channel no"),
            &[],
        ),
        (
            Server::of(Version::named("redis-8.0")).config("repl-diskless-sync no"),
            &[],
        ),
        (Server::of(Version::named("valkey-8.1")), &[]),
        (
            able(Version::named("redis-8.0")),
            &["--snapshot-channel", "off"],
        ),
        (
            able(Version::named("valkey-8.1")),
            &["--snapshot-channel", "off"],
        ),
    ] {
        let scene = scene(source, "redis-8.0");
        let writer = scene.write();
        let mut keyferry = scene.sync(args);
        keyferry.wait_for_stderr("following", SOON);
        scene.finish(writer, keyferry);
        assert_eq!((over_a_channel(&scene.source), scene.snapshots()), (0, 1));
    }
}

#[test]
fn a_source_without_it_is_an_error_where_it_is_demanded() {
    const RIGHTS: &str = "+psync +replconf +info +time";
    let target = Server::start("redis-8.0");
    for (source, may_tell) in [
        (Server::of(Version::named("redis-7.0")), true),
        (
            Server::of(Version::named("redis-8.0")).config("repl-rdb-channel no"),
            true,
        ),
        (
            Server::of(Version::named("redis-8.0")).config("repl-diskless-sync no"),
            true,
        ),
        (Server::of(Version::named("valkey-8.1")), true),
        (Server::of(Version::named("valkey-8.1")), false),
    ] {
        let source = source.user("blind", "pw", RIGHTS).start();
        let url = match may_tell {
            true => source.url(),
            false => format!("redis://blind:pw@{}", source.address()),
        };
        let finished = sync(&url, &target.url(), &["--snapshot-channel", "on"]).wait(SOON);
        finished.assert_code(3);
        for said in [
            "does not send its snapshot over a connection of its own",
            "next: ",
            "dual-channel-replication-enabled yes",
            "repl-rdb-channel yes",
            "repl-diskless-sync yes",
        ] {
            assert!(
                finished.stderr.contains(said),
                "{said}: {}",
                finished.stderr
            );
        }
        if may_tell {
            assert_eq!(snapshots_of(&source), 0, "it was asked before");
        }
    }
}

/// Fills a server with more than what sockets hold, so that a snapshot which is not read stands still
/// at the source, too.
fn fill(client: &mut Client) {
    let fill = "for i=1,20000 do redis.call('SET','key:'..i,string.rep('x',2000)..i) end";
    client.run(command!["CONFIG", "SET", "rdbcompression", "no"]);
    client.run(command!["EVAL", fill, "0"]);
}

/// Writes so many bytes: large values over and over, so that there is more of them than of the data.
fn write_bytes(client: &mut Client, bytes: usize) {
    const VALUE_BYTES: usize = 100_000;
    let sets = (0..bytes / VALUE_BYTES).map(|n| {
        let value = vec![b'a' + (n % 26) as u8; VALUE_BYTES];
        command!["SET", format!("written:{}", n % 50), value]
    });
    client.pipeline(&sets.collect::<Vec<_>>());
}

#[test]
fn a_small_output_buffer_of_the_source_is_enough() {
    const LIMITED: &str = "client-output-buffer-limit replica 16mb 0 0";
    for version in sources() {
        eprintln!("--- {version}");
        // The limit is never below the backlog.
        let small = |setup: Setup| setup.config(LIMITED).config("repl-backlog-size 1mb");
        let source = small(able(version)).start();
        let scene = Scene::of(source, Server::start("redis-8.0"), 0);
        let mut client = scene.source.client();
        fill(&mut client);
        let (proxy, keyferry) = held_in_snapshot(&scene, &[]);
        // No faster than it can be read, which is what the limit is for.
        const STEP_BYTES: usize = 4_000_000;
        for _ in 0..16 {
            let before = proxy.passed_bytes();
            write_bytes(&mut client, STEP_BYTES);
            wait_for("the stream", SOON, || {
                proxy.passed_bytes() >= before + STEP_BYTES as u64
            });
        }
        assert!(shows_two_connections(&mut client));
        proxy.let_go();
        scene.finish_written(keyferry);
        assert_eq!((over_a_channel(&scene.source), scene.snapshots()), (1, 1));
        assert!(!scene.source.log().contains("output buffer limits"));

        // Over one connection the same is what ends it.
        let source = scene.source;
        let proxy = Proxy::before(&source);
        proxy.set_after(snapshot_mark(version), Fault::HoldAt(500_000));
        let target = Server::start("redis-8.0");
        let args = ["--snapshot-channel", "off"];
        let _keyferry = sync(&proxy.url(), &target.url(), &args);
        wait_for("the middle of the snapshot", SOON, || proxy.held() == 1);
        write_bytes(&mut source.client(), 64 << 20);
        wait_for("the end of the connection", SOON, || {
            source.log().contains("output buffer limits")
        });
    }
}

#[test]
fn a_snapshot_that_loses_either_connection_is_taken_anew() {
    for (version, what) in sources()
        .into_iter()
        .flat_map(|version| ["snapshot", "stream"].map(|what| (version, what)))
    {
        eprintln!("--- {version}, the connection of the {what}");
        let scene = scene(able(version), version.name);
        let writer = scene.write();
        let (proxy, mut keyferry) = held_in_snapshot(&scene, &[]);
        match what {
            "snapshot" => proxy.cut_held(),
            _ => proxy.cut_others(),
        }
        keyferry.wait_for_stderr("a new snapshot is taken", SOON);
        proxy.let_go();
        keyferry.wait_for_stderr("following", SOON);
        scene.finish(writer, keyferry);
        assert_eq!((over_a_channel(&scene.source), scene.snapshots()), (2, 2));
    }
}

#[test]
fn a_kill_in_the_snapshot_begins_it_anew_and_one_behind_it_does_not() {
    for version in sources() {
        eprintln!("--- {version}");
        let scene = scene(able(version), version.name);
        let writer = scene.write();
        let args = ["--checkpoint-name", "channel"];
        let (proxy, mut keyferry) = held_in_snapshot(&scene, &args);
        keyferry.wait_for_stderr("snapshot: ", SOON);
        keyferry.kill();
        drop(proxy);
        let mut keyferry = scene.sync(&args);
        keyferry.wait_for_stderr("following", SOON);
        assert!(keyferry.stderr().contains("is removed"));
        let (snapshots, channels) = (scene.snapshots(), over_a_channel(&scene.source));
        assert_eq!(channels, 2);
        keyferry.kill();
        let mut keyferry = scene.sync(&args);
        keyferry.wait_for_stderr("following", SOON);
        scene
            .source
            .client()
            .run(command!["CLIENT", "KILL", "TYPE", "replica"]);
        keyferry.wait_for_stderr("continues the stream", SOON);
        scene.finish(writer, keyferry);
        assert_eq!(
            (scene.snapshots(), over_a_channel(&scene.source)),
            (snapshots, channels)
        );
    }
}

#[test]
fn a_source_that_cannot_continue_is_not_made_to_begin_a_snapshot() {
    for version in sources() {
        eprintln!("--- {version}");
        let source = able(version)
            .config("repl-backlog-size 16kb")
            .user("blind", "pw", "+psync +replconf")
            .start();
        let target = Server::start("redis-8.0");
        let url = format!("redis://blind:pw@{}", source.address());
        let mut keyferry = sync(&url, &target.url(), &[]);
        keyferry.wait_for_stderr("following", SOON);
        keyferry.signal("TERM");
        keyferry.wait(SOON).assert_code(0);
        let before = (snapshots_of(&source), over_a_channel(&source));
        write_bytes(&mut source.client(), 3_000_000);
        let finished = sync(&url, &target.url(), &[]).wait(SOON);
        finished.assert_code(3);
        assert!(finished.stderr.contains("cannot continue the stream"));
        assert_eq!((snapshots_of(&source), over_a_channel(&source)), before);
    }
}

#[test]
fn both_connections_log_in() {
    for version in sources() {
        eprintln!("--- {version}");
        let source = able(version)
            .password("s3cret")
            .user("keyferry", "pw", "+psync +replconf")
            .start();
        let mut client = source.client();
        client.run(command!["SET", "a", "1"]);
        let least = format!("redis://keyferry:pw@{}", source.address());
        for (url, channels) in [(source.url(), 1), (least, 2)] {
            let target = Server::start("redis-8.0");
            let args = ["--until-caught-up", "--snapshot-channel", "on"];
            sync(&url, &target.url(), &args).wait(SOON).assert_code(0);
            Oracle::between(&source, &target).assert_equal(&source, &target);
            assert_eq!(over_a_channel(&source), channels);
        }
    }
}

/// A replica hands on the stream of its primary as it is: without a SELECT at its beginning.
#[test]
fn the_database_of_a_chained_source_is_known() {
    for version in sources() {
        eprintln!("--- {version}");
        let primary = Server::of(version).start();
        let source = able(version).start();
        let mut client = primary.client();
        fill(&mut client);
        source
            .client()
            .run(command!["CONFIG", "SET", "rdbcompression", "no"]);
        client.select(4);
        client.run(command!["SET", "before", "1"]);
        source.replicate(&primary);
        client.run(command!["SET", "selected", "1"]);
        source.wait_for_offset_of(&primary);
        let scene = Scene::of(source, Server::start("redis-8.0"), 0);
        let (proxy, mut keyferry) = held_in_snapshot(&scene, &[]);
        client.run(command!["SET", "meanwhile", "1"]);
        client.run(command!["INCR", "selected"]);
        proxy.let_go();
        keyferry.wait_for_stderr("following", SOON);
        scene.source.wait_for_offset_of(&primary);
        wait_until_confirmed(&scene.source, &mut keyferry);
        keyferry.signal("TERM");
        keyferry.wait(SOON).assert_code(0);
        Oracle::between(&primary, &scene.target).assert_equal(&primary, &scene.target);
        assert_eq!(over_a_channel(&scene.source), 1);
    }
}

#[test]
fn a_stream_that_is_silent_does_not_break_off_a_snapshot_that_comes() {
    for version in sources() {
        eprintln!("--- {version}");
        let source = able(version)
            .config("repl-ping-replica-period 1000")
            .start();
        let fill = "for i=1,40000 do redis.call('SET','key:'..i,string.rep('x',100)..i) end";
        source.client().run(command!["EVAL", fill, "0"]);
        let target = Server::start("redis-8.0");
        let proxy = Proxy::before(&source);
        proxy.set_after(snapshot_mark(version), Fault::Throttle(1 << 20));
        let args = ["--mode", "full", "--source-timeout", "1s"];
        sync(&proxy.url(), &target.url(), &args)
            .wait(SOON)
            .assert_code(0);
        Oracle::between(&source, &target).assert_equal(&source, &target);
        assert_eq!((over_a_channel(&source), snapshots_of(&source)), (1, 1));
    }
}

/// A target that takes nothing, and a spool that is smaller than the snapshot.
#[test]
fn a_snapshot_leaves_half_of_the_spool_to_the_stream() {
    for version in sources() {
        eprintln!("--- {version}");
        let scene = scene(able(version), version.name);
        let args = ["--spool-memory", "1mb", "--spool-disk", "12mb"];
        let (proxy, mut keyferry) = held_in_snapshot(&scene, &args);
        scene.target.freeze();
        proxy.let_go();
        keyferry.wait_for_stderr("the spool is half full", SOON);
        let mut client = scene.source.client();
        let before = proxy.passed_bytes();
        write_bytes(&mut client, 4_000_000);
        wait_for("the stream", SOON, || {
            proxy.passed_bytes() >= before + 4_000_000
        });
        scene.target.thaw();
        scene.finish_written(keyferry);
        assert_eq!((over_a_channel(&scene.source), scene.snapshots()), (1, 1));
    }
}

#[test]
fn a_dump_takes_no_second_connection() {
    for version in sources() {
        let source = able(version).start();
        source.client().run(command!["SET", "a", "1"]);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("dump.rdb");
        let args = [
            "rdb",
            "dump",
            "--source",
            &source.url(),
            "-o",
            file.to_str().unwrap(),
        ];
        Keyferry::run(&args, Duration::from_secs(60)).assert_code(0);
        assert_eq!((over_a_channel(&source), snapshots_of(&source)), (0, 1));
    }
}
