//! What Watchtower keeps on disk, by product id: the product as it is, or what is left of a deleted one.

use std::sync::Arc;

use bincode::de::Decoder;
use bincode::enc::Encoder;
use bincode::error::{DecodeError, EncodeError};
use bincode::{Decode, Encode};
use domain::Parts;
use protocol::catalog::{Outcome, ProductRevision};
use protocol::ingest::RunId;

/// What is left of a deleted product: its revisions go on counting should it come back.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Tombstone {
    /// The revision that deleted it.
    pub(crate) revision: u64,
    /// The feed run that deleted it.
    pub(crate) run: Option<RunId>,
}

/// A product's place in the store.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum CatalogRecord {
    /// The product.
    Live(Arc<ProductRevision>),
    /// It was deleted.
    Deleted(Tombstone),
}

impl store::Record for CatalogRecord {
    const KIND: u16 = 0x0201;
    const SCHEMA: u16 = 1;
}

const LIVE: u8 = 0;
const DELETED: u8 = 1;

// By hand, so that the product in memory is written as it is, without a copy for the disk.
impl Encode for CatalogRecord {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        match self {
            Self::Deleted(tombstone) => (DELETED, tombstone).encode(encoder),
            Self::Live(live) => {
                let ProductRevision { product, revision, hashes, source, last_run, changed_at_ms } = &**live;
                let last_run = last_run.map(|(run, outcome)| (run, outcome_code(outcome)));
                (LIVE, product, revision, hashes, source, last_run, changed_at_ms).encode(encoder)
            }
        }
    }
}

impl<Context> Decode<Context> for CatalogRecord {
    fn decode<D: Decoder<Context = Context>>(decoder: &mut D) -> Result<Self, DecodeError> {
        match u8::decode(decoder)? {
            LIVE => {
                let (product, revision, hashes) = Decode::decode(decoder)?;
                let source = String::decode(decoder)?.into();
                let last_run: Option<(RunId, (u8, u8))> = Decode::decode(decoder)?;
                let last_run = last_run.map(|(run, code)| Ok((run, outcome_of(code)?))).transpose()?;
                let changed_at_ms = Decode::decode(decoder)?;
                Ok(Self::Live(Arc::new(ProductRevision { product, revision, hashes, source, last_run, changed_at_ms })))
            }
            DELETED => Ok(Self::Deleted(Tombstone::decode(decoder)?)),
            other => Err(DecodeError::OtherString(format!("a catalog record of form {other}"))),
        }
    }
}

/// Never renumbered: these stand on disk.
fn outcome_code(outcome: Outcome) -> (u8, u8) {
    match outcome {
        Outcome::Created => (0, 0),
        Outcome::Updated(Parts(parts)) => (1, parts),
        Outcome::Unchanged => (2, 0),
        Outcome::Deleted => (3, 0),
        Outcome::NotFound => (4, 0),
    }
}

fn outcome_of(code: (u8, u8)) -> Result<Outcome, DecodeError> {
    match code {
        (0, 0) => Ok(Outcome::Created),
        (1, parts) if Parts::ALL.contains(Parts(parts)) => Ok(Outcome::Updated(Parts(parts))),
        (2, 0) => Ok(Outcome::Unchanged),
        (3, 0) => Ok(Outcome::Deleted),
        (4, 0) => Ok(Outcome::NotFound),
        (code, detail) => Err(DecodeError::OtherString(format!("outcome {code}.{detail}"))),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use domain::{AttributeValue, Availability, CategoryPath, ContentHash, ImageRef, Offer, PartHashes, Product, Provenance, Source};
    use proptest::prelude::*;
    use store::{Record, RecordError};

    use super::*;
    use crate::testing::{euros, product, variant};

    /// A product that uses every field.
    fn full() -> ProductRevision {
        let text = |text: &str| Some(text.to_owned());
        let provenance = Provenance { source: Source::Feed, field: "g:color".to_owned() };
        let counted = Offer { price: euros(9), sale_price: euros(8), availability: Availability::Backorder, quantity: Some(3) };
        let mut form = variant("m", counted.clone());
        (form.sku, form.gtin, form.title) = (text("SKU-M"), text("4006381333931"), text("Shoe M"));
        form.options.insert("size".to_owned(), "M".to_owned());
        form.images = vec![ImageRef("https://shop.example/m.jpg".to_owned())];
        let product = Product {
            description: "Zwei Zeilen,\nfür alle.".to_owned(),
            brand: text("Acme"),
            link: text("https://shop.example/a"),
            group_id: text("pair"),
            sku: text("SKU"),
            gtin: text("4006381333931"),
            mpn: text("MPN"),
            locale: text("de-DE"),
            categories: vec![CategoryPath(vec!["Apparel".to_owned(), "Shoes".to_owned()])],
            attributes: [("color".to_owned(), vec![AttributeValue { value: "Black".to_owned(), provenance }])].into(),
            offer: counted,
            variants: vec![form],
            ..product("a")
        };
        let hash = |byte| ContentHash([byte; 16]);
        let hashes = PartHashes { text: hash(1), image: hash(2), price: hash(3), stock: hash(4) };
        let last_run = Some((RunId(0x0190_0000_0000_7000_8000_0000_0000_0001), Outcome::Updated(Parts(5))));
        ProductRevision { product, revision: 4, hashes, source: "shop".into(), last_run, changed_at_ms: 1_700_000_000_123 }
    }

    /// Each schema that was ever written has its files, and they read back for ever. A file that is missing is written, so
    /// that a new schema begins by adding one.
    #[test]
    fn stored_bytes_are_as_they_were() {
        let tombstone = Tombstone { revision: 9, run: Some(RunId(7)) };
        let cases = [("live.v1", CatalogRecord::Live(Arc::new(full()))), ("deleted.v1", CatalogRecord::Deleted(tombstone))];
        for (name, record) in cases {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(name);
            let sealed = record.seal(b"a").expect("it fits");
            if !path.exists() {
                fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
                fs::write(&path, &sealed).expect("written");
                panic!("{} was missing and has been written: commit it", path.display());
            }
            let golden = fs::read(&path).expect("a golden file");
            assert_eq!(CatalogRecord::unseal(b"a", &golden).as_ref(), Ok(&record), "{name}");
            assert_eq!(sealed, golden, "{name}");
        }
    }

    #[test]
    fn every_outcome_comes_back_and_others_are_refused() {
        for outcome in [Outcome::Created, Outcome::Updated(Parts(9)), Outcome::Unchanged, Outcome::Deleted, Outcome::NotFound] {
            assert_eq!(outcome_of(outcome_code(outcome)).ok(), Some(outcome));
        }
        for code in [(0, 1), (1, 16), (5, 0)] {
            assert!(outcome_of(code).is_err(), "{code:?}");
        }
    }

    #[test]
    fn a_record_under_another_key_or_of_another_form_is_refused() {
        let sealed = CatalogRecord::Live(Arc::new(full())).seal(b"a").expect("it fits");
        assert!(matches!(CatalogRecord::unseal(b"b", &sealed), Err(RecordError::Damaged(_))));
        assert!(store::record::decode_body::<CatalogRecord>(&[2]).is_err());
        assert!(store::record::decode_body::<CatalogRecord>(&[]).is_err());
    }

    proptest! {
        /// Bytes that passed the checksum by chance are an error or a record, never a panic.
        #[test]
        fn any_body_is_read_or_refused(mut body in prop::collection::vec(any::<u8>(), 0..200), form in 0..2_u8) {
            body.insert(0, form);
            let _ = store::record::decode_body::<CatalogRecord>(&body);
        }
    }
}
