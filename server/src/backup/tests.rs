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
    let gate_files = Some(FILES.len() as u64 + 1);
    Header { log, first: Revision(1), last, hash, at: UnixMs(1_800_000_000_000), gate_files }
}

/// A line of a backup within a file, and nothing at all, are files as well.
const FILES: [&[u8]; 3] = [b"{\"verdict\":\n\"pass\"}", b"", b"end 4 and more\n"];
const PEM: &[u8] = b"a key\nof several lines\n";

fn lost() -> LostFile {
    let app = AppKey::new("shop").expect("a key");
    LostFile { file: Digest::of(b"lost"), app, decision: DecisionId::new("d1").expect("an id") }
}

fn with_gate(encoder: &mut Encoder, out: &mut Vec<u8>) {
    encoder.log_ends(out);
    encoder.key(PEM, out);
    for file in FILES {
        encoder.file(Digest::of(file), file.len() as u64, out);
        file.chunks(4).for_each(|piece| encoder.file_bytes(piece, out));
        encoder.file_ends(out);
    }
    encoder.lost(&lost(), out);
}

fn written(entries: &[(Revision, Digest, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = Encoder::begin(&header(entries), &mut out);
    for (revision, hash, bytes) in entries {
        encoder.entry(*revision, *hash, bytes, &mut out);
    }
    kills().iter().for_each(|kill| encoder.kill(kill, &mut out));
    with_gate(&mut encoder, &mut out);
    encoder.end(&mut out);
    out
}

/// As it was written before a backup held what the gate keeps.
fn of_the_log_alone(entries: &[(Revision, Digest, Vec<u8>)]) -> Vec<u8> {
    let head = serde_json::to_string(&Header { gate_files: None, ..header(entries) }).expect("JSON");
    let mut text = format!("tidegate-backup 1\n{head}\n");
    for (revision, hash, bytes) in entries {
        let entry = std::str::from_utf8(bytes).expect("text");
        text.push_str(&format!("{revision} {hash} {}\n{entry}\n", bytes.len()));
    }
    let end = format!("end {} {}\n", entries.len(), Digest::of(text.as_bytes()));
    (text + &end).into_bytes()
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

/// The key, the files, and what is said to be lost.
type GateParts = (Vec<u8>, Vec<Vec<u8>>, Vec<LostFile>);

/// All that follows the log.
fn rest(reader: &mut BackupReader<&[u8]>) -> Result<GateParts, BackupError> {
    let (mut key, mut files, mut lost) = (Vec::new(), Vec::new(), Vec::new());
    while let Some(kept) = reader.next_kept()? {
        let mut bytes = Vec::new();
        while let Some(piece) = reader.piece()? {
            bytes.extend_from_slice(piece);
        }
        match kept {
            Kept::Key => key = bytes,
            Kept::File { name, bytes: length } => {
                assert_eq!((name, length), (Digest::of(&bytes), bytes.len() as u64));
                files.push(bytes);
            }
            Kept::Lost(file) => lost.push(file),
        }
    }
    Ok((key, files, lost))
}

fn read(bytes: &[u8]) -> Result<(Vec<Item>, Summary), BackupError> {
    let mut reader = BackupReader::open(bytes)?;
    let mut items = Vec::new();
    while let Some(item) = reader.next_entry()? {
        items.push(item);
    }
    rest(&mut reader)?;
    Ok((items, reader.summary().expect("it was read to its end")))
}

#[test]
fn what_was_written_is_read_back() {
    let entries = entries();
    let file = written(&entries);
    let (items, summary) = read(&file).expect("whole");
    let items: Vec<_> = items.into_iter().map(|item| (item.revision, item.hash, item.bytes)).collect();
    assert_eq!(items, entries);
    assert_eq!((summary.entries, summary.files, summary.bytes), (4, 3, file.len() as u64));
    assert_eq!(read(&written(&[])).expect("whole").1.entries, 0, "an empty log has a backup too");
}

#[test]
fn what_the_gate_keeps_is_read_back_also_by_one_who_passes_over_files() {
    let file = written(&entries());
    let log_read = || {
        let mut reader = BackupReader::open(&file[..]).expect("a backup");
        while reader.next_entry().expect("whole").is_some() {}
        reader
    };
    let (key, files, lost_files) = rest(&mut log_read()).expect("whole");
    assert_eq!((key, files, lost_files), (PEM.to_vec(), FILES.map(<[u8]>::to_vec).to_vec(), vec![lost()]));
    let mut hasty = log_read();
    let mut seen = 0;
    while hasty.next_kept().expect("whole").is_some() {
        seen += 1;
    }
    assert_eq!((seen, hasty.summary().map(|all| all.files)), (5, Some(3)));
}

#[test]
fn a_backup_of_the_log_alone_is_read_and_says_that_it_is_one() {
    let entries = entries();
    let file = of_the_log_alone(&entries);
    let (items, summary) = read(&file).expect("whole");
    assert_eq!((items.len(), summary.files, summary.bytes), (4, 0, file.len() as u64));
    let reader = BackupReader::open(&file[..]).expect("a backup");
    assert_eq!(reader.header().gate_files, None);
    for length in MAGIC.len()..file.len() {
        assert!(matches!(read(&file[..length]), Err(BackupError::Truncated { .. })), "cut to {length}");
    }
}

#[test]
fn a_torn_file_is_named_and_what_follows_it_can_be_read() {
    let entries = entries();
    let mut file = written(&entries);
    let text = "end 4 and more";
    let at = file.windows(text.len()).position(|window| window == text.as_bytes()).expect("the last file");
    file[at] ^= 1;
    let mut reader = BackupReader::open(&file[..]).expect("a backup");
    while reader.next_entry().expect("the log is whole").is_some() {}
    let torn = rest(&mut reader).expect_err("torn");
    let BackupError::Kept(fault) = torn else { panic!("{torn}") };
    assert_eq!(fault, KeptFault::Torn(Digest::of(FILES[2])));
    assert!(
        fault.is_of_one_file() && torn.to_string().contains("the log in the backup is as it was written")
    );
    let (key, files, lost_files) = rest(&mut reader).expect("the rest is whole");
    assert_eq!((key, files, lost_files), (Vec::new(), Vec::new(), vec![lost()]));
    assert!(reader.summary().is_some());
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
    let whole_log = file.windows(5).position(|window| window == b"\nlog ").expect("the end of the log");
    for length in MAGIC.len()..file.len() {
        match read(&file[..length]) {
            Err(BackupError::Truncated { last_good }) => assert!(last_good <= Revision(4)),
            // The log is whole then.
            Err(BackupError::Kept(KeptFault::Truncated)) => assert!(length > whole_log, "{length}"),
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
    says(&more, "something follows the last line");
    let newer = String::from_utf8(written(&entries)).expect("text").replace("backup 2\n", "backup 3\n");
    says(newer.as_bytes(), "has format 3, and this program reads up to 2");
    // One entry left out, and all else made to fit.
    let mut out = Vec::new();
    let mut encoder = Encoder::begin(&header(&entries), &mut out);
    for (revision, hash, bytes) in entries.iter().filter(|(revision, ..)| *revision != Revision(3)) {
        encoder.entry(*revision, *hash, bytes, &mut out);
    }
    with_gate(&mut encoder, &mut out);
    encoder.end(&mut out);
    says(&out, "damaged after revision 2: the entry that follows is not the next one");
    // The end left out, and the last line made to fit.
    let mut out = Vec::new();
    let mut encoder = Encoder::begin(&header(&entries), &mut out);
    for (revision, hash, bytes) in &entries[..3] {
        encoder.entry(*revision, *hash, bytes, &mut out);
    }
    with_gate(&mut encoder, &mut out);
    encoder.end(&mut out);
    says(&out, "damaged after revision 3: it does not hold what its header says");
    // A file left out, and all else made to fit.
    let mut out = Vec::new();
    let mut encoder = Encoder::begin(&header(&entries), &mut out);
    for (revision, hash, bytes) in &entries {
        encoder.entry(*revision, *hash, bytes, &mut out);
    }
    encoder.log_ends(&mut out);
    encoder.key(PEM, &mut out);
    encoder.end(&mut out);
    says(&out, "what the gate keeps is damaged: it does not hold what the header says");
}
