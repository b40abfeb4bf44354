//! Nightwing's configuration.

use fetch::FetchConfig;
use protocol::queue::LEASE_JOBS_MAX;
use protocol::search::UPSERT_VECTORS_MAX;
use protocol::vision::EMBED_BATCH_MAX;
use serde::{Deserialize, Serialize};

use crate::devices::DeviceSetting;
use crate::tagging::TagConfig;

/// How pictures are read and how work is cut.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What runs the models: the GPU where there is one that passes its tests, and else the CPU (`"auto"`), the CPU (`"cpu"`), or the GPU,
    /// which is missed in the log when there is none (`"gpu"`).
    pub device: DeviceSetting,
    /// Threads that decode pictures and run models on the CPU, those of queries first; 0 takes one for each core.
    pub threads: usize,
    /// Batches are cut so that queries are embedded within this time of their pictures' being decoded, in milliseconds.
    pub query_latency_target_ms: u64,
    /// The part of the time that the catalog's embedding gets at least while queries wait, 0 to 0.5.
    pub import_share_min: f64,
    /// Pictures and texts of queries that wait for a model; more are told to come back.
    pub query_queue_max: usize,
    /// Pictures and texts of the catalog that are read and wait for a model; reading pauses when there are more.
    pub import_queue_max: usize,
    /// Memory that models may take together, in bytes, before those that answer no queries are put out; 0 for no bound.
    pub model_memory_bytes_max: u64,
    /// Jobs taken at once from a queue.
    pub lease_jobs_max: usize,
    /// After this long without an answer, taken jobs are given to somebody else.
    pub visibility_timeout_ms: u64,
    /// Pictures of one product that are embedded, the first ones of its list.
    pub images_per_product_max: usize,
    /// Pictures in one run of the image model.
    pub image_batch_max: usize,
    /// Texts in one run of the text model.
    pub text_batch_max: usize,
    /// Bytes of one picture as it is sent or stored.
    pub image_bytes_max: u64,
    /// Width times height of one picture; checked before it is decoded.
    pub image_pixels_max: u64,
    /// Bytes that are unpacked from an archive in search of one picture.
    pub archive_bytes_max: u64,
    /// Pictures on their way from their place to the model at the same time.
    pub pictures_in_flight_max: usize,
    /// A picture behind a URL that was read less than this long ago is taken as unchanged without asking its server.
    pub picture_fresh_seconds: u64,
    /// The longest side of the picture kept for pages, in pixels.
    pub thumbnail_side_max: u32,
    /// JPEG quality of that picture, 1 to 100.
    pub thumbnail_quality: u8,
    /// How often newly installed models are looked for, and queues without being woken.
    pub tick_interval_ms: u64,
    /// Tags of what pictures show.
    pub tags: TagConfig,
    /// The name of the model of pictures that a new installation begins with; empty takes the manifest's first. Later another model
    /// takes office as a release.
    pub image_model: String,
    /// The name of the model of texts that a new installation begins with; empty takes the manifest's first. Later another model
    /// takes office as a release.
    pub text_model: String,
    /// The name of an installed detector that finds the objects of callers' pictures; empty for saliency, which also stands in where the
    /// detector is missing or finds nothing.
    pub detector: String,
    /// Downloads.
    pub fetch: FetchConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            device: DeviceSetting::Auto,
            threads: 0,
            query_latency_target_ms: 20,
            import_share_min: 0.05,
            query_queue_max: 256,
            import_queue_max: 128,
            model_memory_bytes_max: 0,
            lease_jobs_max: 128,
            visibility_timeout_ms: 600_000,
            images_per_product_max: 4,
            image_batch_max: 64,
            text_batch_max: 64,
            image_bytes_max: 20 << 20,
            image_pixels_max: 40_000_000,
            archive_bytes_max: 4 << 30,
            pictures_in_flight_max: 16,
            picture_fresh_seconds: 24 * 3600,
            thumbnail_side_max: 480,
            thumbnail_quality: 82,
            tick_interval_ms: 5_000,
            tags: TagConfig::default(),
            image_model: String::new(),
            text_model: String::new(),
            detector: String::new(),
            fetch: FetchConfig::default(),
        }
    }
}

impl Config {
    /// Fields that make no sense, and why.
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let ranges: [(&'static str, u64, u64, u64); 17] = [
            ("threads", self.threads as u64, 0, 1024),
            ("query_latency_target_ms", self.query_latency_target_ms, 1, 60_000),
            ("query_queue_max", self.query_queue_max as u64, EMBED_BATCH_MAX as u64, 100_000),
            ("import_queue_max", self.import_queue_max as u64, 1, 4096),
            ("lease_jobs_max", self.lease_jobs_max as u64, 1, LEASE_JOBS_MAX.min(UPSERT_VECTORS_MAX) as u64),
            ("visibility_timeout_ms", self.visibility_timeout_ms, 1_000, 24 * 3_600_000),
            ("images_per_product_max", self.images_per_product_max as u64, 1, 64),
            ("image_batch_max", self.image_batch_max as u64, 1, 64),
            ("text_batch_max", self.text_batch_max as u64, 1, 64),
            ("image_bytes_max", self.image_bytes_max, 1, 1 << 30),
            ("image_pixels_max", self.image_pixels_max, 1, 1 << 30),
            ("archive_bytes_max", self.archive_bytes_max, 1, u64::MAX),
            ("pictures_in_flight_max", self.pictures_in_flight_max as u64, 1, 1024),
            ("picture_fresh_seconds", self.picture_fresh_seconds, 0, 366 * 24 * 3600),
            ("thumbnail_side_max", u64::from(self.thumbnail_side_max), 16, 4096),
            ("thumbnail_quality", u64::from(self.thumbnail_quality), 1, 100),
            ("tick_interval_ms", self.tick_interval_ms, 100, 3_600_000),
        ];
        let outside = ranges.into_iter().filter(|(_, value, low, high)| !(low..=high).contains(&value));
        let mut problems: Vec<_> =
            outside.map(|(field, value, low, high)| (field, format!("{value} is not between {low} and {high}"))).collect();
        if !(0.0..=0.5).contains(&self.import_share_min) {
            problems.push(("import_share_min", format!("{} is not between 0 and 0.5", self.import_share_min)));
        }
        problems.extend(self.tags.problems().into_iter().map(|(field, problem)| ("tags", format!("{field}: {problem}"))));
        problems.extend(self.fetch.problems().into_iter().map(|(field, problem)| ("fetch", format!("{field}: {problem}"))));
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_sound_and_nonsense_is_named() {
        assert_eq!(Config::default().problems(), []);
        let config =
            Config { query_queue_max: 0, lease_jobs_max: 10_000, thumbnail_quality: 101, import_share_min: f64::NAN, ..Config::default() };
        let fields: Vec<_> = config.problems().into_iter().map(|(field, _)| field).collect();
        assert_eq!(fields, ["query_queue_max", "lease_jobs_max", "thumbnail_quality", "import_share_min"]);
    }
}
