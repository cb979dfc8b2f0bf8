//! What is known when a run of rows is scored. Must never count a label before it has come.

use super::Protocol;

/// Rows at the end of the warm-up, at most, that are scored as if they were tested: the first thresholds come from them.
const REHEARSED_MAX: usize = 2_000;

/// A run of rows that is scored by one fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stage {
    pub first: usize,
    pub end: usize,
    /// Labels of rows before this one are known; those of later ones are not.
    pub labelled: usize,
}

/// The first row that is scored: half of the warm-up at most is rehearsal.
pub(super) fn rehearsal(protocol: &Protocol) -> usize {
    protocol.warm_up_rows - (protocol.warm_up_rows / 2).min(REHEARSED_MAX)
}

/// The stages of the rehearsal, then those of the test.
pub(super) fn stages(protocol: &Protocol, rows: usize) -> Vec<Stage> {
    let (start, warm) = (rehearsal(protocol), protocol.warm_up_rows.min(rows));
    let mut stages = run(protocol, start, warm);
    stages.extend(run(protocol, warm, rows));
    stages
}

fn run(protocol: &Protocol, start: usize, end: usize) -> Vec<Stage> {
    let step = protocol.refit_every.max(1);
    let labelled = |first: usize| (first + 1).saturating_sub(protocol.label_delay).min(first).max(start);
    (start..end).step_by(step).map(|first| Stage { first, end: end.min(first + step), labelled: labelled(first) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_come_when_so_many_rows_have_come_after_theirs() {
        let protocol = Protocol { warm_up_rows: 100, label_delay: 30, refit_every: 20, nominal: 0.01, seed: 1 };
        let stages = stages(&protocol, 190);
        assert_eq!(stages[0], Stage { first: 50, end: 70, labelled: 50 });
        assert_eq!(stages[2], Stage { first: 90, end: 100, labelled: 61 }, "the rehearsal ends where the test begins");
        assert_eq!(stages[3], Stage { first: 100, end: 120, labelled: 100 });
        assert_eq!(stages[5], Stage { first: 140, end: 160, labelled: 111 }, "row 110 has 30 rows after it");
        assert!(stages.windows(2).all(|pair| pair[0].end == pair[1].first) && stages.last().is_some_and(|last| last.end == 190));
        let at_once = super::stages(&Protocol { label_delay: 0, ..protocol }, 190);
        assert!(at_once.iter().all(|stage| stage.labelled == stage.first), "a row's own label is never known");
    }
}
