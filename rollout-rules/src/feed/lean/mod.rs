//! Frames from and to JSON in a tenth of the code that serde's derived parsers take, for WebAssembly, where every byte
//! has to be fetched before the first check: a frame is read as a tree first, and what does not fit is told without
//! words. What a server writes is read alike by both, and what is written is the same to the byte.

mod forms;
mod parts;
mod tree;

use alloc::string::String;

use serde_json::Value;

use self::parts::{Read, Write, write_choice, write_field};
use super::{Frame, FrameBody, FrameCodecError};
use crate::json_text::JsonText;

/// Reads a frame's JSON.
pub(super) fn decode(json: &[u8]) -> Result<Frame, FrameCodecError> {
    let invalid = |problem: &str| FrameCodecError::Invalid { problem: String::from(problem) };
    let value = tree::read(json).ok_or_else(|| invalid("it is no JSON"))?;
    let version = value.get("v").and_then(Value::as_u64).and_then(|version| u16::try_from(version).ok());
    match version {
        Some(version) if !super::codec::is_known(version) => Err(FrameCodecError::UnknownVersion { version }),
        _ => Frame::read(&value).ok_or_else(|| invalid("its parts do not fit together")),
    }
}

/// The JSON of a frame with a state. Clients write no others.
pub(super) fn encode(frame: &Frame) -> Result<String, FrameCodecError> {
    let FrameBody::Snapshot(served) = &frame.body else {
        return Err(FrameCodecError::Invalid { problem: String::from("clients only write states") });
    };
    let mut json = JsonText::new();
    json.open('{');
    write_field("v", &frame.version, false, &mut json);
    write_field("log", &frame.log, false, &mut json);
    write_field("revision", &frame.revision, false, &mut json);
    json.field("body");
    write_choice("snapshot", &mut json, |json| served.write(json));
    json.close('}');
    Ok(json.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames of all versions, as servers have written them.
    const FRAMES: [&str; 2] =
        [include_str!("../../../golden/frames-v1.jsonl"), include_str!("../../../golden/frames-v2.jsonl")];

    fn frames() -> impl Iterator<Item = Value> {
        FRAMES.iter().flat_map(|file| file.lines()).map(|line| serde_json::from_str(line).expect("a frame"))
    }

    fn agree(json: &[u8]) {
        let found = decode(json);
        match Frame::decode(json) {
            Err(FrameCodecError::Invalid { .. }) => {
                assert!(matches!(found, Err(FrameCodecError::Invalid { .. })), "{found:?}");
            }
            expected => assert_eq!(found, expected, "{}", String::from_utf8_lossy(json)),
        }
        if let Ok(frame) = &found
            && matches!(frame.body, FrameBody::Snapshot(_))
        {
            assert_eq!(encode(frame).map(String::into_bytes), frame.encode());
        }
    }

    /// Every value that is made of this one by leaving something out, or by putting something else there.
    fn damaged(value: &Value, each: &mut dyn FnMut(&Value)) {
        match value {
            Value::Object(fields) => {
                for (name, field) in fields {
                    let mut less = fields.clone();
                    less.remove(name);
                    each(&Value::Object(less));
                    damaged(field, &mut |other| {
                        let mut changed = fields.clone();
                        changed.insert(name.clone(), other.clone());
                        each(&Value::Object(changed));
                    });
                }
                let mut more = fields.clone();
                more.insert("unheard_of".into(), 1.into());
                each(&Value::Object(more));
            }
            Value::Array(items) => {
                for (at, item) in items.iter().enumerate() {
                    damaged(item, &mut |other| {
                        let mut changed = items.clone();
                        changed[at] = other.clone();
                        each(&Value::Array(changed));
                    });
                }
            }
            _ => {}
        }
        for other in [Value::Null, true.into(), 7.into(), (-7).into(), 0.5.into(), "everything".into()] {
            each(&other);
        }
    }

    #[test]
    fn every_golden_frame_is_read_and_written_as_serde_has_it() {
        let mut count = 0;
        for frame in frames() {
            agree(serde_json::to_string(&frame).expect("json").as_bytes());
            count += 1;
        }
        assert!(count > 10, "{count} frames");
    }

    #[test]
    fn what_is_damaged_anywhere_is_refused_where_serde_refuses_it() {
        for frame in frames() {
            damaged(&frame, &mut |other| agree(serde_json::to_string(other).expect("json").as_bytes()));
        }
    }
}
