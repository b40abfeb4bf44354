//! What is kept from start to start about one adapter with one driver: measured choices, as text, and compiled shaders.
//!
//! A file that cannot be read or does not belong is as if it were not there; one that cannot be written is left out.

use super::choices::{Class, Measured};
use super::device::Device;
use super::engine::Engine;
use super::gemm::VARIANTS;
use super::source::Precision;
use super::unchecked;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Most bytes of compiled shaders that are read.
const PIPELINE_BYTES_MAX: u64 = 64 << 20;
/// Most bytes of measurements that are read.
const MEASURED_BYTES_MAX: u64 = 1 << 20;

/// The files of one adapter.
pub(crate) struct Store {
    /// Adapter, driver and version: the first line of each file.
    identity: String,
    folder: PathBuf,
}

/// FNV-1a (Fowler, Noll, Vo): of names and of files against accidents, not against malice.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

impl Store {
    pub(crate) fn open(folder: &Path, device: &Device) -> Store {
        let identity = format!("gotham {} | {} | {}", env!("CARGO_PKG_VERSION"), device.info.name, device.info.driver);
        Store { identity: identity.replace('\n', " "), folder: folder.to_owned() }
    }

    fn path(&self, kind: &str) -> PathBuf {
        self.folder.join(format!("gpu-{:016x}.{kind}", hash(self.identity.as_bytes())))
    }

    fn read(&self, kind: &str, bytes_max: u64) -> Option<Vec<u8>> {
        let path = self.path(kind);
        let bytes = (std::fs::metadata(&path).ok()?.len() <= bytes_max).then(|| std::fs::read(&path).ok())??;
        let rest = bytes.strip_prefix(self.identity.as_bytes())?.strip_prefix(b"\n")?;
        let (sum, content) = rest.split_at_checked(8)?;
        (sum == hash(content).to_le_bytes()).then(|| content.to_vec())
    }

    fn write(&self, kind: &str, content: &[u8]) -> std::io::Result<()> {
        std::fs::create_dir_all(&self.folder)?;
        let (path, new) = (self.path(kind), self.path(&format!("{kind}.new")));
        let parts = [self.identity.as_bytes(), b"\n", &hash(content).to_le_bytes(), content];
        std::fs::write(&new, parts.concat())?;
        std::fs::rename(new, path)
    }

    /// The cache of compiled shaders, where the device can keep one.
    pub(crate) fn pipelines(&self, device: &Device) -> Option<wgpu::PipelineCache> {
        if !device.device.features().contains(wgpu::Features::PIPELINE_CACHE) {
            return None;
        }
        let data = self.read("pipelines", PIPELINE_BYTES_MAX);
        device.attempt(|| Ok(unchecked::pipeline_cache(&device.device, data.as_deref()))).ok()
    }

    /// The choices that were measured in one precision.
    pub(crate) fn measured(&self, precision: Precision) -> BTreeMap<Class, Measured> {
        let text = self.read(precision.name(), MEASURED_BYTES_MAX).and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
        text.lines().filter_map(parse).collect()
    }

    /// Keeps what an engine has measured and compiled.
    pub(crate) fn keep(&self, engine: &Engine) {
        let text: String = engine.choices().measured.iter().map(|(class, measured)| line(class, measured)).collect();
        // What is not kept is measured and compiled again.
        _ = self.write(engine.precision.name(), text.as_bytes());
        if let Some(data) = engine.pipeline_data() {
            _ = self.write("pipelines", &data);
        }
    }
}

fn line(class: &Class, measured: &Measured) -> String {
    let Class { depth, columns, rows_power } = class;
    format!("{depth} {columns} {rows_power} {:e} {}\n", measured.seconds, measured.variant.name())
}

fn parse(line: &str) -> Option<(Class, Measured)> {
    let mut words = line.splitn(5, ' ');
    let class = Class { depth: words.next()?.parse().ok()?, columns: words.next()?.parse().ok()?, rows_power: words.next()?.parse().ok()? };
    let seconds = words.next()?.parse().ok()?;
    let name = words.next()?;
    let variant = VARIANTS.into_iter().find(|variant| variant.name() == name)?;
    Some((class, Measured { variant, seconds }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_say_what_was_measured() {
        for (power, variant) in (0..).zip(VARIANTS) {
            let (class, measured) = (Class { depth: 96, columns: 24, rows_power: power }, Measured { variant, seconds: 1.25e-5 });
            let text = line(&class, &measured);
            assert_eq!(parse(text.trim_end()), Some((class, measured)), "{text}");
        }
        for wrong in ["", "1 2", "1 2 3 4", "1 2 3 0.5 no such variant", "x 2 3 0.5 few 1"] {
            assert_eq!(parse(wrong), None);
        }
    }

    #[test]
    fn files_of_another_driver_or_damaged_ones_are_not_read() {
        let folder = std::env::temp_dir().join(format!("gotham-gpu-store-{}", std::process::id()));
        let store = Store { identity: "an adapter".to_owned(), folder: folder.clone() };
        store.write("f32", b"content").expect("written");
        assert_eq!(store.read("f32", 100), Some(b"content".to_vec()));
        assert_eq!(store.read("f32", 10), None, "too large");
        std::fs::rename(store.path("f32"), folder.join("kept")).expect("moved");
        let other = Store { identity: "another".to_owned(), folder: folder.clone() };
        std::fs::copy(folder.join("kept"), other.path("f32")).expect("copied");
        assert_eq!(other.read("f32", 100), None, "of another adapter");
        let mut bytes = std::fs::read(folder.join("kept")).expect("read");
        *bytes.last_mut().expect("not empty") ^= 1;
        std::fs::write(store.path("f32"), bytes).expect("written");
        assert_eq!(store.read("f32", 100), None, "damaged");
        std::fs::remove_dir_all(folder).expect("removed");
    }
}
