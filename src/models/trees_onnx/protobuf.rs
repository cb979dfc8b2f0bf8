//! As much of the protobuf wire format as an ONNX file needs. Must never panic, recurse, or hold more than the file and
//! [`ELEMENTS_MAX`] numbers an array.

use crate::limits::TREES_NODES_MAX;

/// Numbers of one array: a tree model has no longer ones.
pub(super) const ELEMENTS_MAX: usize = TREES_NODES_MAX;

/// A field's value as it lies in the file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'a> {
    Varint(u64),
    Fixed32(u32),
    Fixed64,
    Bytes(&'a [u8]),
}

/// The fields of a message, in their order.
pub(super) struct Fields<'a>(pub &'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Result<(u64, Value<'a>), String> {
        let key = varint(&mut self.0)?;
        let value = match key & 7 {
            0 => Value::Varint(varint(&mut self.0)?),
            1 => {
                self.take(8)?;
                Value::Fixed64
            }
            2 => {
                let length = varint(&mut self.0)?;
                Value::Bytes(self.take(usize::try_from(length).map_err(|_| "a length that does not fit the file")?)?)
            }
            5 => Value::Fixed32(word(self.take(4)?)),
            other => return Err(format!("a field of wire type {other}")),
        };
        Ok((key >> 3, value))
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (head, rest) = self.0.split_at_checked(count).ok_or("a length that does not fit the file")?;
        self.0 = rest;
        Ok(head)
    }
}

fn word(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte))
}

fn varint(bytes: &mut &[u8]) -> Result<u64, String> {
    let mut value = 0;
    for place in 0..10 {
        let (byte, rest) = bytes.split_first().ok_or("a number without an end")?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err("a number of more than ten bytes".into())
}

impl<'a> Value<'a> {
    pub(super) fn bytes(self) -> Result<&'a [u8], String> {
        if let Self::Bytes(bytes) = self { Ok(bytes) } else { Err("a number where a message is expected".into()) }
    }
    pub(super) fn text(self) -> Result<&'a str, String> {
        std::str::from_utf8(self.bytes()?).map_err(|_| "a name that is not UTF-8".into())
    }
    pub(super) fn integer(self) -> Result<i64, String> {
        if let Self::Varint(value) = self { Ok(value.cast_signed()) } else { Err("no number where one is expected".into()) }
    }

    /// Adds one number, or all of a packed array.
    pub(super) fn floats(self, into: &mut Vec<f32>) -> Result<(), String> {
        match self {
            Self::Fixed32(word) => into.push(f32::from_bits(word)),
            Self::Bytes(bytes) if bytes.len() % 4 == 0 && bytes.len() / 4 <= ELEMENTS_MAX => {
                into.extend(bytes.chunks_exact(4).map(|four| f32::from_bits(word(four))));
            }
            _ => return Err("an array that is not one of floats, or too long".into()),
        }
        bounded(into.len())
    }

    /// The same for integers.
    pub(super) fn integers(self, into: &mut Vec<i64>) -> Result<(), String> {
        match self {
            Self::Varint(value) => into.push(value.cast_signed()),
            Self::Bytes(mut bytes) => {
                while !bytes.is_empty() {
                    into.push(varint(&mut bytes)?.cast_signed());
                    bounded(into.len())?;
                }
            }
            _ => return Err("an array that is not one of integers".into()),
        }
        bounded(into.len())
    }
}

pub(super) fn bounded(length: usize) -> Result<(), String> {
    if length <= ELEMENTS_MAX { Ok(()) } else { Err(format!("an array of more than {ELEMENTS_MAX} numbers")) }
}
