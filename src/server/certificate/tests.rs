use std::time::Duration;
use std::{env, fs, process};

use super::*;

const CERTIFICATE: &str = include_str!("../../../tests/fixtures/one.cert.pem");
const KEY: &str = include_str!("../../../tests/fixtures/one.key.pem");

fn load_at(name: &str, now: SystemTime) -> Result<Validity, String> {
    let fixture = |name: &str| Path::new("tests/fixtures").join(name);
    let files = CertificateFiles {
        certificate: fixture(&format!("{name}.cert.pem")),
        private_key: fixture("localhost.key.pem"),
    };
    let loaded = super::load(&files, now);
    loaded.map(|loaded| loaded.validity).map_err(|error| error.to_string())
}

/// Loads files with these texts, and returns what is said of them after their names.
fn load(certificate: &[u8], key: &[u8]) -> Result<(), String> {
    let now = humantime::parse_rfc3339("2026-01-01T00:00:00Z").unwrap();
    let folder = env::temp_dir().join(format!(
        "npchat-pem-{}-{:?}",
        process::id(),
        std::thread::current().id()
    ));
    fs::create_dir_all(&folder).unwrap();
    let files = CertificateFiles {
        certificate: folder.join("cert.pem"),
        private_key: folder.join("key.pem"),
    };
    fs::write(&files.certificate, certificate).unwrap();
    fs::write(&files.private_key, key).unwrap();
    let loaded = super::load(&files, now).map(drop).map_err(|error| error.to_string());
    fs::remove_dir_all(&folder).unwrap();
    loaded.map_err(|error| error.replace(&format!("{}/", folder.display()), ""))
}

#[test]
fn a_certificate_can_be_used_to_its_last_second() {
    let load = |name, time| load_at(name, humantime::parse_rfc3339(time).unwrap()).map(drop);
    assert_eq!(load("expired", "2024-01-01T00:00:00Z"), Ok(()));
    let late = "tests/fixtures/expired.cert.pem: the certificate expired at 2024-01-01T00:00:00Z";
    assert_eq!(load("expired", "2024-01-01T00:00:01Z"), Err(late.to_owned()));
    assert_eq!(load("localhost", "2125-01-01T00:00:00Z"), Ok(()));
}

#[test]
fn a_clock_before_1970_is_refused() {
    assert!(
        load_at("localhost", SystemTime::UNIX_EPOCH).is_ok_and(|validity| !validity.has_begun(SystemTime::UNIX_EPOCH))
    );
    let earlier = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
    let told = load_at("localhost", earlier).unwrap_err();
    assert!(
        told.ends_with("the clock of this machine is before 1970, and TLS needs a right one"),
        "{told}"
    );
}

#[test]
fn what_is_wrong_with_a_certificate_is_named_with_its_remedy() {
    let after = |mark: &[u8]| load(&[mark, CERTIFICATE.as_bytes()].concat(), KEY.as_bytes()).unwrap_err();
    assert_eq!(
        after(b"\xef\xbb\xbf"),
        "cert.pem: it begins with a byte order mark of UTF-8: save it as ASCII without one"
    );
    assert!(after(b"\xff\xfe").starts_with("cert.pem: it begins with a byte order mark of UTF-16"));
    assert!(after(b"\x30\x82").starts_with("cert.pem: DER, where PEM is needed: openssl x509"));
    for label in ["TRUSTED CERTIFICATE", "X509 CERTIFICATE"] {
        let other = CERTIFICATE.replace(" CERTIFICATE-", &format!(" {label}-"));
        for text in [other.clone(), CERTIFICATE.to_owned() + &other] {
            let told = load(text.as_bytes(), KEY.as_bytes()).unwrap_err();
            let start = format!("cert.pem: it has a \"{label}\", where \"CERTIFICATE\" is needed: openssl x509 -in ");
            assert!(told.starts_with(&start), "{told}");
        }
    }
    assert_eq!(load(CERTIFICATE.as_bytes(), KEY.as_bytes()), Ok(()));
}

#[test]
fn what_is_wrong_with_a_key_is_named_with_its_remedy() {
    let labelled = |label: &str, fields: &str| {
        let text = KEY.replace(" PRIVATE KEY-", &format!(" {label}-"));
        text.replacen("-----\n", &format!("-----\n{fields}"), 1)
    };
    let dek = "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00112233445566778899AABBCCDDEEFF\n\n";
    for text in [
        labelled("ENCRYPTED PRIVATE KEY", ""),
        labelled("RSA PRIVATE KEY", dek),
        labelled("EC PRIVATE KEY", &dek.replace('\n', "\r\n")),
    ] {
        let told = load(CERTIFICATE.as_bytes(), text.as_bytes()).unwrap_err();
        assert!(
            told.starts_with("key.pem: the private key is encrypted, where a plain one is needed: openssl pkey -in ")
        );
    }
    let told = load(CERTIFICATE.as_bytes(), labelled("OPENSSH PRIVATE KEY", "").as_bytes()).unwrap_err();
    assert!(told.starts_with("key.pem: a private key of OpenSSH"), "{told}");
    let marked = format!("\u{feff}{KEY}");
    let told = load(CERTIFICATE.as_bytes(), marked.as_bytes()).unwrap_err();
    assert!(told.starts_with("key.pem: it begins with a byte order mark"), "{told}");
}
