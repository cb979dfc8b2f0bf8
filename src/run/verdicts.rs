//! Reading files of analysts' verdicts. Must never hold more of one than its bound.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::error::{Error, Result};
use crate::limits::FEEDBACK_BYTES_MAX;
use crate::models::feedback::Judgements;

/// The verdicts of a file.
///
/// # Errors
/// `Config`: it cannot be read, or a line is none.
pub fn read(path: &Path) -> Result<Judgements> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(FEEDBACK_BYTES_MAX + 1).read_to_string(&mut text));
    read.map_err(|error| {
        Error::config(format!("cannot read verdicts from {}; 'threatguard verdict' writes them", path.display())).because(error)
    })?;
    if text.len() as u64 > FEEDBACK_BYTES_MAX {
        return Err(Error::config(format!("{} is larger than {FEEDBACK_BYTES_MAX} bytes; cut it", path.display())));
    }
    Judgements::parse(&text).map_err(|error| Error::config(path.display().to_string()).because(error))
}
