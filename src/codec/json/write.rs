//! Writing text as JSON strings, for codecs and framers that build JSON from something else.

use bumpalo::Bump;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Appends `text` as a JSON string with its quotes. Bytes that are not UTF-8 pass through and are refused by whoever reads them.
pub fn push_string(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    for &byte in text {
        push_escaped(byte, |part| out.extend_from_slice(part));
    }
    out.push(b'"');
}

/// `text` as a JSON string with its quotes, in the arena.
#[must_use]
pub fn string_in<'b>(arena: &'b Bump, text: &str) -> &'b str {
    let mut out = bumpalo::collections::String::with_capacity_in(text.len() + 2, arena);
    out.push('"');
    let mut rest = text;
    while let Some(at) = rest.bytes().position(|byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
        out.push_str(&rest[..at]);
        push_escaped(rest.as_bytes()[at], |part| part.iter().for_each(|byte| out.push(*byte as char)));
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
    out.push('"');
    out.into_bump_str()
}

fn push_escaped(byte: u8, mut put: impl FnMut(&[u8])) {
    match byte {
        b'"' | b'\\' => put(&[b'\\', byte]),
        b'\n' => put(b"\\n"),
        b'\r' => put(b"\\r"),
        b'\t' => put(b"\\t"),
        0..0x20 => put(&[b'\\', b'u', b'0', b'0', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]),
        _ => put(&[byte]),
    }
}
