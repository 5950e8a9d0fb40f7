//! The directory of a spool: made by us, marked as ours, locked, readable by nobody else.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{Error, ErrorKind, Refusal, SegmentReader, segment::Kind};

const MARKER: &str = "KEYFERRY-SPOOL";
const MARKER_TEXT: &[u8] = b"KEYFERRY-SPOOL 1\n";
const LOCK: &str = "lock";

/// How long a lock is waited for: one that was given up is free when the last write has ended.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);

/// A directory of our own, locked against other processes while this or a clone of it lives.
///
/// One spool or journal is open on it at a time. What its methods do they do at once, with files:
/// they are not for the threads of the runtime.
#[derive(Debug, Clone)]
pub struct Directory(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    lock: File,
    tenancy: Mutex<Tenancy>,
    vacated: Condvar,
}

/// Whether a spool or journal is open on a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tenancy {
    Vacant,
    Taken,
    /// Given up by who opened it; a write may still be under way.
    Leaving,
}

impl Directory {
    /// Opens the directory `name` in `path`, or makes it (mode 0700), and `path` if need be.
    ///
    /// # Errors
    /// `Refused` when it exists and is not ours, or is open to others; `Locked` when another
    /// process has it open, or this one; `Open`.
    pub fn open(path: &Path, name: &str) -> Result<Directory, Error> {
        let refused = |refusal| Error::new(path.join(name), ErrorKind::Refused(refusal));
        let failed = |error| Error::new(path.join(name), ErrorKind::Open(error));
        let is_plain = !name.starts_with('.')
            && !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if !is_plain {
            return Err(refused(Refusal::Name));
        }
        let directory = path.join(name);
        fs::create_dir_all(path).map_err(failed)?;
        match fs::symlink_metadata(&directory) {
            Ok(found) => check(&directory, &found)
                .map_err(failed)?
                .map_err(refused)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make(path, &directory).map_err(failed)?;
            }
            Err(error) => return Err(failed(error)),
        }
        let lock = lock(&directory)?;
        Ok(Directory(Arc::new(Inner {
            path: directory,
            lock,
            tenancy: Mutex::new(Tenancy::Vacant),
            vacated: Condvar::new(),
        })))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Removes what spools and journals have left in it, and nothing else.
    ///
    /// # Errors
    /// `InUse` while one is open on it; `Read`; `Remove`.
    pub fn clear(&self) -> Result<(), Error> {
        let _tenant = self.take()?;
        self.remove_all(Kind::Spool)?;
        self.remove_all(Kind::Journal)
    }

    pub(super) fn remove_all(&self, kind: Kind) -> Result<(), Error> {
        for number in self.numbers(kind)? {
            let path = self.segment(kind, number);
            fs::remove_file(&path).map_err(|error| Error::new(path, ErrorKind::Remove(error)))?;
        }
        Ok(())
    }

