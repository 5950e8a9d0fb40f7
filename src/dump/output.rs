//! Where what is made of an RDB goes: a file that appears whole or not at all, or a stream.
//!
//! A file is written under a temporary name in its own directory, readable by its owner only.
//! [`Output::finish`] brings it to the disk and gives it its name in one step; before that an
//! older file of the name is as it was. Whoever drops an [`Output`] unfinished removes what was
//! written. Only a process that is killed, or a machine that stops, leaves the temporary file
//! behind: `.NAME.??????.keyferry`.

use std::{
    ffi::OsString,
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;

use super::Error;

/// How much is gathered before it is written.
const BUFFER_BYTES: usize = 256 << 10;
/// Nobody but its owner reads or writes the file.
const OWNER_ONLY: u32 = 0o600;
/// The end of temporary names.
const TEMPORARY: &str = ".keyferry";

/// Something that is being written. It is buffered; [`Output::finish`] completes it.
pub struct Output {
    /// How messages name it.
    name: String,
    to: To,
    bytes: u64,
}

enum To {
    File {
        file: BufWriter<Temporary>,
        path: PathBuf,
        overwrite: bool,
    },
    Stream(BufWriter<Box<dyn Write + Send>>),
}

/// Why an output could not be written.
#[derive(Debug, thiserror::Error)]
#[error("{output} {kind}")]
pub struct OutputError {
    /// The file, or how the stream is called.
    pub output: String,
    /// What went wrong.
    pub kind: OutputErrorKind,
}

/// What can go wrong while an output is written.
#[derive(Debug, thiserror::Error)]
pub enum OutputErrorKind {
    /// There is such a file, and it was not said that it may be overwritten.
    #[error("exists")]
    Exists,
    /// There is something of that name that is not a regular file.
    #[error("is not a regular file")]
    Special,
    /// The temporary file cannot be created.
    #[error("cannot be created")]
    Create(#[source] io::Error),
    /// It cannot be written, brought to the disk or given its name.
    #[error("cannot be written")]
    Write(#[source] io::Error),
}

/// Why what was read from one place could not be brought to another.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// Reading failed.
    #[error(transparent)]
    Read(#[from] Error),
    /// Writing failed.
    #[error(transparent)]
    Write(#[from] OutputError),
}

impl OutputError {
    /// Why it failed; empty where the first line says it all.
    pub fn why(&self) -> String {
        match &self.kind {
            OutputErrorKind::Exists => "it would be replaced".into(),
            OutputErrorKind::Special => "it cannot be replaced by a file in one step".into(),
            OutputErrorKind::Create(error) | OutputErrorKind::Write(error) => error.to_string(),
        }
    }

    /// What to do next.
    pub fn next(&self) -> String {
        match self.kind {
            OutputErrorKind::Write(_) if self.is_closed() => {
                "see why the program that read it ended before all was written".into()
            }
            OutputErrorKind::Exists => "give another name, or --overwrite".into(),
            OutputErrorKind::Special => {
                "give the name of a file; -o - writes to standard output".into()
            }
            OutputErrorKind::Create(_) => "check the directory and its permissions".into(),
            OutputErrorKind::Write(_) => "check the free space and the disk, and rerun".into(),
        }
    }

    /// Whether the reader of the stream went away.
    pub fn is_closed(&self) -> bool {
        matches!(&self.kind, OutputErrorKind::Write(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl Output {
    /// Writes a file. An existing one is replaced at the end, if `overwrite` allows it.
    ///
    /// # Errors
    /// `Exists`, `Special`, `Create`.
    pub fn file(path: &Path, overwrite: bool) -> Result<Output, OutputError> {
        let name = path.display().to_string();
        let failed = |kind| OutputError {
            output: name.clone(),
            kind,
        };
        // A link would be replaced, not what it points to.
        match fs::symlink_metadata(path) {
            Ok(found) if !found.is_file() => return Err(failed(OutputErrorKind::Special)),
            Ok(_) if !overwrite => return Err(failed(OutputErrorKind::Exists)),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(OutputErrorKind::Create(error))),
        }
        let file = temporary(path).map_err(|error| failed(OutputErrorKind::Create(error)))?;
        Ok(Output {
            to: To::File {
                file: BufWriter::with_capacity(BUFFER_BYTES, file),
                path: path.to_owned(),
                overwrite,
            },
            name,
            bytes: 0,
        })
    }

    /// Writes a stream as it comes.
    pub fn stream(name: &str, stream: Box<dyn Write + Send>) -> Output {
        Output {
            name: name.to_owned(),
            to: To::Stream(BufWriter::with_capacity(BUFFER_BYTES, stream)),
            bytes: 0,
        }
    }

    /// How messages name it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many bytes were written.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// `Write`.
    pub fn put(&mut self, bytes: &[u8]) -> Result<(), OutputError> {
        self.write_all(bytes).map_err(|error| self.failed(error))
    }

    /// Completes it: a file is on the disk under its name when this returns.
    ///
    /// Returns how many bytes it has.
    ///
    /// # Errors
    /// `Write`; `Exists` when somebody made a file of the name meanwhile.
    pub fn finish(self) -> Result<u64, OutputError> {
        let Output { name, to, bytes } = self;
        let finished = match to {
            To::Stream(mut stream) => stream.flush(),
            To::File {
                file,
                path,
                overwrite,
            } => publish(file, &path, overwrite),
        };
        match finished {
            Ok(()) => Ok(bytes),
            Err(error) => Err(failed(name, error)),
        }
    }

    /// The error for what `io::Write` gave.
    pub fn failed(&self, error: io::Error) -> OutputError {
        failed(self.name.clone(), error)
    }
}

fn failed(output: String, error: io::Error) -> OutputError {
    let kind = match error.kind() {
        io::ErrorKind::AlreadyExists => OutputErrorKind::Exists,
        _ => OutputErrorKind::Write(error),
    };
    OutputError { output, kind }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = match &mut self.to {
            To::File { file, .. } => file.write(bytes)?,
            To::Stream(stream) => stream.write(bytes)?,
        };
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.to {
            To::File { file, .. } => file.flush(),
            To::Stream(stream) => stream.flush(),
        }
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output")
            .field("name", &self.name)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

/// The directory of a file; a bare name stands in the current one.
fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    }
}

/// A file under its temporary name. Errors do not say that name, which means nothing to anybody.
struct Temporary(NamedTempFile);

impl Write for Temporary {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.as_file_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.as_file_mut().flush()
    }
}

fn temporary(path: &Path) -> io::Result<Temporary> {
    let Some(name) = path.file_name() else {
        return Err(io::ErrorKind::InvalidFilename.into());
    };
    let mut prefix = OsString::from(".");
    prefix.push(name);
    prefix.push(".");
    tempfile::Builder::new()
        .prefix(&prefix)
        .suffix(TEMPORARY)
        .make_in(directory(path), |path| {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create_new(true);
            options.mode(OWNER_ONLY).open(path)
        })
        .map(Temporary)
}

/// Brings the content to the disk, then the name.
fn publish(mut file: BufWriter<Temporary>, path: &Path, overwrite: bool) -> io::Result<()> {
    file.flush()?;
    let Temporary(file) = file.into_inner().map_err(|error| error.into_error())?;
    file.as_file().sync_all()?;
    match overwrite {
        true => file.persist(path),
        false => file.persist_noclobber(path),
    }
    .map_err(|error| error.error)?;
    File::open(directory(path))?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::fs::{MetadataExt, symlink},
        sync::{Arc, Mutex},
    };

    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_appears_with_its_end_and_belongs_to_its_owner() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("dump.rdb");
        let mut output = Output::file(&path, false).unwrap();
        output.put(b"REDIS").unwrap();
        output.write_all(b"0009").unwrap();
        let names_before = names(directory.path());
        assert_eq!(names_before.len(), 1, "{names_before:?}");
        assert!(
            names_before[0].starts_with(".dump.rdb."),
            "{names_before:?}"
        );
        assert_eq!(output.finish().unwrap(), 9);
        assert_eq!(names(directory.path()), ["dump.rdb"]);
        assert_eq!(fs::read(&path).unwrap(), b"REDIS0009");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn what_is_not_finished_leaves_nothing_and_the_old_file_as_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out");
        fs::write(&path, "old").unwrap();
        let mut output = Output::file(&path, true).unwrap();
        output.put(&vec![b'x'; 2 * BUFFER_BYTES]).unwrap();
        drop(output);
        assert_eq!(names(directory.path()), ["out"]);
        assert_eq!(fs::read(&path).unwrap(), b"old");

        let mut output = Output::file(&path, true).unwrap();
        output.put(b"new").unwrap();
        output.finish().unwrap();
        assert_eq!(names(directory.path()), ["out"]);
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn nothing_is_replaced_unasked() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("old"), "old").unwrap();
        symlink(at("old"), at("link")).unwrap();
        for (name, path, overwrite, expected) in [
            ("a file", at("old"), false, "exists"),
            (
                "a link to a file",
                at("link"),
                true,
                "is not a regular file",
            ),
            (
                "a directory",
                directory.path().into(),
                true,
                "is not a regular file",
            ),
            (
                "a device",
                "/dev/null".into(),
                true,
                "is not a regular file",
            ),
            ("no directory", at("none/out"), false, "cannot be created"),
            ("no name", at(".."), true, "is not a regular file"),
        ] {
            let error = Output::file(&path, overwrite).unwrap_err();
            assert_eq!(error.kind.to_string(), expected, "{name}");
            assert!(!error.next().is_empty(), "{name}");
            assert!(!error.why().contains(TEMPORARY), "{name}: {}", error.why());
        }
        assert_eq!(names(directory.path()), ["link", "old"]);

        // Somebody else was faster.
        let mut output = Output::file(&at("new"), false).unwrap();
        output.put(b"ours").unwrap();
        fs::write(at("new"), "theirs").unwrap();
        let error = output.finish().unwrap_err();
        assert!(matches!(error.kind, OutputErrorKind::Exists), "{error}");
        assert_eq!(fs::read(at("new")).unwrap(), b"theirs");
        assert_eq!(names(directory.path()), ["link", "new", "old"]);
    }

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_stream_is_written_as_it_comes() {
        let shared = Shared::default();
        let mut output = Output::stream("standard output", Box::new(shared.clone()));
        output.put(b"abc").unwrap();
        assert_eq!(output.finish().unwrap(), 3);
        assert_eq!(*shared.0.lock().unwrap(), b"abc");

        let mut output = Output::stream("standard output", Box::new(Closed));
        let error = output.put(&vec![0; 2 * BUFFER_BYTES]).unwrap_err();
        assert!(error.is_closed());
        assert_eq!(error.to_string(), "standard output cannot be written");
    }
}
