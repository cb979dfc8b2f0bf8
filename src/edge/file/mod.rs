//! Files: lines in from a file, a folder or standard input (plain, gzip or zstd), JSON Lines out to a folder.
//!
//! Memory stays bounded whatever the input is: a line is kept up to `RECORD_BYTES_MAX` and counted beyond it.

mod input;
mod lines;
mod sink;

pub use input::{Input, InputFile, Progress, open_input};
pub use lines::Lines;
pub use sink::{Existing, JsonlSink};
