//! What has to be there before the process is of use: Kafka, Redis, an assignment, a loaded state. Whoever owns a component
//! reports on it; the service only reads.
//!
//! Pipelines that share a process report each for itself. A component is there when it is for all of them, and what is said of a
//! missing one names the pipeline.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How a component is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    Ok,
    /// Why not, for a person: no secrets, no full stop.
    Missing(String),
}

/// Components by name, and by the pipeline that reports on them: none for the process itself.
type Components = BTreeMap<(&'static str, Option<String>), State>;

/// The components of this process. A component is missing until it reports.
#[derive(Debug, Default)]
pub struct Readiness {
    components: Arc<Mutex<Components>>,
    pipeline: Option<String>,
}

impl Readiness {
    /// Expects these components.
    #[must_use]
    pub fn new(components: &[&'static str]) -> Self {
        let readiness = Self::default();
        components.iter().for_each(|component| readiness.set(component, starting()));
        readiness
    }

    /// Where one pipeline reports. Whatever the process itself is expected to have, this pipeline is from now on, in its place.
    #[must_use]
    pub fn of(&self, pipeline: &str) -> Self {
        let mut components = self.lock();
        let expected: Vec<&'static str> = components.keys().map(|(name, _)| *name).collect();
        for name in expected {
            components.remove(&(name, None));
            components.insert((name, Some(pipeline.to_owned())), starting());
        }
        Self { components: Arc::clone(&self.components), pipeline: Some(pipeline.to_owned()) }
    }

    pub fn set(&self, component: &'static str, state: State) {
        self.lock().insert((component, self.pipeline.clone()), state);
    }

    /// All components, by name.
    #[must_use]
    pub fn all(&self) -> BTreeMap<&'static str, State> {
        let mut all: BTreeMap<&'static str, State> = BTreeMap::new();
        for ((name, pipeline), state) in &*self.lock() {
            let whole = all.entry(name).or_insert(State::Ok);
            let State::Missing(reason) = state else { continue };
            let reason = pipeline.as_ref().map_or_else(|| reason.clone(), |pipeline| format!("pipeline {pipeline}: {reason}"));
            *whole = match std::mem::replace(whole, State::Ok) {
                State::Ok => State::Missing(reason),
                State::Missing(others) => State::Missing(format!("{others}; {reason}")),
            };
        }
        all
    }

    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.lock().values().all(|state| *state == State::Ok)
    }

    fn lock(&self) -> MutexGuard<'_, Components> {
        self.components.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn starting() -> State {
    State::Missing("starting".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_is_there_when_it_is_for_every_pipeline() {
        let process = Readiness::new(&["redis", "partitions"]);
        let (network, identity) = (process.of("network"), process.of("identity"));
        network.set("partitions", State::Ok);
        network.set("redis", State::Ok);
        identity.set("redis", State::Ok);
        let missing = State::Missing("pipeline identity: starting".into());
        assert_eq!(process.all(), BTreeMap::from([("partitions", missing), ("redis", State::Ok)]));
        assert!(!process.is_ready());
        network.set("redis", State::Missing("it went away".into()));
        identity.set("redis", State::Missing("refused".into()));
        let both = State::Missing("pipeline identity: refused; pipeline network: it went away".into());
        assert_eq!(process.all()["redis"], both);
        for pipeline in [&network, &identity] {
            pipeline.set("redis", State::Ok);
            pipeline.set("partitions", State::Ok);
        }
        assert!(process.is_ready() && network.is_ready());
    }
}
