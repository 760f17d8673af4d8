//! What this machine offers: memory, cores, open files.
//!
//! What the server takes of it is for [`crate::server::config`] to say.

use std::path::{Path, PathBuf};
use std::{fs, io, thread};

use rustix::param::page_size;
use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};

/// Memory in bytes that this process may use at most: the machine's, or what its control groups (cgroup v1 or v2)
/// leave.
///
/// `None` where neither can be read: on anything but Linux.
#[must_use]
pub fn memory_bytes() -> Option<u64> {
    memory(|path| fs::read_to_string(path).ok())
}

/// Resident memory of this process in bytes. `None` where /proc can't be read.
#[must_use]
pub fn resident_bytes() -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    resident_pages(&statm)?.checked_mul(u64::try_from(page_size()).ok()?)
}

/// The second number of `/proc/self/statm`.
fn resident_pages(statm: &str) -> Option<u64> {
    statm.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Cores that this process may use, 1 at least: affinity and CPU quotas count.
#[must_use]
pub fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// What became of the soft limit of open files.
#[derive(Debug)]
pub struct FileLimit {
    /// Files that the process may have open now; `u64::MAX` for no limit.
    pub files: u64,
    /// Why the limit could not be raised to the hard limit, if it couldn't: it is as it was then.
    pub refused: Option<io::Error>,
}

/// Raises the soft limit of open files to the hard limit, if the system lets it.
#[must_use]
pub fn raise_file_limit() -> FileLimit {
    let limit = getrlimit(Resource::Nofile);
    raise(limit, |raised| Ok(setrlimit(Resource::Nofile, raised)?))
}

/// Raises this limit with `set`.
fn raise(limit: Rlimit, set: impl FnOnce(Rlimit) -> io::Result<()>) -> FileLimit {
    let Rlimit { current, maximum } = limit;
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    let refused = if current == maximum { None } else { set(raised).err() };
    let held = if refused.is_some() { current } else { maximum };
    FileLimit {
        files: held.unwrap_or(u64::MAX),
        refused,
    }
}

/// Has the system write no core dump of this process, whose memory holds mail and keys, and keep other processes of
/// its user from reading that memory. What `/proc` shows to all users of a process remains.
///
/// # Errors
/// The system refuses it, or has no such thing.
pub fn forbid_core_dumps() -> io::Result<()> {
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

/// The least of all limits found in the files of which `read` gives the text.
fn memory(read: impl Fn(&Path) -> Option<String>) -> Option<u64> {
    let total = read(Path::new("/proc/meminfo")).and_then(|text| memory_total(&text));
    let groups = read(Path::new("/proc/self/cgroup")).unwrap_or_default();
    let limits = limit_files(&groups)
        .into_iter()
        .filter_map(|path| group_limit(&read(&path)?));
    limits.chain(total).min()
}

/// `MemTotal` of `/proc/meminfo`, in bytes.
fn memory_total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    kib.checked_mul(1024)
}

/// The files that may hold a limit for the groups that `/proc/self/cgroup` names.
///
/// A limit of any group above holds too. Inside a container the named path may not be there, but the root is its group.
fn limit_files(groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
            continue;
        };
        let (root, file) = if controllers.is_empty() {
            ("/sys/fs/cgroup", "memory.max")
        } else if controllers.split(',').any(|controller| controller == "memory") {
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
        } else {
            continue;
        };
        let below = Path::new(path.trim_start_matches('/'));
        files.extend(below.ancestors().map(|group| Path::new(root).join(group).join(file)));
    }
    files
}

