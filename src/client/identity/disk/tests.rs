//! Rights, whole files, and files that are there already.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use super::*;

/// A folder of its own, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let mut random = [0; 8];
        fill(&mut random).unwrap();
        let name = format!("npchat-identity-{:016x}", u64::from_be_bytes(random));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("identity.json")
    }

    fn names(&self) -> Vec<OsString> {
        let entries = fs::read_dir(&self.0).unwrap();
        entries.map(|entry| entry.unwrap().file_name()).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_new_file_is_its_owners_alone_and_nothing_is_left_beside_it() {
    let folder = Folder::new();
    create(&folder.file(), b"one").unwrap();
    assert_eq!(read(&folder.file()).unwrap()[..], *b"one");
    assert_eq!(fs::metadata(folder.file()).unwrap().mode() & 0o7777, 0o600);
    assert_eq!(folder.names(), ["identity.json"]);
}

#[test]
fn a_file_that_is_there_is_left_as_it_is() {
    let folder = Folder::new();
    create(&folder.file(), b"one").unwrap();
    let error = create(&folder.file(), b"two").unwrap_err();
    assert!(matches!(error, DiskError::Exists(_)), "{error}");
    assert_eq!(read(&folder.file()).unwrap()[..], *b"one");
    assert_eq!(folder.names(), ["identity.json"]);
    // Even one that leads nowhere.
    let link = folder.0.join("link");
    symlink("nowhere", &link).unwrap();
    assert!(matches!(create(&link, b"two"), Err(DiskError::Exists(_))));
    assert!(fs::metadata(&link).is_err());
}

#[test]
fn a_file_is_replaced_where_a_link_leads_and_only_if_it_is_there() {
    let folder = Folder::new();
    assert!(matches!(replace(&folder.file(), b"one"), Err(DiskError::NotFound(_))));
    assert!(folder.names().is_empty());
    create(&folder.file(), b"one").unwrap();
    let link = folder.0.join("link");
    symlink("identity.json", &link).unwrap();
    replace(&link, b"two").unwrap();
    assert_eq!(read(&folder.file()).unwrap()[..], *b"two");
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::metadata(folder.file()).unwrap().mode() & 0o7777, 0o600);
    assert_eq!(folder.names().len(), 2);
}

#[test]
fn a_file_that_others_can_read_is_refused_and_the_command_in_the_error_mends_it() {
    let folder = Folder::new();
    let path = folder.0.join("it's mine.json");
    create(&path, b"one").unwrap();
    for mode in [0o644, 0o640, 0o604, 0o620, 0o601, 0o660, 0o1677] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let error = read(&path).unwrap_err();
        assert!(
            matches!(error, DiskError::Exposed { mode: shown, .. } if shown == mode),
            "{error}"
        );
        let error = error.to_string();
        let (_, command) = error.split_once("run: ").unwrap();
        assert!(command.starts_with("chmod 600 "), "{command}");
        assert!(Command::new("sh").arg("-c").arg(command).status().unwrap().success());
        assert_eq!(read(&path).unwrap()[..], *b"one");
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    assert!(read(&path).is_ok());
}

#[test]
fn what_is_no_file_or_too_long_is_refused_without_waiting() {
    let folder = Folder::new();
    assert!(matches!(read(&folder.file()), Err(DiskError::NotFound(_))));
    assert!(matches!(read(&folder.0), Err(DiskError::Unlikely(_))));
    let pipe = folder.0.join("pipe");
    assert!(
        Command::new("mkfifo")
            .args(["-m", "600"])
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    assert!(matches!(read(&pipe), Err(DiskError::Unlikely(_))));
    create(&folder.file(), &vec![b' '; FILE_MAX_BYTES + 1]).unwrap();
    assert!(matches!(read(&folder.file()), Err(DiskError::Unlikely(_))));
}

#[test]
fn a_folder_that_is_not_there_is_reported() {
    let folder = Folder::new();
    let path = folder.0.join("none/identity.json");
    assert!(matches!(create(&path, b"one"), Err(DiskError::NotFound(_))));
    assert!(matches!(create(Path::new("/"), b"one"), Err(DiskError::Io(..))));
}
