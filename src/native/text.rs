//! Where JSON strings may stop, 64 bytes at a time, and whether text is plain ASCII. Decides nothing about what it finds there.

/// Whether [`string_stops`] is worth calling: without vector instructions it is slower than searching for one stop at a time.
pub const FAST_STRING_STOPS: bool = cfg!(all(target_arch = "x86_64", target_feature = "avx2"));

/// The bytes as text if all of them are ASCII. The whole is looked at before anything is decided, so that vectors can do it.
#[inline]
#[must_use]
pub fn ascii_text(bytes: &[u8]) -> Option<&str> {
    let (chunks, rest) = bytes.as_chunks::<32>();
    let mut seen = [0u8; 32];
    for chunk in chunks {
        seen.iter_mut().zip(chunk).for_each(|(seen, byte)| *seen |= byte);
    }
    let high = seen.iter().chain(rest).fold(0, |high, byte| high | byte);
    // SAFETY: no byte has its high bit set, so all are ASCII, which is UTF-8.
    (high < 0x80).then(|| unsafe { std::str::from_utf8_unchecked(bytes) })
}

/// One bit for each byte: set for a quote, a backslash and a control character.
#[inline(always)]
pub fn string_stops(bytes: &[u8; 64]) -> u64 {
    #[cfg(all(target_arch = "x86_64", target_feature = "avx2"))]
    {
        let (halves, _) = bytes.as_chunks::<32>();
        u64::from(stops_of_half(&halves[0])) | (u64::from(stops_of_half(&halves[1])) << 32)
    }
    #[cfg(not(all(target_arch = "x86_64", target_feature = "avx2")))]
    string_stops_portable(bytes)
}

#[cfg(all(target_arch = "x86_64", target_feature = "avx2"))]
#[inline(always)]
fn stops_of_half(bytes: &[u8; 32]) -> u32 {
    use std::arch::x86_64::{
        _mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_min_epu8, _mm256_movemask_epi8, _mm256_or_si256, _mm256_set1_epi8,
    };
    // SAFETY: the array has the 32 bytes that are loaded, at any alignment, and the whole program is compiled for AVX2.
    unsafe {
        let text = _mm256_loadu_si256(bytes.as_ptr().cast());
        let quote = _mm256_cmpeq_epi8(text, _mm256_set1_epi8(b'"' as i8));
        let backslash = _mm256_cmpeq_epi8(text, _mm256_set1_epi8(b'\\' as i8));
        let control = _mm256_cmpeq_epi8(_mm256_min_epu8(text, _mm256_set1_epi8(0x1f)), text);
        _mm256_movemask_epi8(_mm256_or_si256(_mm256_or_si256(quote, backslash), control)) as u32
    }
}

/// The definition of [`string_stops`].
#[cfg(any(test, not(all(target_arch = "x86_64", target_feature = "avx2"))))]
fn string_stops_portable(bytes: &[u8; 64]) -> u64 {
    let stops = |byte: u8| byte == b'"' || byte == b'\\' || byte < 0x20;
    bytes.iter().enumerate().fold(0, |bits, (at, byte)| bits | (u64::from(stops(*byte)) << at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_ascii_up_to_its_last_byte() {
        for length in 0..200 {
            let mut bytes = vec![0x7f; length];
            assert_eq!(ascii_text(&bytes).map(str::as_bytes), Some(bytes.as_slice()));
            for at in 0..length {
                bytes[at] = 0x80;
                assert_eq!(ascii_text(&bytes), None, "{at} of {length}");
                bytes[at] = 0x7f;
            }
        }
    }

    #[test]
    fn both_ways_find_the_same_stops() {
        for byte in 0..=255u8 {
            let text = std::array::from_fn(|at| if at % 3 == 0 { byte.wrapping_mul(at as u8 | 1) } else { byte.wrapping_add(at as u8) });
            assert_eq!(string_stops(&text), string_stops_portable(&text), "{byte}");
        }
    }
}
