//! A strict JSON pull parser over one record. Never recurses, never copies text without escapes, never accepts what RFC 8259 forbids.
//!
//! Stricter than the RFC where a record of hostile origin could hurt: nesting at most `JSON_DEPTH_MAX` levels (the record's own
//! object is the first), numbers at most `JSON_NUMBER_BYTES_MAX` bytes, no lone surrogates. Numbers stay digits, so `1e400` and
//! 2^64 are decided by whoever needs the value.

mod scan;
mod skip;
mod stops;
#[cfg(test)]
mod tests;
mod write;

use bumpalo::Bump;

pub use scan::Fault;
pub use write::{push_string, string_in};

use self::stops::Stops;
use super::DecodeError;
use crate::core::event::{Field, RejectReason};
use crate::limits::JSON_NUMBER_BYTES_MAX;

/// One member of an object.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Member<'b> {
    /// Escapes resolved.
    pub name: &'b str,
    pub value: Field<'b>,
    /// The value as written.
    pub raw: &'b str,
}

/// The members of an object, in order. Ends after the closing brace; [`Members::document`] also checks that nothing follows.
#[derive(Debug)]
pub struct Members<'b> {
    cursor: Cursor<'b>,
    first: bool,
    done: bool,
}

/// The elements of an array, in order.
#[derive(Debug)]
pub struct Elements<'b> {
    cursor: Cursor<'b>,
    first: bool,
}

#[derive(Debug)]
struct Cursor<'b> {
    text: &'b str,
    at: usize,
    /// Containers open around `at`.
    depth: usize,
    stops: Stops<'b>,
}

impl<'b> Members<'b> {
    /// Opens a record that has to be one JSON object.
    ///
    /// # Errors
    /// `Empty`, `InvalidUtf8`, or `NotAnEvent` for another JSON value; that value's own fault if it is broken.
    pub fn document(payload: &'b [u8], arena: &'b Bump) -> Result<Self, Fault> {
        let text = scan::text_of(payload)?;
        let mut cursor = Cursor { text, at: scan::skip_space(payload, 0), depth: 0, stops: Stops::of(payload, arena) };
        match payload.get(cursor.at) {
            Some(b'{') => {
                cursor.at += 1;
                cursor.depth = 1;
                Ok(Self { cursor, first: true, done: false })
            }
            None => Err(Fault { reason: RejectReason::Empty, at: 0, what: "nothing but white space" }),
            Some(_) => {
                let start = cursor.at;
                cursor.skip_value()?;
                cursor.end_of_text()?;
                Err(Fault { reason: RejectReason::NotAnEvent, at: start, what: "expected an object" })
            }
        }
    }

    /// Opens the text of a [`Field::Nested`]; `None` if it is an array. Its grammar has been checked, so later errors cannot occur.
    #[must_use]
    pub fn nested(text: &'b str) -> Option<Self> {
        let cursor = Cursor { text, at: 1, depth: 1, stops: Stops::default() };
        text.starts_with('{').then_some(Self { cursor, first: true, done: false })
    }

    /// The next member, `None` after the last.
    ///
    /// # Errors
    /// The first fault in the text; the record is unusable after it.
    // Named like an iterator's method without being one: it borrows the arena for each call and can fail.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self, arena: &'b Bump) -> Result<Option<Member<'b>>, Fault> {
        let Some(name) = self.next_name(arena)? else { return Ok(None) };
        let mut value = Field::Missing;
        let raw = self.value_and_raw(arena, &mut value)?;
        Ok(Some(Member { name, value, raw }))
    }

    /// The name of the next member, whose value has to be taken before the next name: by [`Members::value_into`] or [`Members::raw`].
    ///
    /// # Errors
    /// The first fault in the text.
    #[inline(always)]
    pub fn next_name(&mut self, arena: &'b Bump) -> Result<Option<&'b str>, Fault> {
        let cursor = &mut self.cursor;
        if let Some(name) = cursor.plain_name(usize::from(!self.first)) {
            self.first = false;
            return Ok(Some(name));
        }
        cursor.space();
        match cursor.peek() {
            Some(b',') if !self.first => {
                cursor.at += 1;
                cursor.space();
            }
            Some(b'}') if !self.done => {
                cursor.at += 1;
                self.done = true;
                cursor.end_of_text()?;
                return Ok(None);
            }
            _ if self.done => return Ok(None),
            _ if self.first => self.first = false,
            _ => return Err(cursor.unexpected("expected , or }")),
        }
        cursor.name(arena).map(Some)
    }

    /// Takes the value of the member just named, straight to where it is to stay. Values are not returned because a copy right after
    /// the narrow stores that make one waits for them: a third of the whole parse.
    ///
    /// # Errors
    /// The first fault in the text.
    #[inline(always)]
    pub fn value_into(&mut self, arena: &'b Bump, into: &mut Field<'b>) -> Result<(), Fault> {
        self.cursor.value_into(arena, into)
    }

    /// Takes the value as [`Members::value_into`] does and also gives it as written.
    ///
    /// # Errors
    /// The first fault in the text.
    #[inline]
    pub fn value_and_raw(&mut self, arena: &'b Bump, into: &mut Field<'b>) -> Result<&'b str, Fault> {
        let start = self.cursor.at;
        self.cursor.value_into(arena, into)?;
        Ok(&self.cursor.text[start..self.cursor.at])
    }

    /// Steps over the value of the member just named and gives it as written.
    ///
    /// # Errors
    /// The first fault in the text.
    #[inline]
    pub fn raw(&mut self) -> Result<&'b str, Fault> {
        let start = self.cursor.at;
        self.cursor.skip_value()?;
        Ok(&self.cursor.text[start..self.cursor.at])
    }
}

