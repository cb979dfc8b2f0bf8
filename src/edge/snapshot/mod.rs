//! Snapshots of a pipeline's state: one file a partition and a manifest, in a folder or an object store.
//!
//! A snapshot is there when its manifest is, and not before. Nothing of one is believed before its hash is checked.

mod part;
mod place;

use serde::{Deserialize, Serialize};

pub use self::part::{Item, PartReader, PartWriter, Written, check};
pub use self::place::{Place, Stage};
use crate::error::{Error, Result};

/// Form of the manifest and its files; a later one is refused.
pub const SNAPSHOT_FORMAT: u32 = 1;
pub const MANIFEST: &str = "manifest.json";

/// What a snapshot holds, and of what it was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    pub format: u32,
    /// Its own name: when it was begun. Names sort by time.
    pub name: String,
    pub pipeline: String,
    pub topic: String,
    pub topic_id: Option<String>,
    pub group: String,
    /// Of the topic.
    pub partitions: u32,
    /// Of an entity's value.
    pub state_format: u8,
    pub parts: Vec<Part>,
}

/// One partition of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Part {
    pub partition: u32,
    pub file: String,
    pub blake3: String,
    pub bytes: u64,
    pub entities: u64,
    /// `R`: every event before it is in the values.
    pub checkpoint: u64,
    /// No event from here on is in any value: the log up to here makes the state whole, and outputs may begin here.
    pub as_of: u64,
    /// `C` and its note, read after the values.
    pub committed: Option<u64>,
    pub note: Option<String>,
    pub generation: u64,
    pub owner: u64,
    /// Where the log began and ended.
    pub log_start: u64,
    pub log_end: u64,
}

impl Manifest {
    /// # Errors
    /// `Config`: it is none, or a later version's.
    pub fn parse(bytes: &[u8], shown: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Form {
            format: u32,
        }
        let wrong = |error: serde_json::Error| Error::config(format!("{shown} is no manifest of a snapshot")).because(error);
        let Form { format } = serde_json::from_slice(bytes).map_err(wrong)?;
        if format != SNAPSHOT_FORMAT {
            return Err(Error::config(format!(
                "{shown} has format {format}, this version reads {SNAPSHOT_FORMAT}: use the version that made it, or a later one"
            )));
        }
        let manifest: Self = serde_json::from_slice(bytes).map_err(wrong)?;
        let is_plain = |name: &str| !name.is_empty() && !name.contains(['/', '\\']) && name != "." && name != "..";
        let outside = manifest.parts.iter().map(|part| &part.file).chain([&manifest.name]).find(|name| !is_plain(name)).cloned();
        match outside {
            Some(name) => Err(Error::config(format!("{shown} names a file outside of the snapshot: {name:?}"))),
            None => Ok(manifest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> String {
        Manifest::parse(text.as_bytes(), "m").map_or_else(|error| error.to_string(), |_| "fine".to_owned())
    }

    #[test]
    fn a_manifest_of_another_form_is_refused() {
        let whole = |format: u32, file: &str| {
            format!(
                r#"{{"format":{format},"name":"n","pipeline":"p","topic":"t","topicId":null,"group":"g","partitions":1,"stateFormat":2,
                "parts":[{{"partition":0,"file":"{file}","blake3":"","bytes":0,"entities":0,"checkpoint":0,"asOf":0,"committed":null,
                "note":null,"generation":0,"owner":0,"logStart":0,"logEnd":0}}]}}"#
            )
        };
        assert_eq!(said(&whole(1, "a")), "fine");
        assert!(said(&whole(2, "a")).contains("format 2, this version reads 1"));
        assert!(said(&whole(1, "../a")).contains("outside"));
        assert!(said("{}").contains("no manifest"));
    }
}
