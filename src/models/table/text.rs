//! The shape of free text, such as a payload or an address of a page: how long it is, which signs it holds, which words. For columns
//! whose cells hardly repeat, where a column for each cell would say nothing. Must never depend on cells other than the one it is given.

/// Signs that are counted one by one: all of ASCII's.
const SIGNS: &[u8; 32] = b"!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";
const SHAPES: [&str; 9] = ["length", "letters", "capitals", "digits", "spaces", "controls", "beyond ascii", "longest word", "bits a byte"];
/// Words of letters are counted in so many places, by their hash.
const WORD_PLACES: usize = 64;
/// Shorter runs of letters are no words.
const WORD_LETTERS_MIN: usize = 2;
/// Text holds at least so many different signs; addresses, times and identifiers hold fewer.
const SIGNS_MIN: usize = 6;

/// Numbers that a text becomes.
pub const WIDTH: usize = SHAPES.len() + SIGNS.len() + WORD_PLACES;

/// What the numbers of column `column` are called.
pub fn names(column: &str) -> impl Iterator<Item = String> + '_ {
    let shapes = SHAPES.iter().map(|shape| (*shape).to_owned());
    let signs = SIGNS.iter().map(|sign| format!("'{}'", char::from(*sign)));
    let words = (0..WORD_PLACES).map(|place| format!("words {place}"));
    shapes.chain(signs).chain(words).map(move |name| format!("{column}: {name}"))
}

/// Whether these cells are text rather than identifiers.
pub fn is_text<'a>(cells: impl Iterator<Item = &'a str>) -> bool {
    let mut seen = [false; 256];
    for cell in cells {
        cell.bytes().for_each(|byte| seen[usize::from(byte)] = true);
        if SIGNS.iter().filter(|sign| seen[usize::from(**sign)]).count() >= SIGNS_MIN {
            return true;
        }
    }
    false
}

/// The numbers of a text, [`WIDTH`] of them.
pub fn fill(text: &str, out: &mut [f32]) {
    out.fill(0.0);
    let mut counts = [0_u32; 256];
    text.bytes().for_each(|byte| counts[usize::from(byte)] += 1);
    let among = |some: &dyn Fn(u8) -> bool| (0..=255_u8).filter(|b| some(*b)).map(|b| counts[usize::from(b)]).sum::<u32>() as f32;
    let longest = text.split(|c: char| !c.is_alphanumeric()).map(str::len).max().unwrap_or(0);
    let shapes = [
        text.len() as f32,
        among(&|b| b.is_ascii_alphabetic()),
        among(&|b| b.is_ascii_uppercase()),
        among(&|b| b.is_ascii_digit()),
        among(&|b| b == b' '),
        among(&|b| b.is_ascii_control()),
        among(&|b| !b.is_ascii()),
        longest as f32,
        bits(&counts, text.len()),
    ];
    let (head, rest) = out.split_at_mut(SHAPES.len());
    let (signs, words) = rest.split_at_mut(SIGNS.len());
    head.copy_from_slice(&shapes);
    signs.iter_mut().zip(SIGNS).for_each(|(out, sign)| *out = counts[usize::from(*sign)] as f32);
    for word in text.as_bytes().split(|byte| !byte.is_ascii_alphabetic()).filter(|word| word.len() >= WORD_LETTERS_MIN) {
        words[place(word)] += 1.0;
    }
}

/// The entropy of the bytes.
fn bits(counts: &[u32; 256], length: usize) -> f32 {
    let share = |count: &u32| f64::from(*count) / length.max(1) as f64;
    counts.iter().filter(|count| **count > 0).map(share).map(|share| -share * libm::log2(share)).sum::<f64>() as f32
}

/// FNV-1a of the word in small letters.
fn place(word: &[u8]) -> usize {
    let hash = word
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte.to_ascii_lowercase())).wrapping_mul(0x0000_0100_0000_01b3));
    (hash >> 32) as usize % WORD_PLACES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(text: &str) -> Vec<f32> {
        let mut out = vec![9.0; WIDTH];
        fill(text, &mut out);
        out
    }

    #[test]
    fn shapes_signs_and_words_are_counted() {
        let out = numbers("id=1' OR \u{e9}");
        assert_eq!(&out[..8], [11.0, 4.0, 2.0, 1.0, 2.0, 0.0, 2.0, 2.0]);
        let at = |name: &str| out[names("q").position(|n| n == format!("q: {name}")).unwrap()];
        assert!(at("'='") > 0.5 && at("'''") > 0.5 && at("'<'") < 0.5);
        assert!((out[9 + 32..].iter().sum::<f32>() - 2.0).abs() < 1e-6, "two words");
        assert_eq!(numbers("select")[41..], numbers("SELECT")[41..]);
        assert!(numbers("").iter().all(|v| v.abs() < 1e-9) && names("q").count() == WIDTH);
        assert!((numbers("aabb")[8] - 1.0).abs() < 1e-6);
    }

    #[test]
    fn addresses_and_times_are_no_text() {
        assert!(!is_text(["192.168.0.1-10.0.0.2-443-80-6", "07/07/2017 03:30:00 PM", "2017-07-07"].into_iter()));
        assert!(is_text(["/a.php?x=1&y=2", "<b>"].into_iter()));
    }
}
