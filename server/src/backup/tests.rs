//! A backup is read back as it was written, and nothing in it can be changed or lost unnoticed.

use super::*;

fn entries() -> Vec<(Revision, Digest, Vec<u8>)> {
    let mut hash = Digest::default();
    (1..=4u64)
        .map(|revision| {
            // A line break within an entry is no end of it.
            let bytes = format!("{{\"entry\":\n{revision}}}").into_bytes();
            hash = hash.chain(&bytes);
            (Revision(revision), hash, bytes)
        })
        .collect()
}

fn header(entries: &[(Revision, Digest, Vec<u8>)]) -> Header {
    let (last, hash) = entries.last().map_or_else(Default::default, |(last, hash, _)| (*last, *hash));
    let log = LogId::new("a-log").expect("a name");
    Header { log, first: Revision(1), last, hash, at: UnixMs(1_800_000_000_000) }
}

fn written(entries: &[(Revision, Digest, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = Encoder::begin(&header(entries), &mut out);
    for (revision, hash, bytes) in entries {
        encoder.entry(*revision, *hash, bytes, &mut out);
    }
    kills().iter().for_each(|kill| encoder.kill(kill, &mut out));
    encoder.end(&mut out);
    out
}

fn kills() -> Vec<KillAhead> {
    let kill = |id: &str, reach, environment: Option<&str>| KillAhead {
        kill_id: KillId::new(id).expect("an id"),
        reach,
        environment: environment.map(|key| EnvKey::new(key).expect("a key")),
        at: UnixMs(1_800_000_000_000),
    };
    let app = rollout_rules::ids::AppKey::new("shop").expect("a key");
    vec![kill("k-1", Reach::Everything, None), kill("k-2", Reach::App { app }, Some("live"))]
}

fn read(bytes: &[u8]) -> Result<(Vec<Item>, Summary), BackupError> {
    let mut reader = BackupReader::open(bytes)?;
    let mut items = Vec::new();
    while let Some(item) = reader.next_entry()? {
        items.push(item);
    }
    Ok((items, reader.summary().expect("it was read to its end")))
}

#[test]
fn what_was_written_is_read_back() {
    let entries = entries();
    let file = written(&entries);
    let (items, summary) = read(&file).expect("whole");
    let items: Vec<_> = items.into_iter().map(|item| (item.revision, item.hash, item.bytes)).collect();
    assert_eq!(items, entries);
    assert_eq!((summary.entries, summary.bytes), (4, file.len() as u64));
    assert_eq!(read(&written(&[])).expect("whole").1.entries, 0, "an empty log has a backup too");
}

#[test]
fn kills_that_the_log_had_not_taken_are_read_back_after_the_entries() {
    let entries = entries();
    let file = written(&entries);
    let mut reader = BackupReader::open(&file[..]).expect("a backup");
    while reader.next_entry().expect("whole").is_some() {
        assert_eq!(reader.kills(), [], "they come last");
    }
    assert_eq!(reader.kills(), kills());
    let mut out = Vec::new();
    let mut encoder = Encoder::begin(&header(&entries), &mut out);
    kills().iter().for_each(|kill| encoder.kill(kill, &mut out));
    for (revision, hash, bytes) in &entries {
        encoder.entry(*revision, *hash, bytes, &mut out);
    }
    encoder.end(&mut out);
    let refused = read(&out).expect_err("in the wrong order").to_string();
    assert!(refused.contains("an entry follows the kills"), "{refused}");
}

#[test]
fn every_flipped_bit_is_noticed() {
    let mut file = written(&entries());
    for position in 0..file.len() {
        for bit in 0..8 {
            file[position] ^= 1 << bit;
            let outcome = read(&file);
            assert!(outcome.is_err(), "byte {position}, bit {bit}: {:?}", file[position] as char);
            file[position] ^= 1 << bit;
        }
    }
    read(&file).expect("whole again");
}

#[test]
fn a_backup_that_ends_anywhere_before_its_end_is_called_truncated() {
    let file = written(&entries());
    for length in MAGIC.len()..file.len() {
        match read(&file[..length]) {
            Err(BackupError::Truncated { last_good }) => assert!(last_good <= Revision(4)),
            other => panic!("cut to {length} of {} bytes: {other:?}", file.len()),
        }
    }
    assert!(matches!(read(b"PK\x03\x04"), Err(BackupError::NotABackup)));
    assert!(matches!(read(b""), Err(BackupError::NotABackup)));
}

#[test]
fn what_is_wrong_is_said_by_name() {
    let entries = entries();
    let says = |file: &[u8], part: &str| {
        let text = read(file).expect_err("refused").to_string();
        assert!(text.contains(part), "`{part}` is not in: {text}");
    };
    let mut more = written(&entries);
    more.push(b'x');
    says(&more, "something follows its last line");
    let newer = String::from_utf8(written(&entries)).expect("text").replace("backup 1\n", "backup 2\n");
    says(newer.as_bytes(), "has format 2, and this program reads 1");
    // One entry left out, and all else made to fit.
    let mut out = Vec::new();
    let mut encoder = Encoder::begin(&header(&entries), &mut out);
    for (revision, hash, bytes) in entries.iter().filter(|(revision, ..)| *revision != Revision(3)) {
        encoder.entry(*revision, *hash, bytes, &mut out);
    }
    encoder.end(&mut out);
    says(&out, "damaged after revision 2: the entry that follows is not the next one");
    // The end left out, and the last line made to fit.
    let mut out = Vec::new();
    let mut encoder = Encoder::begin(&header(&entries), &mut out);
    for (revision, hash, bytes) in &entries[..3] {
        encoder.entry(*revision, *hash, bytes, &mut out);
    }
    encoder.end(&mut out);
    says(&out, "damaged after revision 3: it does not hold what its header says");
}
