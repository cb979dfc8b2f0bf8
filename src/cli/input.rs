//! Opening an input for a pipeline, and finding its codec by its first lines.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::output;
use crate::codec::auto::{Choice, DETECT_LINES_MAX, detect};
use crate::config::pipeline::{self, PipelineFile};
use crate::edge::file::open_input_until;
use crate::error::{Error, Result};
use crate::run::framed::FramedInput;
use crate::run::pipeline::Pipeline;

/// Files of a folder whose beginnings are looked at.
const FILES_LOOKED_AT: usize = 64;

/// The pipeline of a file, its codec being `codec`, else the file's, else what the input looks like. A live input ends with `stop`.
///
/// # Errors
/// `Config`: a file that cannot be read, or an input that looks like nothing known.
pub(super) fn open(file: &Path, path: &Path, codec: Option<&str>, stop: &Arc<AtomicBool>) -> Result<(Arc<Pipeline>, FramedInput)> {
    open_for(pipeline::load(file)?, path, codec, stop)
}

pub(super) fn open_for(
    file: PipelineFile,
    path: &Path,
    codec: Option<&str>,
    stop: &Arc<AtomicBool>,
) -> Result<(Arc<Pipeline>, FramedInput)> {
    let text = path.to_str().ok_or_else(|| Error::config(format!("{} is not a name in UTF-8", path.display())))?;
    let mut input = FramedInput::new(open_input_until(text, Arc::clone(stop))?);
    let named = codec.unwrap_or(&file.source.codec);
    let codec = if named == "auto" { chosen(&mut input)? } else { named.to_owned() };
    Ok((Arc::new(Pipeline::open(file, Some(&codec))?), input))
}

/// By the first file that tells: logs often lie beside a file that explains them.
fn chosen(input: &mut FramedInput) -> Result<String> {
    let mut refusal = None;
    for place in 0..input.files().clamp(1, FILES_LOOKED_AT) {
        match input.start(place, DETECT_LINES_MAX).and_then(|start| choice(&start)) {
            Ok(choice) => {
                output::notice(&format!("codec {}: {}", choice.name, choice.why));
                return Ok(choice.name.to_owned());
            }
            Err(error) => refusal = refusal.or(Some(error)),
        }
    }
    Err(refusal.unwrap_or_else(|| Error::bug("an input has a file at least")))
}

fn choice(start: &[u8]) -> Result<Choice> {
    let lines: Vec<&[u8]> = start.split(|byte| *byte == b'\n').take(DETECT_LINES_MAX).collect();
    detect(&lines)
}
