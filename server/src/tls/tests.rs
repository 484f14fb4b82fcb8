use std::path::Path;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rollout_rules::time::{DurationMs, UnixMs};
use tempfile::TempDir;

use super::*;

const NOW: UnixMs = UnixMs(1_800_000_000_000);

fn write_pair(folder: &Path, year: i32) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    params.not_after = date_time_ymd(year, 1, 1);
    let certificate = params.self_signed(&key).expect("a certificate");
    std::fs::write(folder.join("cert.pem"), certificate.pem()).expect("written");
    std::fs::write(folder.join("key.pem"), key.serialize_pem()).expect("written");
}

struct Watched {
    folder: TempDir,
    tls: Tls,
    looks: Looks,
    now: UnixMs,
}

impl Watched {
    fn of(clients: fn(&Path) -> ClientCertificates) -> Result<Watched, TlsError> {
        let folder = tempfile::tempdir().expect("a folder");
        write_pair(folder.path(), 2031);
        let path = |name: &str| folder.path().join(name);
        let files =
            TlsFiles { certificate: path("cert.pem"), key: path("key.pem"), clients: clients(folder.path()) };
        Ok(Watched { tls: Tls::load(files)?, folder, looks: Looks::default(), now: NOW })
    }

    /// Looks once, and gives the year in which what is served ends.
    fn look(&mut self) -> String {
        self.now = self.now.plus(LOOK_EVERY);
        let found = Texts::read(&self.tls.files).map_err(|error| error.to_string());
        self.tls.look(&mut self.looks, found, self.now);
        self.tls.valid_until().to_string()[..4].to_owned()
    }
}

#[test]
fn a_new_pair_is_taken_once_it_stands_still_and_a_broken_one_never() {
    let mut watched = Watched::of(|_| ClientCertificates::Off).expect("loads");
    assert_eq!((watched.look(), watched.look()), ("2031".to_owned(), "2031".to_owned()));
    write_pair(watched.folder.path(), 2032);
    assert_eq!((watched.look(), watched.look()), ("2031".to_owned(), "2032".to_owned()));

    let key = watched.folder.path().join("key.pem");
    let good = std::fs::read(&key).expect("written before");
    for broken in
        ["", "-----BEGIN PRIVATE KEY-----\nAAAA", &KeyPair::generate().expect("a key").serialize_pem()]
    {
        std::fs::write(&key, broken).expect("written");
        assert_eq!((watched.look(), watched.look(), watched.look()).1, "2032");
    }
    std::fs::remove_file(&key).expect("removed");
    assert_eq!((watched.look(), watched.look()).1, "2032");
    write_pair(watched.folder.path(), 2033);
    std::fs::write(&key, good).expect("the key of another certificate");
    assert_eq!((watched.look(), watched.look()).1, "2032");
    write_pair(watched.folder.path(), 2034);
    assert_eq!((watched.look(), watched.look()).1, "2034");
}

#[test]
fn the_end_of_a_certificate_is_spoken_of_once_a_day_when_it_is_near() {
    let mut watched = Watched::of(|_| ClientCertificates::Off).expect("loads");
    watched.now = UnixMs(watched.tls.valid_until().0 - 3 * DAY.0);
    watched.look();
    let first = watched.looks.announced;
    assert_ne!(first, UnixMs(0));
    watched.look();
    assert_eq!(watched.looks.announced, first);
    watched.now = watched.now.plus(DurationMs(DAY.0));
    watched.look();
    assert!(watched.looks.announced > first);
}

#[test]
fn a_file_that_cannot_be_used_is_named_with_its_setting() {
    let missing = Watched::of(|folder| ClientCertificates::Required(folder.join("ca.pem"))).err();
    let missing = missing.expect("it is not there").to_string();
    assert!(missing.contains("tls.client_ca") && missing.contains("ca.pem"), "{missing}");
    let wrong = Watched::of(|folder| ClientCertificates::Optional(folder.join("key.pem"))).err();
    let wrong = wrong.expect("a key is no certificate").to_string();
    assert!(wrong.contains("there is no certificate in it"), "{wrong}");
}
