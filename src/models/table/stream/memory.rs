//! Which rows of the past are learned from: the newest ones, and a sample of those before. Must never depend on a row that is not given.

use crate::models::random::Random;

/// The newest `recent` rows and `older` of the others, ascending. `rows` ascend. A row that was once left out of the sample stays out
/// until it is full again, so that fits that follow one another learn from nearly the same rows.
pub(super) fn remembered(rows: &[usize], recent: usize, older: usize, seed: u64) -> Vec<usize> {
    if rows.len() <= recent + older {
        return rows.to_vec();
    }
    let (past, newest) = rows.split_at(rows.len() - recent);
    let mut drawn: Vec<(u64, usize)> = past.iter().map(|row| (Random::new(seed ^ *row as u64).next_u64(), *row)).collect();
    // Fewer than there are, as rows were left over.
    drawn.select_nth_unstable(older);
    let mut chosen: Vec<usize> = drawn[..older].iter().map(|(_, row)| *row).collect();
    chosen.sort_unstable();
    chosen.extend(newest);
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_rows_and_a_steady_sample_of_older_ones() {
        let rows: Vec<usize> = (0..1_000).collect();
        let one = remembered(&rows, 100, 50, 7);
        assert!(one.len() == 150 && one[50..] == rows[900..] && one.is_sorted());
        let next: Vec<usize> = (0..1_010).collect();
        let kept = remembered(&next, 100, 50, 7).iter().filter(|row| one[..50].contains(row)).count();
        assert!(kept >= 45, "{kept} of 50 stay");
        assert_ne!(one, remembered(&rows, 100, 50, 8));
        assert_eq!(remembered(&rows[..150], 100, 50, 7), rows[..150]);
    }
}
