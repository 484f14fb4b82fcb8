//! What decisions are made from stays as long as something names it, whatever happens to the server.

use std::collections::BTreeSet;
use std::fs;

use rollout_rules::ids::Digest;
use rollout_rules::snapshot::Snapshot;
use rollout_rules::time::UnixMs;
use tidegate::gate::Gate;
use tidegate::gate::files::Files;
use tidegate::gate::named::Retention;

fn put(files: &Files, all: &[&[u8]]) -> Vec<Digest> {
    let mut batch = files.batch();
    let names = all.iter().map(|bytes| batch.put(bytes).expect("it is put")).collect();
    files.keep(batch).expect("it is kept");
    names
}

fn packs(folder: &std::path::Path) -> usize {
    fs::read_dir(folder).expect("a folder").count()
}

#[test]
fn files_are_there_under_their_names_and_after_a_start_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = Files::open(folder.path()).expect("it opens");
    let names = put(&files, &[b"one", b"", b"another", &[7; 100_000]]);
    put(&files, &[b"one", b"of a later decision"]);
    for files in [files, Files::open(folder.path()).expect("it opens again")] {
        assert_eq!(names[0], Digest::of(b"one"));
        assert_eq!(files.get(&names[0]).expect("it is read"), Some(b"one".to_vec()));
        assert_eq!(files.get(&names[1]).expect("it is read"), Some(Vec::new()));
        assert_eq!(files.get(&names[3]).expect("it is read"), Some(vec![7; 100_000]));
        assert_eq!(files.get(&Digest::of(b"nobody's")).expect("it is read"), None);
    }
}

#[test]
fn a_batch_that_is_not_kept_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = Files::open(folder.path()).expect("it opens");
    let mut batch = files.batch();
    let name = batch.put(b"evidence of a request that was refused").expect("it is put");
    assert_eq!((packs(folder.path()), files.get(&name).expect("it is read")), (1, None));
    // As if the process had ended meanwhile.
    fs::copy(
        fs::read_dir(folder.path()).expect("a folder").next().expect("a file").expect("a file").path(),
        folder.path().join("00.new"),
    )
    .expect("a copy");
    drop(batch);
    assert_eq!(packs(folder.path()), 1);
    Files::open(folder.path()).expect("it opens");
    assert_eq!(packs(folder.path()), 0);
}

#[test]
fn a_file_goes_at_the_second_sweep_at_which_nothing_names_it_and_others_of_its_pack_stay() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = Files::open(folder.path()).expect("it opens");
    let (old, held) = (put(&files, &[b"old facts", b"a report"]), put(&files, &[b"facts", b"a report"]));
    let named = BTreeSet::from([held[1]]);
    assert_eq!(files.sweep(&named).expect("it is swept"), 0);
    assert_eq!(files.get(&old[0]).expect("it is read"), Some(b"old facts".to_vec()));
    let new = put(&files, &[b"of a decision on its way to the log"]);
    assert_eq!(files.sweep(&named).expect("it is swept"), 2);
    // Those that are left are left after a start too: nothing comes back.
    for files in [&files, &Files::open(folder.path()).expect("it opens again")] {
        assert_eq!(files.get(&old[0]).expect("it is read"), None);
        assert_eq!(files.get(&held[0]).expect("it is read"), None);
        assert_eq!(files.get(&held[1]).expect("it is read"), Some(b"a report".to_vec()));
        assert_eq!(
            files.get(&new[0]).expect("it is read"),
            Some(b"of a decision on its way to the log".to_vec())
        );
    }
    assert_eq!(packs(folder.path()), 2);
    let all: Vec<u8> = fs::read_dir(folder.path())
        .expect("a folder")
        .flat_map(|entry| fs::read(entry.expect("an entry").path()).expect("a pack"))
        .collect();
    assert!(!all.windows(5).any(|window| window == b"facts"), "no byte of them is left");
}

#[test]
fn a_file_that_comes_again_between_two_sweeps_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = Files::open(folder.path()).expect("it opens");
    put(&files, &[b"a report", b"old facts"]);
    let nothing = BTreeSet::new();
    assert_eq!(files.sweep(&nothing).expect("it is swept"), 0);
    // Of a decision that is on its way to the log.
    let again = put(&files, &[b"a report", b"new facts"]);
    assert_eq!(files.sweep(&nothing).expect("it is swept"), 1);
    assert_eq!(files.get(&again[0]).expect("it is read"), Some(b"a report".to_vec()));
    assert_eq!(packs(folder.path()), 1, "of the old pack nothing was left");
}

#[test]
fn a_file_that_the_disk_changed_is_told_and_the_others_are_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = Files::open(folder.path()).expect("it opens");
    let names = put(&files, &[b"first", b"second"]);
    let pack = fs::read_dir(folder.path()).expect("a folder").next().expect("a pack").expect("a pack").path();
    let mut bytes = fs::read(&pack).expect("the pack");
    *bytes.last_mut().expect("bytes") ^= 1;
    fs::write(&pack, &bytes).expect("the pack");
    assert!(files.get(&names[1]).is_err());
    assert_eq!(files.get(&names[0]).expect("it is read"), Some(b"first".to_vec()));
    // Cut off: what is left counts.
    fs::write(&pack, &bytes[..bytes.len() - 1]).expect("the pack");
    let again = Files::open(folder.path()).expect("it opens");
    assert_eq!(again.get(&names[0]).expect("it is read"), Some(b"first".to_vec()));
    assert_eq!(again.get(&names[1]).expect("it is read"), None);
}

#[test]
fn nothing_goes_while_somebody_copies_what_is_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let gate = Gate::open(folder.path(), Retention::default()).expect("a gate");
    let names = put(gate.files(), &[b"facts"]);
    let sweep = || gate.sweep(&Snapshot::default(), UnixMs(0)).expect("it is swept");
    let (one, other) = (gate.hold(), gate.hold());
    assert_eq!((sweep(), sweep(), sweep()), (0, 0, 0));
    drop(one);
    assert_eq!((sweep(), sweep(), sweep()), (0, 0, 0), "another one copies still");
    assert!(gate.files().whole(&names[0]).expect("it is read").is_some());
    drop(other);
    assert_eq!((sweep(), sweep()), (0, 1));
}
