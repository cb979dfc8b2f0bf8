//! Just enough of the ZIP format to read a data set: stored and deflated members, by the central directory.
//!
//! Must never read beyond the archive or unpack more than a member says it has.

use std::io::Read;

const END: u32 = 0x0605_4b50;
const ENTRY: u32 = 0x0201_4b50;
const LOCAL: u32 = 0x0403_4b50;
const MEMBER_BYTES_MAX: u64 = 16 << 20;

/// Names and contents of all files, in the order of their names; `None` where the bytes are no such archive.
pub fn members(archive: &[u8]) -> Option<Vec<(String, Vec<u8>)>> {
    let end = (0..archive.len().checked_sub(21)?).rev().take(1 << 16).find(|at| word(archive, *at) == Some(END))?;
    let (count, mut at) = (half(archive, end + 10)?, word(archive, end + 16)? as usize);
    let mut members = vec![];
    for _ in 0..count {
        if word(archive, at)? != ENTRY {
            return None;
        }
        let (method, packed, size) = (half(archive, at + 10)?, word(archive, at + 20)? as usize, u64::from(word(archive, at + 24)?));
        let [name, extra, comment] = [28, 30, 32].map(|field| half(archive, at + field).map(usize::from));
        let name = archive.get(at + 46..at + 46 + name?)?;
        let local = word(archive, at + 42)? as usize;
        at += 46 + name.len() + extra? + comment?;
        if name.ends_with(b"/") {
            continue;
        }
        if word(archive, local)? != LOCAL || size > MEMBER_BYTES_MAX {
            return None;
        }
        let start = local + 30 + usize::from(half(archive, local + 26)?) + usize::from(half(archive, local + 28)?);
        let bytes = archive.get(start..start + packed)?;
        let mut content = vec![];
        match method {
            0 => content.extend_from_slice(bytes),
            8 => drop(flate2::read::DeflateDecoder::new(bytes).take(size).read_to_end(&mut content).ok()?),
            _ => return None,
        }
        members.push((String::from_utf8_lossy(name).into_owned(), content));
    }
    members.sort();
    Some(members)
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}
