//! Text of hostile origin: control characters and markup out, trimmed, bounded; disguises flagged. Plain ASCII is borrowed as it is.
//!
//! Markup is `<` followed by a letter, `/`, `!` or `?`, up to its `>`; `a < b` and `1<2` stay. Removal leaves none behind: tags that
//! only form when an inner one is taken out (`<<b>script>`) go too. Text with an unclosed `<` stays; sinks escape.

use bumpalo::Bump;

use crate::core::event::{Repair, Repairs};

/// What a field allows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) chars_max: usize,
    pub(super) allow_markup: bool,
    /// Names of users, devices and sessions: letters of two scripts in one name are a disguise there.
    pub(super) identifier: bool,
}

/// Consecutive combining marks that no written language needs.
const COMBINING_MARKS_MAX: usize = 4;

#[inline]
pub(super) fn clean<'b>(text: &'b str, rules: Rules, arena: &'b Bump, repairs: &mut Repairs) -> &'b str {
    let bytes = text.as_bytes();
    let trimmed = bytes.first() != Some(&b' ') && bytes.last() != Some(&b' ');
    if bytes.len() <= rules.chars_max && trimmed && is_plain(bytes) {
        return text;
    }
    clean_unusual(text, rules, arena, repairs)
}

/// Printable ASCII without `<`.
#[inline]
fn is_plain(bytes: &[u8]) -> bool {
    if let Some(last) = bytes.last_chunk::<32>() {
        let (chunks, _) = bytes.as_chunks::<32>();
        return chunks.iter().fold(unusual_of(last), |unusual, chunk| unusual | unusual_of(chunk)) == 0;
    }
    if let Some(last) = bytes.last_chunk::<8>() {
        let mut unusual = unusual_bytes(u64::from_le_bytes(*last));
        let (chunks, _) = bytes.as_chunks::<8>();
        for chunk in chunks {
            unusual |= unusual_bytes(u64::from_le_bytes(*chunk));
        }
        return unusual == 0;
    }
    // Fewer bytes as one word without a loop: overlapping, or beside bytes that are plain.
    let word = match (bytes.first_chunk::<4>(), bytes.last_chunk::<4>(), bytes) {
        (Some(first), Some(last), _) => u64::from(u32::from_le_bytes(*first)) << 32 | u64::from(u32::from_le_bytes(*last)),
        (_, _, [first, .., last]) => u64::from_le_bytes([*first, bytes[1], *last, b'a', b'a', b'a', b'a', b'a']),
        (_, _, [only]) => u64::from_le_bytes([*only, b'a', b'a', b'a', b'a', b'a', b'a', b'a']),
        _ => return true,
    };
    unusual_bytes(word) == 0
}

/// [`unusual_bytes`] of a vector.
#[inline(always)]
fn unusual_of(chunk: &[u8; 32]) -> u8 {
    chunk.iter().fold(0, |unusual, byte| unusual | u8::from((byte.wrapping_sub(0x20) >= 0x5f) | (*byte == b'<')))
}

/// Not zero if any byte is a control character, DEL, `<` or not ASCII. Exact as a whole, not for each byte.
#[inline(always)]
const fn unusual_bytes(word: u64) -> u64 {
    const LOW: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    let control = word.wrapping_sub(LOW * 0x20);
    let mark = word ^ (LOW * b'<' as u64);
    let delete = word ^ (LOW * 0x7f);
    (control | (mark.wrapping_sub(LOW) & !mark) | (delete.wrapping_sub(LOW) & !delete) | word) & HIGH
}

#[cold]
fn clean_unusual<'b>(text: &'b str, rules: Rules, arena: &'b Bump, repairs: &mut Repairs) -> &'b str {
    if text.chars().any(char::is_control) {
        repairs.add(Repair::ControlRemoved);
    }
    let mut cleaned = without_control(text, arena);
    if !rules.allow_markup && has_markup(cleaned) {
        repairs.add(Repair::MarkupRemoved);
        cleaned = without_markup(cleaned, arena);
    }
    cleaned = cleaned.trim();
    if let Some((end, _)) = cleaned.char_indices().nth(rules.chars_max) {
        repairs.add(Repair::Truncated);
        cleaned = cleaned[..end].trim_end();
    }
    if is_suspicious(cleaned, rules.identifier) {
        repairs.add(Repair::SuspiciousUnicode);
    }
    cleaned
}

fn without_control<'b>(text: &'b str, arena: &'b Bump) -> &'b str {
    if !text.chars().any(char::is_control) {
        return text;
    }
    let mut out = bumpalo::collections::String::with_capacity_in(text.len(), arena);
    out.extend(text.chars().filter(|c| !c.is_control()));
    out.into_bump_str()
}

fn starts_tag(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || matches!(byte, b'/' | b'!' | b'?')
}

fn has_markup(text: &str) -> bool {
    let bytes = text.as_bytes();
    let tag = bytes.windows(2).position(|pair| pair[0] == b'<' && starts_tag(pair[1]));
    // An inner tag may also complete an outer one whose `<` is followed by another.
    tag.is_some_and(|at| bytes[at..].contains(&b'>'))
}

/// Takes tags out in one pass: a `>` closes the nearest open `<` that starts a tag in what is left so far.
fn without_markup<'b>(text: &'b str, arena: &'b Bump) -> &'b str {
    let mut out = bumpalo::collections::String::with_capacity_in(text.len(), arena);
    let mut open = bumpalo::collections::Vec::new_in(arena);
    for c in text.chars() {
        if c == '<' {
            open.push(out.len());
        }
        if c == '>' {
            let tag = loop {
                match open.pop() {
                    Some(at) if out.as_bytes().get(at + 1).is_some_and(|byte| starts_tag(*byte)) => break Some(at),
                    Some(_) => {}
                    None => break None,
                }
            };
            if let Some(at) = tag {
                out.truncate(at);
                continue;
            }
        }
        out.push(c);
    }
    out.into_bump_str()
}

fn is_suspicious(text: &str, identifier: bool) -> bool {
    if text.is_ascii() {
        return false;
    }
    let (mut marks, mut latin, mut lookalike) = (0, false, false);
    for c in text.chars() {
        marks = if is_combining(c) { marks + 1 } else { 0 };
        latin |= c.is_ascii_alphabetic();
        lookalike |= matches!(c, '\u{370}'..='\u{3ff}' | '\u{400}'..='\u{52f}' | '\u{13a0}'..='\u{13ff}');
        if is_invisible(c) || marks > COMBINING_MARKS_MAX {
            return true;
        }
    }
    identifier && latin && lookalike
}

fn is_combining(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}')
}

/// Characters that show as nothing or change the direction of what follows.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
    )
}