impl<'b> Elements<'b> {
    /// Opens the text of a [`Field::Nested`]; `None` if it is an object.
    #[must_use]
    pub fn nested(text: &'b str) -> Option<Self> {
        text.starts_with('[').then_some(Self { cursor: Cursor { text, at: 1, depth: 1, stops: Stops::default() }, first: true })
    }

    /// The next element, `None` after the last.
    pub fn next_value(&mut self, arena: &'b Bump) -> Option<Field<'b>> {
        let cursor = &mut self.cursor;
        cursor.space();
        match cursor.peek()? {
            b']' => return None,
            b',' if !self.first => cursor.at += 1,
            _ => {}
        }
        self.first = false;
        cursor.space();
        let mut value = Field::Missing;
        cursor.value_into(arena, &mut value).ok()?;
        Some(value)
    }
}

impl<'b> Cursor<'b> {
    #[inline(always)]
    fn bytes(&self) -> &'b [u8] {
        self.text.as_bytes()
    }

    #[inline(always)]
    fn peek(&self) -> Option<u8> {
        self.bytes().get(self.at).copied()
    }

    #[inline(always)]
    fn space(&mut self) {
        // Producers rarely write any: one comparison instead of a loop.
        if self.peek().is_some_and(|byte| byte <= b' ') {
            self.at = scan::skip_space(self.bytes(), self.at);
        }
    }

    #[cold]
    fn unexpected(&self, what: &'static str) -> Fault {
        scan::unexpected(self.bytes(), self.at, what)
    }

    #[cold]
    fn malformed(&self, what: &'static str) -> Fault {
        Fault { reason: RejectReason::Malformed, at: self.at, what }
    }

    #[inline]
    fn end_of_text(&mut self) -> Result<(), Fault> {
        self.space();
        if self.at == self.text.len() { Ok(()) } else { Err(self.malformed("something follows the value")) }
    }

