//! What makes a model's parts and manifest one whole: hashes of the parts, and of the manifest that names them as its version.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Hexadecimal digits of a version: 64 bits of the content's hash.
pub const VERSION_DIGITS: usize = 16;

/// BLAKE3 of a part.
#[must_use]
pub fn hash(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

/// The version of what a manifest describes; `unversioned` is the manifest with an empty version.
#[must_use]
pub fn version(unversioned: &impl Serialize) -> String {
    let bytes = serde_json::to_vec(unversioned).expect("a manifest has no maps with other keys than text");
    hash(&bytes).chars().take(VERSION_DIGITS).collect()
}

/// Reads a part in JSON.
///
/// # Errors
/// `Config`: names the part.
pub fn parse<T: for<'a> Deserialize<'a>>(name: &str, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| Error::config(format!("{name} is not usable")).because(error))
}
