//! Compact bytes of a state: fixed little-endian fields, then runs of zeros shortened. Never depends on memory layout.

/// A value with a fixed binary form.
pub trait Persist {
    fn write(&self, out: &mut Vec<u8>);
    /// Reads from the front of `input`; `None` when it ends early.
    fn read(&mut self, input: &mut &[u8]) -> Option<()>;
}

macro_rules! persist_number {
    ($($number:ty),*) => {$(
        impl Persist for $number {
            fn write(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
            fn read(&mut self, input: &mut &[u8]) -> Option<()> {
                let (bytes, rest) = input.split_first_chunk()?;
                *self = <$number>::from_le_bytes(*bytes);
                *input = rest;
                Some(())
            }
        }
    )*};
}
persist_number!(u8, u16, u32, u64, i64, f32);

impl<T: Persist, const N: usize> Persist for [T; N] {
    fn write(&self, out: &mut Vec<u8>) {
        self.iter().for_each(|item| item.write(out));
    }
    fn read(&mut self, input: &mut &[u8]) -> Option<()> {
        self.iter_mut().try_for_each(|item| item.read(input))
    }
}

/// Implements [`Persist`] field by field, in the order given; adding a field needs a new [`super::FORMAT`]. Fields are copied, because
/// those of packed structures have no references.
macro_rules! persist_fields {
    ($name:ident { $($field:ident),* $(,)? }) => {
        impl $crate::core::state::persist::Persist for $name {
            fn write(&self, out: &mut Vec<u8>) {
                $($crate::core::state::persist::Persist::write(&{ self.$field }, out);)*
            }
            fn read(&mut self, input: &mut &[u8]) -> Option<()> {
                $(
                    let mut value = self.$field;
                    $crate::core::state::persist::Persist::read(&mut value, input)?;
                    self.$field = value;
                )*
                Some(())
            }
        }
    };
}
pub(crate) use persist_fields;

/// Shortens runs of zeros: a zero byte is followed by the run's length, 1..=255. Most of a young state is zeros.
pub fn squeeze(plain: &[u8], out: &mut Vec<u8>) {
    let mut rest = plain;
    while let Some(at) = memchr::memchr(0, rest) {
        let run = zeros(&rest[at..rest.len().min(at + 255)]);
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(&[0, run as u8]);
        rest = &rest[at + run..];
    }
    out.extend_from_slice(rest);
}

/// Zeros at the start, eight at a time.
fn zeros(bytes: &[u8]) -> usize {
    let (words, _) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        if word != 0 {
            return index * 8 + word.trailing_zeros() as usize / 8;
        }
    }
    let whole = words.len() * 8;
    whole + bytes[whole..].iter().take_while(|byte| **byte == 0).count()
}

/// Undoes [`squeeze`], up to `limit` bytes; `None` when the input is damaged or longer.
pub fn expand(squeezed: &[u8], limit: usize, out: &mut Vec<u8>) -> Option<()> {
    let mut rest = squeezed;
    while let Some(at) = rest.iter().position(|byte| *byte == 0) {
        let run = usize::from(*rest.get(at + 1)?);
        if run == 0 || out.len() + at + run > limit {
            return None;
        }
        out.extend_from_slice(&rest[..at]);
        out.resize(out.len() + run, 0);
        rest = &rest[at + 2..];
    }
    if out.len() + rest.len() > limit {
        return None;
    }
    out.extend_from_slice(rest);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn squeezing_is_undone_exactly(plain in proptest::collection::vec(prop_oneof![3 => Just(0u8), 1 => any::<u8>()], 0..2000)) {
            let mut squeezed = vec![];
            squeeze(&plain, &mut squeezed);
            let mut back = vec![];
            prop_assert!(expand(&squeezed, plain.len(), &mut back).is_some());
            prop_assert_eq!(back, plain);
        }

        #[test]
        fn damaged_input_is_refused_or_bounded(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut back = vec![];
            let read = expand(&bytes, 100, &mut back);
            prop_assert!(read.is_none() || back.len() <= 100);
        }
    }
}
