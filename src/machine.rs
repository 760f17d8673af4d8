//! What this machine offers: memory, cores, open files.
//!
//! What the server takes of it is for [`crate::config`] to say.

use std::path::{Path, PathBuf};
use std::{fs, io, thread};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Memory in bytes that this process may use at most: the machine's, or what its control groups (cgroup v1 or v2) leave.
///
/// `None` where neither can be read: on anything but Linux.
#[must_use]
pub fn memory_bytes() -> Option<u64> {
    memory(|path| fs::read_to_string(path).ok())
}

/// Cores that this process may use, 1 at least: affinity and CPU quotas count.
#[must_use]
pub fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Raises the soft limit of open files to the hard limit, and returns what holds now; `u64::MAX` for no limit.
///
/// # Errors
///
/// What the system says of it. The old limit goes on holding then.
pub fn raise_file_limit() -> io::Result<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        let raised = Rlimit {
            current: maximum,
            maximum,
        };
        setrlimit(Resource::Nofile, raised)?;
    }
    Ok(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX))
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
        let held = raise_file_limit().unwrap();
        assert_eq!(held, getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX));
    }

    #[test]
    fn this_machine_has_a_core() {
        assert!(cores() >= 1);
    }
}
