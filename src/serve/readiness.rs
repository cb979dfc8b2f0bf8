//! What has to be there before the process is of use: Kafka, Redis, an assignment, a loaded state. Whoever owns a component
//! reports on it; the service only reads.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How a component is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    Ok,
    /// Why not, for a person: no secrets, no full stop.
    Missing(String),
}

/// The components of this process. A component is missing until it reports.
#[derive(Debug, Default)]
pub struct Readiness(Mutex<BTreeMap<&'static str, State>>);

impl Readiness {
    /// Expects these components.
    #[must_use]
    pub fn new(components: &[&'static str]) -> Self {
        Self(Mutex::new(components.iter().map(|name| (*name, State::Missing("starting".into()))).collect()))
    }

    pub fn set(&self, component: &'static str, state: State) {
        self.lock().insert(component, state);
    }

    /// All components, by name.
    #[must_use]
    pub fn all(&self) -> BTreeMap<&'static str, State> {
        self.lock().clone()
    }

    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.lock().values().all(|state| *state == State::Ok)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, State>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
