//! `keyferry checkpoint`: what unfinished migrations have left on a target.

use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::{
    cli::{Exit, args, columns::columns, diagnostics::Diagnostic, output},
    config::{Settings, Talk, TargetConfig},
    keyspace::Escaped,
    sink::{
        Admin, Checkpoint, CheckpointError, CheckpointPhase, Claim, Due, Error, Listed, Release,
        ReleaseStep, WritingConnection,
    },
};

/// The settings that its verbs have as flags.
const SETTINGS: &[&str] = &[
    "target",
    "target-password-file",
    "connect-timeout",
    "json",
    "log-level",
];

/// The command line of `keyferry checkpoint`.
pub(in crate::cli) fn command() -> Command {
    let name = Arg::new("name")
        .value_name("NAME")
        .required(true)
        .help("The name of the migration, as `checkpoint list` shows it");
    let force = Arg::new("force")
        .long("force")
        .action(ArgAction::SetTrue)
        .help(
            "Drop it although a keyferry writes for the migration; that one ends with exit code 4",
        );
    Command::new("checkpoint")
        .about("Show or remove what unfinished migrations have left on a target")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand(args::with_some_settings(
            Command::new("list").about("List the checkpoints on a target"),
            SETTINGS,
        ))
        .subcommand(args::with_some_settings(
            Command::new("drop")
                .about("Remove a checkpoint: the next run of that migration begins anew")
                .arg(name)
                .arg(force),
            SETTINGS,
        ))
}

/// Runs `verb`.
pub(in crate::cli) fn run(
    verb: &str,
    matches: &ArgMatches,
    settings: &Settings,
) -> Result<Exit, Diagnostic> {
    let config = TargetConfig::of(settings)?;
    let talk = Talk::of(settings)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Diagnostic::local("threads cannot be started", &error))?;
    runtime.block_on(async {
        let mut admin = Admin::open(&config.node, config.connect_timeout)
            .await
            .map_err(failed)?;
        let listed = admin.checkpoints().await.map_err(failed)?;
        match (verb, matches.try_get_one::<String>("name").ok().flatten()) {
            ("drop", Some(name)) => {
                let forced = matches.get_flag("force");
                drop_one(&mut admin, &listed, name, forced).await
            }
            _ => list(&listed, talk.json),
        }
    })
}

fn failed(error: crate::sink::Error) -> Diagnostic {
    Diagnostic::from(&crate::pipeline::Error::from(error))
}

fn list(listed: &[Listed], json: bool) -> Result<Exit, Diagnostic> {
    let text = match json {
        true => {
            let all: Vec<_> = listed.iter().map(as_json).collect();
            format!("{}\n", serde_json::Value::from(all))
        }
        false if listed.is_empty() => "no migration has left a checkpoint there\n".to_owned(),
        false => {
            let head = ["name", "source", "phase", "db", "offset", "replid"];
            let mut rows = vec![head.map(str::to_owned).to_vec()];
            rows.extend(listed.iter().map(as_row));
            columns(&rows, head.len())
        }
    };
    output::print(text.as_bytes())?;
    Ok(Exit::Success)
}

fn as_row((name, found): &Listed) -> Vec<String> {
    let name = Escaped(name.as_bytes()).to_string();
    match found {
        Ok(Some(checkpoint)) => {
            let Checkpoint {
                source,
                phase,
                db,
                offset,
                replid,
                ..
            } = checkpoint;
            let source = Escaped(source.as_bytes()).to_string();
            let place = match phase {
                CheckpointPhase::Snapshot => ["-".into(), "-".into(), "-".into()],
                CheckpointPhase::Stream => [db.to_string(), offset.to_string(), replid.clone()],
            };
            [vec![name, source, phase.to_string()], place.to_vec()].concat()
        }
        Ok(None) => vec![name, "-".into(), "not begun".into()],
        Err(CheckpointError(field)) => vec![name, "-".into(), format!("unreadable: {field}")],
    }
}

fn as_json((name, found): &Listed) -> serde_json::Value {
    let mut object = serde_json::Map::new();
    object.insert("name".into(), name.as_str().into());
    match found {
        Ok(Some(checkpoint)) => {
            object.insert("source".into(), checkpoint.source.as_str().into());
            object.insert("phase".into(), checkpoint.phase.to_string().into());
            object.insert("replid".into(), checkpoint.replid.as_str().into());
            object.insert("offset".into(), checkpoint.offset.into());
            object.insert("db".into(), checkpoint.db.0.into());
            object.insert("expiries_held".into(), checkpoint.held.into());
            object.insert("import_mode".into(), checkpoint.import_mode.into());
        }
        Ok(None) => {}
        Err(error) => {
            object.insert("error".into(), error.to_string().into());
        }
    }
    object.into()
}

/// Drops a checkpoint for which nobody writes, or whose writers may be shut out. Expiries that are
/// held get their true time: no later run would know of them.
async fn drop_one(
    admin: &mut Admin,
    listed: &[Listed],
    name: &str,
    forced: bool,
) -> Result<Exit, Diagnostic> {
    let Some((_, found)) = listed.iter().find(|(found, _)| found == name) else {
        return Err(Diagnostic::usage(
            &format!("there is no checkpoint called {name}"),
            "the target holds none of that name",
            "see the names with keyferry checkpoint list",
        ));
    };
    if !forced {
        let writing = admin.writing_connections(name).await.map_err(failed)?;
        if let Some(writer) = writing.unwrap_or_default().first() {
            return Err(in_use(name, writer));
        }
    }
    admin.shut_out_all(name).await.map_err(failed)?;
    let mut said = format!("removed the checkpoint {name}\n");
    if matches!(found, Ok(Some(checkpoint)) if may_hold(checkpoint)) {
        let released = release(admin).await.map_err(failed)?;
        said.push_str(&format!("released {released} held expiries\n"));
    }
    if matches!(found, Ok(Some(checkpoint)) if checkpoint.import_mode)
        && leave_import_mode(admin, name).await.map_err(failed)?
    {
        said.push_str("the target is out of import mode\n");
    }
    admin.drop_checkpoint(name).await.map_err(failed)?;
    output::print(said.as_bytes())?;
    Ok(Exit::Success)
}

fn in_use(name: &str, writer: &WritingConnection) -> Diagnostic {
    Diagnostic::usage(
        &format!("the migration {name} is running"),
        &format!("a keyferry writes for it, from {}", writer.address),
        "stop that one first; or add --force: it then ends with exit code 4",
    )
}

/// Whether there may be expiries that are held: a snapshot does not say so before its end.
fn may_hold(checkpoint: &Checkpoint) -> bool {
    checkpoint.held || checkpoint.phase == CheckpointPhase::Snapshot
}

async fn release(admin: &mut Admin) -> Result<u64, Error> {
    let target = admin.probe().await?;
    let mut release = Release::new(&target, true);
    while release.page(admin, Due::All).await? == ReleaseStep::More {}
    Ok(release.released())
}

/// Puts the target out of import mode, unless another migration needs it; whether that was done.
async fn leave_import_mode(admin: &mut Admin, name: &str) -> Result<bool, Error> {
    let others = admin.is_imported_by_others(Some(&Claim::new(name))).await?;
    Ok(!others && admin.import_mode().await == Some(true) && admin.set_import_mode(false).await?)
}