    /// The numbers of the segments, in order.
    pub(super) fn numbers(&self, kind: Kind) -> Result<Vec<u64>, Error> {
        let failed = |error| Error::new(self.path(), ErrorKind::Read(error));
        let mut numbers = Vec::new();
        for entry in fs::read_dir(self.path()).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let is_file = entry.file_type().map_err(failed)?.is_file();
            numbers.extend(number_of(kind, &entry.file_name()).filter(|_| is_file));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Where the segment of this number is.
    pub(super) fn segment(&self, kind: Kind, number: u64) -> PathBuf {
        self.path().join(segment_name(kind, number))
    }

    /// Opens a segment; an error stands for the whole of it.
    pub(super) fn open_segment(
        &self,
        kind: Kind,
        number: u64,
    ) -> Result<SegmentReader<File>, super::segment::SegmentError> {
        SegmentReader::new(File::open(self.segment(kind, number))?)
    }

    /// Takes the directory for a spool or journal.
    pub(super) fn take(&self) -> Result<Tenant, Error> {
        let mut tenancy = self.wait_for_leaving();
        if *tenancy == Tenancy::Taken {
            return Err(Error::new(self.path(), ErrorKind::InUse));
        }
        *tenancy = Tenancy::Taken;
        Ok(Tenant(self.clone()))
    }

    /// Says that who opened a spool is gone, so that others wait for its last write.
    pub(super) fn leave(&self) {
        let mut tenancy = self
            .0
            .tenancy
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if *tenancy == Tenancy::Taken {
            *tenancy = Tenancy::Leaving;
        }
    }

    fn wait_for_leaving(&self) -> std::sync::MutexGuard<'_, Tenancy> {
        let tenancy = self
            .0
            .tenancy
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        self.0
            .vacated
            .wait_while(tenancy, |tenancy| *tenancy == Tenancy::Leaving)
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The spool or journal that is open on a directory; the directory is free again without it.
#[derive(Debug)]
pub(super) struct Tenant(pub(super) Directory);

impl Drop for Tenant {
    fn drop(&mut self) {
        let inner = &self.0.0;
        *inner.tenancy.lock().unwrap_or_else(PoisonError::into_inner) = Tenancy::Vacant;
        inner.vacated.notify_all();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Nobody is to look for a process that is gone. Closing the file gives up the lock.
        let _ = self.lock.set_len(0);
    }
}

fn extension(kind: Kind) -> &'static str {
    match kind {
        Kind::Spool => "spool",
        Kind::Journal => "journal",
    }
}

fn segment_name(kind: Kind, number: u64) -> String {
    format!("{number:016x}.{}", extension(kind))
}

/// The number of the segment of this name, if it is one.
fn number_of(kind: Kind, name: &std::ffi::OsStr) -> Option<u64> {
    let name = name.to_str()?;
    let number = u64::from_str_radix(name.split_once('.')?.0, 16).ok()?;
    (segment_name(kind, number) == name).then_some(number)
}

/// Whether an existing directory is ours, and nobody else's.
fn check(directory: &Path, found: &fs::Metadata) -> io::Result<Result<(), Refusal>> {
    if !found.is_dir() {
        return Ok(Err(Refusal::NoDirectory));
    }
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Ok(Err(Refusal::Owner));
    }
    let mut text = Vec::new();
    let is_marked = match File::open(directory.join(MARKER)) {
        Ok(marker) => {
            marker
                .take(MARKER_TEXT.len() as u64 + 1)
                .read_to_end(&mut text)?;
            text == MARKER_TEXT
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(error),
    };
    Ok(match found.permissions().mode() & 0o077 {
        _ if !is_marked => Err(Refusal::NoMarker),
        0 => Ok(()),
        _ => Err(Refusal::Mode),
    })
}

/// Makes the directory with its marker under another name first, so that none without it is left.
fn make(path: &Path, directory: &Path) -> io::Result<()> {
    let made = tempfile::Builder::new().prefix(".new-").tempdir_in(path)?;
    let inside = made.path().join("spool");
    DirBuilder::new().mode(0o700).create(&inside)?;
    new_file(&inside.join(MARKER))?.write_all(MARKER_TEXT)?;
    fs::rename(inside, directory)
}

/// Makes a file that only its owner can read.
pub(super) fn new_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

fn lock(directory: &Path) -> Result<File, Error> {
    let failed = |error| Error::new(directory, ErrorKind::Open(error));
    let mut lock = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(directory.join(LOCK))
        .map_err(failed)?;
    let since = Instant::now();
    let mut locked = lock.try_lock();
    while matches!(locked, Err(TryLockError::WouldBlock)) && since.elapsed() < LOCK_PATIENCE {
        std::thread::sleep(LOCK_PATIENCE / 100);
        locked = lock.try_lock();
    }
    match locked {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let read = (&mut lock).take(20).read_to_string(&mut pid);
            let pid = read.ok().and_then(|_| pid.trim().parse().ok());
            return Err(Error::new(directory, ErrorKind::Locked { pid }));
        }
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    // The process id is for the message only.
    let _ = lock.set_len(0);
    let _ = writeln!(lock, "{}", std::process::id());
    Ok(lock)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn refusal(path: &Path, name: &str) -> Refusal {
        match Directory::open(path, name).unwrap_err().kind {
            ErrorKind::Refused(refusal) => refusal,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn is_made_for_its_owner_alone_and_opens_again() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/b");
        let directory = Directory::open(&path, "stream-1").unwrap();
        assert_eq!(directory.path(), path.join("stream-1"));
        assert_eq!(mode(directory.path()), 0o700);
        for file in [MARKER, LOCK] {
            assert_eq!(mode(&directory.path().join(file)), 0o600, "{file}");
        }
        assert_eq!(
            fs::read_dir(&path).unwrap().count(),
            1,
            "nothing else is left"
        );
        drop(directory);
        Directory::open(&path, "stream-1").unwrap();
    }

    #[test]
    fn what_is_not_ours_is_refused_and_left_as_it_is() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path();
        fs::create_dir(path.join("empty")).unwrap();
        fs::create_dir(path.join("other")).unwrap();
        fs::write(path.join("other").join(MARKER), "KEYFERRY-SPOOL 2\n").unwrap();
        fs::write(path.join("file"), "mine").unwrap();
        drop(Directory::open(path, "real").unwrap());
        std::os::unix::fs::symlink(path.join("real"), path.join("link")).unwrap();
        drop(Directory::open(path, "open").unwrap());
        fs::set_permissions(path.join("open"), fs::Permissions::from_mode(0o750)).unwrap();
        for (name, expected) in [
            ("empty", Refusal::NoMarker),
            ("other", Refusal::NoMarker),
            ("file", Refusal::NoDirectory),
            ("link", Refusal::NoDirectory),
            ("open", Refusal::Mode),
            ("", Refusal::Name),
            ("..", Refusal::Name),
            (".hidden", Refusal::Name),
            ("a/b", Refusal::Name),
        ] {
            assert_eq!(refusal(path, name), expected, "{name}");
        }
        assert_eq!(fs::read_dir(path.join("empty")).unwrap().count(), 0);
        assert_eq!(fs::read(path.join("file")).unwrap(), b"mine");
        assert_eq!(mode(&path.join("open")), 0o750);
    }

    #[test]
    fn belonging_to_another_user_is_refused() {
        let root = tempfile::tempdir().unwrap();
        drop(Directory::open(root.path(), "a").unwrap());
        // Only root can give a directory away; others cannot make this case.
        if std::os::unix::fs::chown(root.path().join("a"), Some(12345), None).is_ok() {
            assert_eq!(refusal(root.path(), "a"), Refusal::Owner);
        }
    }

    #[test]
    fn a_second_opener_is_told_who_has_it() {
        let root = tempfile::tempdir().unwrap();
        let first = Directory::open(root.path(), "a").unwrap();
        let error = Directory::open(root.path(), "a").unwrap_err();
        let pid = std::process::id();
        assert!(matches!(error.kind, ErrorKind::Locked { pid: Some(p) } if p == pid));
        assert!(error.to_string().contains(&format!("process {pid}")));
        let clone = first.clone();
        drop(first);
        assert!(
            Directory::open(root.path(), "a").is_err(),
            "a clone holds it"
        );
        drop(clone);
        Directory::open(root.path(), "a").unwrap();
    }

    #[test]
    fn only_exact_names_are_segments() {
        for (name, expected) in [
            ("000000000000002a.spool", Some(42)),
            ("000000000000002A.spool", None),
            ("2a.spool", None),
            ("000000000000002a.spool.bak", None),
            ("000000000000002a.journal", None),
            ("+00000000000002a.spool", None),
            ("lock", None),
        ] {
            assert_eq!(number_of(Kind::Spool, name.as_ref()), expected, "{name}");
        }
    }

    #[test]
    fn clearing_takes_segments_only_and_not_under_a_spool() {
        let root = tempfile::tempdir().unwrap();
        let directory = Directory::open(root.path(), "a").unwrap();
        let foreign = ["notes.txt", "2a.spool", "000000000000002a.spool.bak"];
        for name in foreign {
            fs::write(directory.path().join(name), name).unwrap();
        }
        for kind in [Kind::Spool, Kind::Journal] {
            new_file(&directory.segment(kind, 42)).unwrap();
        }
        fs::create_dir(directory.segment(Kind::Spool, 43)).unwrap();
        let tenant = directory.take().unwrap();
        assert!(matches!(
            directory.clear().unwrap_err().kind,
            ErrorKind::InUse
        ));
        drop(tenant);
        directory.clear().unwrap();
        for name in foreign {
            assert_eq!(
                fs::read(directory.path().join(name)).unwrap(),
                name.as_bytes()
            );
        }
        assert!(directory.segment(Kind::Spool, 43).is_dir());
        assert!(!directory.segment(Kind::Spool, 42).exists());
        assert!(!directory.segment(Kind::Journal, 42).exists());
    }
}
