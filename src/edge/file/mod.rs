//! Files: lines in from a file, a folder or standard input (plain, gzip or zstd), JSON Lines out to a folder.
//!
//! Memory stays bounded whatever the input is: files are read in chunks, and the framer bounds a record.

mod input;
mod live;
mod sink;

pub use input::{Input, InputFile, Progress, open_input, open_input_until};
pub use sink::{Existing, JsonlSink};
