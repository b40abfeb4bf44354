//! The seam between tagging and detectors: something that finds the objects of a picture.

use std::path::Path;

use attributes::Region;
use image::RgbImage;

use crate::devices::Device;
use crate::logic::{boxes, picture};
use crate::models::{self, ModelFiles, ObjectModel};
use crate::packages::ModelPackage;

/// A loaded detector. Called from several threads at a time.
pub trait Finder: Send + Sync {
    /// The objects of a picture, the surest first; the surest is the main one. Takes its time: for worker threads.
    fn find(&self, picture: &RgbImage) -> Result<Vec<Region>, String>;
}

impl Finder for ObjectModel {
    fn find(&self, picture: &RgbImage) -> Result<Vec<Region>, String> {
        let preprocessing = self.preprocessing();
        let pixels = picture::prepare(picture, &preprocessing).map_err(|error| error.to_string())?;
        let detections = self.detect(&pixels).map_err(|error| error.to_string())?;
        Ok(boxes::found(&detections.logits, &detections.boxes, picture.dimensions(), &preprocessing))
    }
}

/// Reads a detector's files and builds what runs it.
pub(crate) fn open(device: &dyn Device, package: &ModelPackage, folder: &Path) -> Result<ObjectModel, String> {
    let refused = || format!("{} is no detector", package.name);
    if package.space.is_some() {
        return Err(refused());
    }
    let found = models::load_detector(&ModelFiles::new(folder), device.executor()).map_err(|error| error.to_string())?;
    found.ok_or_else(refused)
}
