//! Records the metrics of the thread it is set on.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metrics::{Counter, CounterFn, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, SharedString, Unit};

type Values = Arc<Mutex<BTreeMap<String, f64>>>;

/// Values by `name{label=value,..}`, labels in order.
#[derive(Default)]
pub(crate) struct Recorder(Values);

impl Recorder {
    pub(crate) fn get(&self, metric: &str) -> Option<f64> {
        lock(&self.0).get(metric).copied()
    }

    fn value(&self, key: &Key) -> Arc<Value> {
        let mut labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        labels.sort();
        Arc::new(Value { name: format!("{}{{{}}}", key.name(), labels.join(",")), values: Arc::clone(&self.0) })
    }
}

struct Value {
    name: String,
    values: Values,
}

impl Value {
    fn change(&self, change: impl FnOnce(f64) -> f64) {
        let mut values = lock(&self.values);
        let value = values.entry(self.name.clone()).or_default();
        *value = change(*value);
    }
}

fn lock(values: &Values) -> MutexGuard<'_, BTreeMap<String, f64>> {
    values.lock().unwrap_or_else(PoisonError::into_inner)
}

impl CounterFn for Value {
    fn increment(&self, value: u64) {
        self.change(|before| before + value as f64);
    }

    fn absolute(&self, value: u64) {
        self.change(|_| value as f64);
    }
}

impl GaugeFn for Value {
    fn increment(&self, value: f64) {
        self.change(|before| before + value);
    }

    fn decrement(&self, value: f64) {
        self.change(|before| before - value);
    }

    fn set(&self, value: f64) {
        self.change(|_| value);
    }
}

impl metrics::Recorder for Recorder {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.value(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.value(key))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}
