//! Mappings: a feed's records to the common format, one module a format.

pub mod fashion;
pub mod google;
pub mod native;
pub mod retail;
pub mod shopify;
pub mod vendure;

mod variants;

use super::format::FeedFormat;
use super::record::{Record, Settings, Sink};

/// Turns records into products. A format that spreads a product over several records keeps those of one product at a time.
pub trait Mapping: Send {
    /// Takes the next record.
    fn record(&mut self, record: Record, settings: &Settings, sink: &mut Sink);

    /// The feed has ended: what is still being put together is finished.
    fn finish(&mut self, _settings: &Settings, _sink: &mut Sink) {}

    /// The feed breaks off: a product that may lack records is refused, as taking it would drop variants that it has.
    fn break_off(&mut self, _sink: &mut Sink) {}
}

/// The mapping of a format.
pub fn mapping(format: FeedFormat) -> Box<dyn Mapping> {
    match format {
        FeedFormat::Ndjson => Box::new(native::Native),
        FeedFormat::GoogleRetail => Box::new(retail::Retail),
        FeedFormat::GoogleXml | FeedFormat::GoogleCsv => Box::new(google::Google),
        FeedFormat::ShopifyCsv => Box::new(shopify::Shopify::default()),
        FeedFormat::VendureCsv => Box::new(vendure::Vendure::default()),
        FeedFormat::FashionCsv => Box::new(fashion::Fashion),
    }
}