    /// A comma, if there is to be one, a member's name without escapes, and the colon, with nothing between them. Moves only if that
    /// is what there is: what nearly every producer writes.
    #[inline(always)]
    fn plain_name(&mut self, commas: usize) -> Option<&'b str> {
        let (bytes, open) = (self.bytes(), self.at + commas);
        let (first, end) = self.stops.pair(open)?;
        let colon = *bytes.get(end + 1)?;
        let plain = first == open && bytes[open] == b'"' && bytes[end] == b'"' && colon == b':' && (commas == 0 || bytes[self.at] == b',');
        if !plain {
            return None;
        }
        let name = self.text.get(open + 1..end)?;
        self.stops.take_pair();
        self.at = end + 2;
        self.space();
        Some(name)
    }

    /// A member's name and the colon after it, up to its value.
    #[inline(always)]
    fn name(&mut self, arena: &'b Bump) -> Result<&'b str, Fault> {
        if self.peek() != Some(b'"') {
            return Err(self.unexpected("expected a member name"));
        }
        let name = self.string(arena)?;
        self.space();
        if self.peek() != Some(b':') {
            return Err(self.unexpected("expected :"));
        }
        self.at += 1;
        self.space();
        Ok(name)
    }

    #[inline(always)]
    fn value_into(&mut self, arena: &'b Bump, into: &mut Field<'b>) -> Result<(), Fault> {
        match self.peek() {
            Some(b'"') => *into = Field::Text(self.string(arena)?),
            Some(b'-' | b'0'..=b'9') => *into = Field::Number(self.number()?),
            _ => *into = self.other_value()?,
        }
        Ok(())
    }

    fn other_value(&mut self) -> Result<Field<'b>, Fault> {
        match self.peek() {
            Some(b'{' | b'[') => {
                let start = self.at;
                self.skip_container()?;
                Ok(Field::Nested(&self.text[start..self.at]))
            }
            Some(b't') => self.literal(b"true", Field::Bool(true)),
            Some(b'f') => self.literal(b"false", Field::Bool(false)),
            Some(b'n') => self.literal(b"null", Field::Missing),
            _ => Err(self.unexpected("expected a value")),
        }
    }

    fn literal(&mut self, word: &[u8], value: Field<'b>) -> Result<Field<'b>, Fault> {
        for expected in word {
            if self.peek() != Some(*expected) {
                return Err(self.unexpected("expected true, false or null"));
            }
            self.at += 1;
        }
        Ok(value)
    }

    #[inline]
    fn number(&mut self) -> Result<&'b str, Fault> {
        let start = self.at;
        let end = scan::number_end(self.bytes(), start)?;
        if end - start > JSON_NUMBER_BYTES_MAX {
            return Err(self.malformed("a number is too long"));
        }
        self.at = end;
        Ok(&self.text[start..end])
    }

    /// A string from its opening quote on.
    #[inline(always)]
    fn string(&mut self, arena: &'b Bump) -> Result<&'b str, Fault> {
        let start = self.at + 1;
        let stop = match self.stops.pair(self.at) {
            Some((open, end)) if open == self.at => {
                self.stops.take_pair();
                end
            }
            _ => self.stops.find(self.text.as_bytes(), start),
        };
        if self.bytes().get(stop) == Some(&b'"') {
            self.at = stop + 1;
            return Ok(&self.text[start..stop]);
        }
        self.escaped_string(arena)
    }

    #[cold]
    fn escaped_string(&mut self, arena: &'b Bump) -> Result<&'b str, Fault> {
        let mut out = bumpalo::collections::String::new_in(arena);
        self.at += 1;
        loop {
            let stop = scan::string_stop(self.bytes(), self.at);
            out.push_str(&self.text[self.at..stop]);
            self.at = stop;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out.into_bump_str());
                }
                Some(b'\\') => out.push(self.escape()?),
                _ => return Err(self.unexpected("a string is not closed, or has a bare control character")),
            }
        }
    }

    /// The character of an escape, from its backslash on.
    fn escape(&mut self) -> Result<char, Fault> {
        self.at += 1;
        let plain = match self.peek() {
            Some(byte @ (b'"' | b'\\' | b'/')) => byte as char,
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode_escape(),
            _ => return Err(self.unexpected("unknown escape")),
        };
        self.at += 1;
        Ok(plain)
    }

    fn unicode_escape(&mut self) -> Result<char, Fault> {
        let first = self.four_hex_digits()?;
        if !(0xD800..0xE000).contains(&first) {
            return char::from_u32(first).ok_or_else(|| self.malformed("not a character"));
        }
        if first >= 0xDC00 {
            return Err(self.malformed("lone surrogate"));
        }
        for expected in [b'\\', b'u'] {
            if self.peek() != Some(expected) {
                return Err(self.unexpected("lone surrogate"));
            }
            self.at += usize::from(expected == b'\\');
        }
        let second = self.four_hex_digits()?;
        if !(0xDC00..0xE000).contains(&second) {
            return Err(self.malformed("lone surrogate"));
        }
        char::from_u32(0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00)).ok_or_else(|| self.malformed("not a character"))
    }

    /// Four digits after the `u` at the cursor, which moves behind them.
    fn four_hex_digits(&mut self) -> Result<u32, Fault> {
        let mut value = 0;
        for _ in 0..4 {
            self.at += 1;
            let digit = self.peek().and_then(|byte| (byte as char).to_digit(16));
            value = value * 16 + digit.ok_or_else(|| self.unexpected("expected four hexadecimal digits"))?;
        }
        self.at += 1;
        Ok(value)
    }
}

impl From<Fault> for DecodeError {
    fn from(fault: Fault) -> Self {
        Self { reason: fault.reason, detail: format!("{} at byte {}", fault.what, fault.at) }
    }
}
