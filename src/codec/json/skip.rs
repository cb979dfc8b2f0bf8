//! Stepping over nested values while checking all of their grammar. Holds the open containers in one word, never on the stack.

use super::Cursor;
use super::scan::{self, Fault};
use crate::core::event::RejectReason;
use crate::limits::{JSON_DEPTH_MAX, JSON_NUMBER_BYTES_MAX};

/// Open containers: one bit each, set for an object, the innermost lowest.
struct Open {
    kinds: u64,
    depth: usize,
}

const _: () = assert!(JSON_DEPTH_MAX < 64, "the open containers have to fit one word");

impl Cursor<'_> {
    /// Steps over one value of any kind.
    pub(super) fn skip_value(&mut self) -> Result<(), Fault> {
        match self.peek() {
            Some(b'{' | b'[') => self.skip_container(),
            _ => self.skip_scalar(),
        }
    }

    /// Steps over the array or object at the cursor.
    pub(super) fn skip_container(&mut self) -> Result<(), Fault> {
        let mut open = Open { kinds: 0, depth: 0 };
        self.open(&mut open)?;
        while open.depth > 0 {
            // Here a value has just ended inside a container.
            self.space();
            let object = open.kinds & 1 == 1;
            match self.peek() {
                Some(b',') => {
                    self.at += 1;
                    self.space();
                    if object {
                        self.skip_name()?;
                    }
                    self.step_into(&mut open)?;
                }
                Some(b'}') if object => self.close(&mut open),
                Some(b']') if !object => self.close(&mut open),
                _ => return Err(self.unexpected("expected , or the end of an array or object")),
            }
        }
        Ok(())
    }

    /// Steps over a scalar, or into a container.
    #[inline]
    fn step_into(&mut self, open: &mut Open) -> Result<(), Fault> {
        match self.peek() {
            Some(b'{' | b'[') => self.open(open),
            _ => self.skip_scalar(),
        }
    }

    /// Opens the container at the cursor and all that open directly inside it, up to the end of a first scalar or an empty container.
    fn open(&mut self, open: &mut Open) -> Result<(), Fault> {
        loop {
            let object = self.peek() == Some(b'{');
            if self.depth + open.depth >= JSON_DEPTH_MAX {
                return Err(Fault { reason: RejectReason::TooDeep, at: self.at, what: "nested too deeply" });
            }
            open.kinds = open.kinds << 1 | u64::from(object);
            open.depth += 1;
            self.at += 1;
            self.space();
            match self.peek() {
                Some(b'}') if object => {
                    self.close(open);
                    return Ok(());
                }
                Some(b']') if !object => {
                    self.close(open);
                    return Ok(());
                }
                _ => {}
            }
            if object {
                self.skip_name()?;
            }
            if !matches!(self.peek(), Some(b'{' | b'[')) {
                return self.skip_scalar();
            }
        }
    }

    #[inline]
    fn close(&mut self, open: &mut Open) {
        self.at += 1;
        open.kinds >>= 1;
        open.depth -= 1;
    }

    #[inline]
    fn skip_name(&mut self) -> Result<(), Fault> {
        if self.peek() != Some(b'"') {
            return Err(self.unexpected("expected a member name"));
        }
        self.skip_string()?;
        self.space();
        if self.peek() != Some(b':') {
            return Err(self.unexpected("expected :"));
        }
        self.at += 1;
        self.space();
        Ok(())
    }

    #[inline]
    fn skip_scalar(&mut self) -> Result<(), Fault> {
        match self.peek() {
            Some(b'"') => self.skip_string(),
            Some(b'-' | b'0'..=b'9') => {
                let end = scan::number_end(self.bytes(), self.at)?;
                if end - self.at > JSON_NUMBER_BYTES_MAX {
                    return Err(self.malformed("a number is too long"));
                }
                self.at = end;
                Ok(())
            }
            _ => self.other_value().map(|_| ()),
        }
    }

    fn skip_string(&mut self) -> Result<(), Fault> {
        self.at += 1;
        loop {
            self.at = self.stops.find(self.text.as_bytes(), self.at);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => {
                    self.escape()?;
                }
                _ => return Err(self.unexpected("a string is not closed, or has a bare control character")),
            }
        }
    }
}
