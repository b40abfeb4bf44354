//! `gotham demo`: the whole appliance on a real catalog, in one command.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine;
use flate2::read::GzDecoder;
use protocol::ingest::{FeedMode, FeedRequest, FeedSource};
use ring::digest::{SHA512, digest};
use serde::Deserialize;

use super::{Common, Failure, Outcome};
use crate::output::Output;

/// The package file may be this large.
const PACKAGE_BYTES_MAX: u64 = 64 << 20;

/// `data/demo.toml`.
#[derive(Deserialize)]
struct DemoCatalog {
    package: String,
    version: String,
    integrity: String,
    feed: String,
    images: String,
    currency: String,
}

const DEMO: &str = include_str!("../../data/demo.toml");

pub(super) async fn demo(common: &Common) -> Outcome {
    let output = common.output();
    let catalog: DemoCatalog = toml::from_str(DEMO)?;
    let folder = common.data_dir().join("demo");
    super::model::pull_missing(&common.models_dir(), output)?;
    let (feed, images) = fetch(&catalog, &folder, output)?;
    let house = super::serve::open(common, common.load()?, true).await?;
    let request = FeedRequest {
        from: FeedSource::File(feed),
        name: "products.csv".to_owned(),
        source: "demo".to_owned(),
        mode: FeedMode::Full,
        dry_run: false,
        format: None,
        image_root: Some(images),
        force: false,
        default_currency: Some(catalog.currency),
    };
    super::import::run(&house, output, request, true).await?;
    let address = house.listening_on();
    output.result(&serde_json::json!({"store": format!("http://{address}/store"), "console": format!("http://{address}/console")}), || {
        format!("the store is open at http://{address}/store and the console at http://{address}/console; Ctrl-C ends it")
    });
    sd_notify::notify(&[sd_notify::NotifyState::Ready])?;
    super::serve::until_told(house).await
}

/// The demo feed and its picture folder, downloaded and unpacked unless they are there already.
fn fetch(catalog: &DemoCatalog, folder: &Path, output: Output) -> Result<(PathBuf, PathBuf), Failure> {
    let (feed, images) = (folder.join(&catalog.feed), folder.join(&catalog.images));
    if !feed.exists() {
        output.note(&format!("fetching the demo catalog ({} {})", catalog.package, catalog.version));
        let fresh = folder.with_extension("new");
        let _ = std::fs::remove_dir_all(&fresh);
        std::fs::create_dir_all(&fresh)?;
        let package = pack(catalog, &fresh)?;
        check(&package, &catalog.integrity)?;
        unpack(&package, catalog, &fresh)?;
        std::fs::remove_file(&package)?;
        let _ = std::fs::remove_dir_all(folder);
        std::fs::rename(&fresh, folder)?;
    }
    Ok((std::fs::canonicalize(feed)?, std::fs::canonicalize(images)?))
}

/// Downloads the package file through npm's own client, which knows the machine's registry and proxy.
fn pack(catalog: &DemoCatalog, folder: &Path) -> Result<PathBuf, Failure> {
    let wanted = format!("{}@{}", catalog.package, catalog.version);
    let ran = Command::new("npm").args(["pack", "--silent", &wanted]).current_dir(folder).output();
    let ran = ran
        .map_err(|error| Failure::new(Failure::FAILED, format!("npm cannot be run ({error}): install it, or import a feed of your own")))?;
    if !ran.status.success() {
        return Err(Failure::new(Failure::FAILED, format!("npm pack {wanted}: {}", String::from_utf8_lossy(&ran.stderr).trim())));
    }
    let file = String::from_utf8_lossy(&ran.stdout).lines().last().unwrap_or_default().trim().to_owned();
    Ok(folder.join(file))
}

/// Compares the file with its subresource-integrity hash.
fn check(package: &Path, integrity: &str) -> Outcome {
    let mut bytes = Vec::new();
    File::open(package)?.take(PACKAGE_BYTES_MAX).read_to_end(&mut bytes)?;
    let got = format!("sha512-{}", base64::engine::general_purpose::STANDARD.encode(digest(&SHA512, &bytes)));
    if got == integrity {
        Ok(())
    } else {
        Err(Failure::new(Failure::FAILED, format!("the demo package has hash {got}, {integrity} was expected: not used")))
    }
}

/// Unpacks the feed and its pictures, and nothing else of the package.
fn unpack(package: &Path, catalog: &DemoCatalog, folder: &Path) -> Outcome {
    let mut archive = tar::Archive::new(GzDecoder::new(File::open(package)?).take(PACKAGE_BYTES_MAX * 4));
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        if path == Path::new(&catalog.feed) || path.starts_with(&catalog.images) {
            // Refuses paths that would leave the folder.
            entry.unpack_in(folder)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_with_another_hash_is_not_used() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("package.tgz");
        std::fs::write(&file, b"abc").expect("written");
        let right = "sha512-3a81oZNherrMQXNJriBBMRLm+k6JqX6iCp7u5ktV05ohkpkqJ0/BqDa6PCOj/uu9RU1EI2Q86A4qmslPpUyknw==";
        assert!(check(&file, right).is_ok());
        std::fs::write(&file, b"abd").expect("written");
        assert!(check(&file, right).is_err());
    }

    #[test]
    fn the_committed_manifest_is_readable() {
        let catalog: DemoCatalog = toml::from_str(DEMO).expect("TOML");
        assert!(catalog.integrity.starts_with("sha512-"));
    }
}
