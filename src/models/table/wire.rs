//! Numbers as little-endian bytes, lists with their length before them. Must never panic on bytes from outside, nor reserve more than
//! they hold.

use crate::error::{Error, Result};

#[derive(Debug, Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    pub fn word(&mut self, value: u32) {
        self.0.extend(value.to_le_bytes());
    }
    pub fn double(&mut self, value: f64) {
        self.0.extend(value.to_le_bytes());
    }
    pub fn words(&mut self, values: impl ExactSizeIterator<Item = u32>) {
        self.word(values.len() as u32);
        values.for_each(|value| self.word(value));
    }
    pub fn floats(&mut self, values: impl ExactSizeIterator<Item = f32>) {
        self.words(values.map(f32::to_bits));
    }
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.word(bytes.len() as u32);
        self.0.extend(bytes);
    }
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.0
    }
}

#[derive(Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        self.0.is_empty()
    }
    pub fn word(&mut self) -> Result<u32> {
        let (head, rest) = self.0.split_first_chunk::<4>().ok_or_else(cut_off)?;
        self.0 = rest;
        Ok(u32::from_le_bytes(*head))
    }
    pub fn double(&mut self) -> Result<f64> {
        let (head, rest) = self.0.split_first_chunk::<8>().ok_or_else(cut_off)?;
        self.0 = rest;
        Ok(f64::from_le_bytes(*head))
    }
    pub fn words(&mut self) -> Result<Vec<u32>> {
        let count = self.word()? as usize;
        let bytes = self.some(count.checked_mul(4).ok_or_else(cut_off)?)?;
        Ok(bytes.as_chunks::<4>().0.iter().map(|four| u32::from_le_bytes(*four)).collect())
    }
    pub fn floats(&mut self) -> Result<Vec<f32>> {
        Ok(self.words()?.into_iter().map(f32::from_bits).collect())
    }
    pub fn bytes(&mut self) -> Result<&'a [u8]> {
        let count = self.word()? as usize;
        self.some(count)
    }
    fn some(&mut self, count: usize) -> Result<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count).ok_or_else(cut_off)?;
        self.0 = rest;
        Ok(head)
    }
}

fn cut_off() -> Error {
    Error::config("a part of the model is cut off; restore it or train again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_a_wrong_length_is_refused() {
        let mut out = Writer::default();
        out.double(0.25);
        out.floats([1.0, f32::NEG_INFINITY].into_iter());
        out.bytes(b"abc");
        let bytes = out.finish();
        let mut from = Reader::new(&bytes);
        assert!((from.double().unwrap() - 0.25).abs() < 1e-12);
        assert_eq!(from.floats().unwrap(), [1.0, f32::NEG_INFINITY]);
        assert!(from.bytes().unwrap() == b"abc" && from.is_at_end() && from.word().is_err());
        assert!(Reader::new(&u32::MAX.to_le_bytes()).words().is_err());
    }
}
