//! A window as bytes, so that it outlives its process. What cannot be read is as if there were none: a window begins anew by itself.

use std::collections::VecDeque;

use super::{ASIDE_MAX, Offered, Rolling, Shared};
use crate::core::engine::PARTS;
use crate::core::state::persist::Persist;
use crate::core::types::EventTime;
use crate::limits::RECALIBRATION_WINDOW_BYTES_MAX;
use crate::models::feedback::Whose;
use crate::models::registry_files::Shelf;

const FORMAT: u8 = 1;

impl Rolling {
    /// Keeps the window beside the bundles, for the next process of this name.
    pub fn keep(&self, shelf: &Shelf, instance: &str) {
        let kept = self.to_bytes().map(|bytes| shelf.keep_note(&file(self.trained(), instance), &bytes));
        if let Some(Err(error)) = kept {
            tracing::debug!(%error, "recent rows are not kept in the registry");
        }
    }

    /// Goes on with the window that a process of this name has kept.
    pub fn take_up(&self, shelf: &Shelf, instance: &str) {
        let name = file(self.trained(), instance);
        match shelf.large_note(&name, RECALIBRATION_WINDOW_BYTES_MAX) {
            Ok(Some(bytes)) if !self.take_over(&bytes) => {
                tracing::warn!(name, "the recent rows that were kept cannot be read; gathering new ones");
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "the recent rows that were kept cannot be had; gathering new ones"),
        }
    }

    /// The window with what is kept aside; none while there is nothing.
    fn to_bytes(&self) -> Option<Vec<u8>> {
        let (shared, mut out) = (self.shared(), vec![]);
        if shared.recent.is_empty() && shared.aside.is_empty() {
            return None;
        }
        FORMAT.write(&mut out);
        (PARTS as u8).write(&mut out);
        let alarm = shared.alarm_since.unwrap_or(EventTime(i64::MIN));
        [shared.first, shared.newest, alarm].iter().for_each(|time| time.0.write(&mut out));
        (shared.aside.len() as u32).write(&mut out);
        for row in &shared.aside {
            row.reached.0.write(&mut out);
            row.raw.write(&mut out);
            row.whose.write(&mut out);
        }
        shared.recent.write(&mut out);
        Some(out)
    }

    /// Goes on with what another process has kept, where nothing was taken yet. False: it cannot be read.
    fn take_over(&self, bytes: &[u8]) -> bool {
        let mut shared = self.shared();
        let read = shared.recent.is_empty().then(|| read(&shared, bytes)).flatten();
        let found = read.is_some();
        if let Some(kept) = read {
            *shared = kept;
        }
        found
    }
}

fn file(trained: &str, instance: &str) -> String {
    format!("{trained}.window.{instance}.bin")
}

fn read(now: &Shared, mut bytes: &[u8]) -> Option<Shared> {
    let input = &mut bytes;
    let (mut format, mut parts) = (0u8, 0u8);
    format.read(input)?;
    parts.read(input)?;
    if (format, usize::from(parts)) != (FORMAT, PARTS) {
        return None;
    }
    let [mut first, mut newest, mut alarm] = [0i64; 3];
    [&mut first, &mut newest, &mut alarm].into_iter().try_for_each(|time| time.read(input))?;
    let mut count = 0u32;
    count.read(input)?;
    let mut aside = VecDeque::new();
    for _ in 0..count.min(ASIDE_MAX as u32) {
        let (mut reached, mut raw, mut whose) = (0i64, [0f32; PARTS], Whose::default());
        reached.read(input)?;
        raw.read(input)?;
        whose.read(input)?;
        aside.push_back(Offered { reached: EventTime(reached), raw, whose, is_threat: true });
    }
    let mut recent = now.recent.clone();
    recent.read(input)?;
    Some(Shared {
        recent,
        told: now.told.clone(),
        aside,
        present: now.present.clone(),
        first: EventTime(first),
        newest: EventTime(newest),
        alarm_since: (alarm != i64::MIN).then_some(EventTime(alarm)),
    })
}
