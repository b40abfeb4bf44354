//! Visual attributes: what a picture shows, as tags of a vocabulary, each with its source, its confidence and its evidence.
//!
//! - [`Vocabulary`]: the attributes and their values, which labels of a catalog teach them, what colours look like, how a text model is
//!   asked. A shop's own file is merged over the one that is compiled in.
//! - [`pixels`]: what can be measured: the product apart from its background, its dominant colours and their names, how patterned it is,
//!   where the objects are.
//! - [`teacher`]: what can be learned from a shop's own labelled products: a linear probe and nearest neighbours on embeddings,
//!   calibrated, with a threshold for each attribute above which it is right as often as was asked for.
//! - [`ZeroShot`]: what a model with one space for pictures and words says, where there is one.
//! - [`tag`]: all of them together. What a person or the catalog states wins; what is below its threshold is a suggestion, not a fact.
//!
//! It decides and does not act: no clock, no disk, no actor. Equal rows give equal states, bit for bit, on any number of threads.

pub mod pixels;
mod random;
pub mod report;
mod save;
mod tagger;
pub mod teacher;
pub mod vocabulary;
mod zero_shot;

pub use pixels::{Activations, Detector, Measurements, OBJECTS_MAX, Picture, Region, Saliency, Scene, measure, measure_with};
pub use save::LoadError;
pub use tagger::{Look, Source, Tag, TagSettings, tag};
pub use teacher::{Label, Row, Taught, TeachError, TeachSettings, teach, teach_with};
pub use vocabulary::{Attribute, Measure, Problem, Problems, Stated, Value, Vocabulary};
pub use zero_shot::{Prompt, ZeroShot, ZeroShotError};
