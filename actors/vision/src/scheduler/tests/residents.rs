//! Models that are put out of memory and come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use protocol::vision::{ModelInfo, Space};

use crate::embedder::{EmbedError, Embedder, Input};
use crate::logic::preprocessing::Preprocessing;
use crate::logic::residency::Role;
use crate::residents::Residents;

struct Model(ModelInfo);

impl Embedder for Model {
    fn info(&self) -> &ModelInfo {
        &self.0
    }

    fn embed(&self, inputs: &[Input]) -> Result<Vec<Vec<f32>>, EmbedError> {
        Ok(vec![vec![1.0]; inputs.len()])
    }

    fn preprocessing(&self) -> Preprocessing {
        Preprocessing { side: 240, ..Preprocessing::LITE0 }
    }

    fn memory_bytes(&self) -> u64 {
        100
    }
}

/// A model of 100 bytes, and how often it was loaded.
fn admit(residents: &Arc<Residents>, name: &'static str, role: Role) -> (Arc<dyn Embedder>, Arc<AtomicUsize>) {
    let loads = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&loads);
    let load = move || {
        count.fetch_add(1, Ordering::SeqCst);
        let info = ModelInfo { name: name.into(), space: Space::Text, dimensions: 1, fingerprint: name.into(), reads_texts: true };
        Ok(Arc::new(Model(info)) as Arc<dyn Embedder>)
    };
    (residents.admit(role, Box::new(load)).expect("it loads"), loads)
}

#[test]
fn candidates_unused_for_longest_go_and_are_loaded_again_when_used() {
    let residents = Arc::new(Residents::new(300));
    let (live, live_loads) = admit(&residents, "live", Role::Live);
    let (old, old_loads) = admit(&residents, "old", Role::Candidate);
    let (young, young_loads) = admit(&residents, "young", Role::Candidate);
    let embed = |model: &Arc<dyn Embedder>| model.embed(&[Input::Text("x".into())]).expect("a vector");
    embed(&old);
    embed(&young);
    let (_other, _) = admit(&residents, "other", Role::Live);
    assert_eq!(old.device().name, "not in memory");
    assert_eq!((old.memory_bytes(), old.info().name.as_str()), (0, "old"), "it is known all the same");
    assert_eq!(old.preprocessing().side, 240, "as its pictures are prepared");
    embed(&old);
    assert_eq!(young.device().name, "not in memory", "it has made room");
    embed(&live);
    let loads = [&live_loads, &old_loads, &young_loads].map(|loads| loads.load(Ordering::SeqCst));
    assert_eq!(loads, [1, 2, 1]);
    // Live from now on: it stays although it was unused for longest.
    residents.set_role(young.info(), Role::Live);
    embed(&young);
    assert_eq!(old.device().name, "not in memory");
    let (_more, _) = admit(&residents, "more", Role::Live);
    embed(&live);
    embed(&young);
    assert_eq!([&live_loads, &young_loads].map(|loads| loads.load(Ordering::SeqCst)), [1, 2]);
}

#[test]
fn without_a_bound_nothing_goes_and_a_model_that_nobody_holds_is_forgotten() {
    let residents = Arc::new(Residents::new(0));
    let models: Vec<_> = (0..5).map(|_| admit(&residents, "one", Role::Candidate)).collect();
    assert!(models.iter().all(|(model, _)| model.device().name != "not in memory"));
    let tight = Arc::new(Residents::new(100));
    let (first, _) = admit(&tight, "first", Role::Candidate);
    drop(first);
    let (second, loads) = admit(&tight, "second", Role::Candidate);
    second.embed(&[]).expect("in memory");
    assert_eq!(loads.load(Ordering::SeqCst), 1);
    let fails = tight.admit(Role::Live, Box::new(|| Err("no file".to_owned())));
    assert_eq!(fails.err().as_deref(), Some("no file"));
}
