//! Making metrics and registering them. Names and labels are constants, so that nothing here can fail.

use prometheus::core::Collector;
use prometheus::{CounterVec, Gauge, GaugeVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use super::Name;

pub(super) fn register<C: Collector + Clone + 'static>(registry: &Registry, metric: C) -> C {
    registry.register(Box::new(metric.clone())).expect("every metric is registered once");
    metric
}

pub(super) const WELL_FORMED: &str = "names and labels are constants";

pub(super) fn counter(registry: &Registry, name: Name) -> IntCounter {
    register(registry, IntCounter::new(name.0, name.1).expect(WELL_FORMED))
}

pub(super) fn int_gauge(registry: &Registry, name: Name) -> IntGauge {
    register(registry, IntGauge::new(name.0, name.1).expect(WELL_FORMED))
}

pub(super) fn gauge(registry: &Registry, name: Name) -> Gauge {
    register(registry, Gauge::new(name.0, name.1).expect(WELL_FORMED))
}

pub(super) fn counter_vec(registry: &Registry, name: Name, label: &str) -> IntCounterVec {
    register(registry, IntCounterVec::new(Opts::new(name.0, name.1), &[label]).expect(WELL_FORMED))
}

pub(super) fn float_counter_vec(registry: &Registry, name: Name, label: &str) -> CounterVec {
    register(registry, CounterVec::new(Opts::new(name.0, name.1), &[label]).expect(WELL_FORMED))
}

pub(super) fn int_gauge_vec(registry: &Registry, name: Name, label: &str) -> IntGaugeVec {
    register(registry, IntGaugeVec::new(Opts::new(name.0, name.1), &[label]).expect(WELL_FORMED))
}

pub(super) fn gauge_vec(registry: &Registry, name: Name, label: &str) -> GaugeVec {
    register(registry, GaugeVec::new(Opts::new(name.0, name.1), &[label]).expect(WELL_FORMED))
}
