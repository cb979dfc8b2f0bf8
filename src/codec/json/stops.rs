//! The places at which strings of one text may stop, found ahead of parsing. Must give what searching from any place gives.
//!
//! Searching from where the string before ended makes each string wait for the last one; a list of all stops can be made for the
//! whole text at once. Source: Langdale, Lemire, "Parsing Gigabytes of JSON per Second", VLDB Journal 28, 2019, stage 1.

use bumpalo::Bump;

use super::scan;
use crate::native::{FAST_STRING_STOPS, string_stops};

/// Stops of one text. A usual event has some 80 of them.
const STOPS_MAX: usize = 256;
const TEXT_BYTES_MAX: usize = 4_096;
/// So many stops of 64 bytes are written without asking how many there are.
const ALWAYS: usize = 12;

/// The stops of a short text in order, or nothing, where each is to be searched for.
#[derive(Debug, Default)]
pub(super) struct Stops<'b> {
    places: &'b [u16],
    next: usize,
}

impl<'b> Stops<'b> {
    #[inline]
    pub(super) fn of(text: &[u8], arena: &'b Bump) -> Self {
        if !FAST_STRING_STOPS || text.len() > TEXT_BYTES_MAX {
            return Self::default();
        }
        let mut places = [0; STOPS_MAX];
        match list(text, &mut places) {
            Some(count) => Self { places: arena.alloc_slice_copy(&places[..count]), next: 0 },
            None => Self::default(),
        }
    }

    /// The next two stops at or after `at`, if both are known: of a string from its opening quote on, these are where it begins and where
    /// it may end. Taken once they are used, by [`Stops::take_pair`].
    #[inline(always)]
    pub(super) fn pair(&mut self, at: usize) -> Option<(usize, usize)> {
        while usize::from(*self.places.get(self.next)?) < at {
            self.next += 1;
        }
        match self.places.get(self.next..)? {
            [first, second, ..] => Some((usize::from(*first), usize::from(*second))),
            _ => None,
        }
    }

    #[inline(always)]
    pub(super) fn take_pair(&mut self) {
        self.next += 2;
    }

    /// The first stop of `text` at or after `at`, or its length. Asked for in ascending order.
    #[inline(always)]
    pub(super) fn find(&mut self, text: &[u8], at: usize) -> usize {
        while let Some(place) = self.places.get(self.next) {
            if usize::from(*place) >= at {
                return usize::from(*place);
            }
            self.next += 1;
        }
        scan::string_stop(text, at)
    }
}

/// Fills the list and gives its length; `None` if there are too many.
#[inline]
fn list(text: &[u8], places: &mut [u16; STOPS_MAX]) -> Option<usize> {
    let (chunks, rest) = text.as_chunks::<64>();
    let mut count = 0;
    for (index, chunk) in chunks.iter().enumerate() {
        count = add(places, count, 64 * index, string_stops(chunk))?;
    }
    let mut last = [b' '; 64];
    last[..rest.len()].copy_from_slice(rest);
    add(places, count, text.len() - rest.len(), string_stops(&last))
}

/// Adds the stops of 64 bytes from `base` on to the `count` there are.
#[inline(always)]
fn add(places: &mut [u16; STOPS_MAX], count: usize, base: usize, mut bits: u64) -> Option<usize> {
    let places = places.get_mut(count..)?.first_chunk_mut::<64>()?;
    let found = bits.count_ones() as usize;
    let mut put = |place: &mut u16| {
        *place = (base as u32 + bits.trailing_zeros()) as u16;
        bits &= bits.wrapping_sub(1);
    };
    places[..ALWAYS].iter_mut().for_each(&mut put);
    if found > ALWAYS {
        places[ALWAYS..found].iter_mut().for_each(put);
    }
    Some(count + found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_list_of_stops_finds_what_a_search_finds(
            text in proptest::collection::vec(prop_oneof![6 => 0x20u8..0x7f, 1 => Just(b'"'), 1 => Just(b'\\'), 1 => any::<u8>()], 0..1_500),
            step in 1usize..40,
        ) {
            let arena = Bump::new();
            let mut stops = Stops::of(&text, &arena);
            for at in (0..=text.len()).step_by(step) {
                prop_assert_eq!(stops.find(&text, at), scan::string_stop(&text, at));
            }
        }
    }
}
