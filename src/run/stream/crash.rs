//! Places where a test may end the process, as a power cut would.
#![allow(clippy::disallowed_methods)] // a test's own switch, which no configuration file may hold

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// `name` or `name:n` for the n-th time it is passed.
const VARIABLE: &str = "THREATGUARD_CRASH_AT";

struct Plan {
    name: String,
    left: AtomicU64,
}

static PLAN: LazyLock<Option<Plan>> = LazyLock::new(|| {
    let text = std::env::var(VARIABLE).ok().filter(|text| !text.is_empty())?;
    let (name, times) = text.split_once(':').unwrap_or((&text, "1"));
    Some(Plan { name: name.to_owned(), left: AtomicU64::new(times.parse().unwrap_or(1)) })
});

/// Ends the process here if the environment says so. Costs one look at a static otherwise.
pub fn point(name: &str) {
    if let Some(plan) = PLAN.as_ref().filter(|plan| plan.name == name)
        && plan.left.fetch_sub(1, Ordering::AcqRel) == 1
    {
        std::process::abort();
    }
}