/// The text of a limit file: bytes, or `max` for none.
fn group_limit(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMINFO: &str = "MemTotal:        8138056 kB\nMemFree:          412816 kB\n";
    const MACHINE_BYTES: u64 = 8_138_056 * 1024;

    /// The memory of a machine that has these files.
    fn memory_of(files: &[(&str, &str)]) -> Option<u64> {
        memory(|path| {
            files
                .iter()
                .find(|(name, _)| Path::new(name) == path)
                .map(|(_, text)| (*text).to_owned())
        })
    }

    #[test]
    fn without_a_group_limit_the_machine_counts() {
        assert_eq!(memory_of(&[("/proc/meminfo", MEMINFO)]), Some(MACHINE_BYTES));
        let unlimited = [
            ("/proc/meminfo", MEMINFO),
            ("/proc/self/cgroup", "0::/user.slice\n"),
            ("/sys/fs/cgroup/user.slice/memory.max", "max\n"),
        ];
        assert_eq!(memory_of(&unlimited), Some(MACHINE_BYTES));
    }

    #[test]
    fn the_least_limit_of_all_groups_above_counts() {
        let files = [
            ("/proc/meminfo", MEMINFO),
            ("/proc/self/cgroup", "0::/system.slice/npchatd.service\n"),
            ("/sys/fs/cgroup/system.slice/npchatd.service/memory.max", "2147483648\n"),
            ("/sys/fs/cgroup/system.slice/memory.max", "1073741824\n"),
        ];
        assert_eq!(memory_of(&files), Some(1_073_741_824));
    }

    #[test]
    fn a_container_finds_its_limit_at_the_root() {
        let files = [
            ("/proc/meminfo", MEMINFO),
            ("/proc/self/cgroup", "0::/docker/0123abcd\n"),
            ("/sys/fs/cgroup/memory.max", "536870912\n"),
        ];
        assert_eq!(memory_of(&files), Some(536_870_912));
    }

    #[test]
    fn version_1_groups_count_and_their_no_limit_is_above_any_machine() {
        let groups = "5:cpuset:/\n4:cpu,memory:/box\n0::/\n";
        let limited = |limit| {
            memory_of(&[
                ("/proc/meminfo", MEMINFO),
                ("/proc/self/cgroup", groups),
                ("/sys/fs/cgroup/memory/box/memory.limit_in_bytes", limit),
            ])
        };
        assert_eq!(limited("268435456\n"), Some(268_435_456));
        assert_eq!(limited("9223372036854771712\n"), Some(MACHINE_BYTES));
    }

    #[test]
    fn files_that_make_no_sense_are_no_limit() {
        assert_eq!(memory_of(&[]), None);
        for meminfo in [
            "",
            "MemTotal:",
            "MemTotal: many kB",
            "MemTotal: 18446744073709551615 kB",
        ] {
            assert_eq!(
                memory_of(&[("/proc/meminfo", meminfo), ("/proc/self/cgroup", "0\n::\n\0")]),
                None
            );
        }
    }

    #[test]
    fn the_file_limit_is_raised_to_the_hard_limit() {
        let FileLimit { files, refused } = raise_file_limit();
        assert!(refused.is_none(), "{refused:?}");
        let held = getrlimit(Resource::Nofile);
        assert_eq!(held.current, held.maximum);
        assert_eq!(files, held.maximum.unwrap_or(u64::MAX));
    }

    #[test]
    fn a_file_limit_that_may_not_be_raised_stays_and_is_enough() {
        let limit = |current, maximum| Rlimit { current, maximum };
        let refuse = |_| Err(io::ErrorKind::PermissionDenied.into());
        let held = raise(limit(Some(1024), Some(4096)), refuse);
        assert_eq!(held.files, 1024);
        assert_eq!(
            held.refused.map(|error| error.kind()),
            Some(io::ErrorKind::PermissionDenied)
        );
        let held = raise(limit(Some(1024), None), |raised| {
            assert_eq!((raised.current, raised.maximum), (None, None));
            Ok(())
        });
        assert_eq!((held.files, held.refused.is_none()), (u64::MAX, true));
        let held = raise(limit(Some(4096), Some(4096)), refuse);
        assert_eq!((held.files, held.refused.is_none()), (4096, true));
    }

    #[test]
    fn resident_memory_is_the_second_number_of_statm() {
        assert_eq!(resident_pages("9410 1024 900 1 0 700 0\n"), Some(1024));
        assert_eq!(
            [resident_pages(""), resident_pages("1"), resident_pages("1 x")],
            [None; 3]
        );
    }

    #[test]
    fn this_machine_has_a_core() {
        assert!(cores() >= 1);
    }
}
