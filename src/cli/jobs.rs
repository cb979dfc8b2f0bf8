//! Jobs that do not depend on one another, on as many threads as there are cores. Must never let the results depend on how many.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;

use super::progress::Progress;
use crate::error::Result;

/// Runs jobs `0..jobs`, the first ones first, and shows the steps they report of `steps`. Results come in no order.
///
/// # Errors
/// That of a job.
pub(super) fn side_by_side<T: Send>(
    what: &str,
    jobs: usize,
    steps: usize,
    run: impl Fn(usize, &mut dyn FnMut()) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let threads = thread::available_parallelism().map_or(1, usize::from).min(jobs);
    let (next, results) = (AtomicUsize::new(0), Mutex::new(Vec::<Result<T>>::new()));
    let (told, heard) = mpsc::channel();
    let mut progress = Progress::new(what, "steps", Some(steps as u64));
    thread::scope(|scope| {
        for _ in 0..threads {
            let told = told.clone();
            let (run, next, results) = (&run, &next, &results);
            scope.spawn(move || {
                loop {
                    let job = next.fetch_add(1, Ordering::Relaxed);
                    if job >= jobs {
                        break;
                    }
                    let result = run(job, &mut || {
                        // It is listened to until every job has ended.
                        told.send(()).ok();
                    });
                    let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
                    if result.is_err() {
                        // Nothing that is done from here on would be used.
                        next.store(jobs, Ordering::Relaxed);
                    }
                    results.push(result);
                }
            });
        }
        drop(told);
        for () in &heard {
            progress.step();
        }
    });
    progress.finish();
    results.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().collect()
}
