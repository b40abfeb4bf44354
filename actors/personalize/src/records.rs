//! What Two Face keeps in the store: profiles by shopper, and where the rest is.

use bincode::{Decode, Encode};
use store::Record;
use store::record::HEADER_BYTES;
use taste::{PROFILE_BYTES_MAX, Profile};

/// A shopper's profile, under the shopper's key.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub(crate) struct ProfileRecord {
    pub(crate) profile: Profile,
}

/// Of the first schema were profiles whose interests did not say by which model: with them and their state everything is learned anew
/// from the event log.
impl Record for ProfileRecord {
    const KIND: u16 = 0x0B01;
    const SCHEMA: u16 = 2;
}

const _: () = assert!(HEADER_BYTES + PROFILE_BYTES_MAX <= store::store::VALUE_BYTES_MAX, "the largest profile fits a value");

/// Which file belongs to the profiles in the store, and up to where in the event log both have come.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct StateRecord {
    /// Names the file.
    pub(crate) offset: u64,
    /// BLAKE3 of all its bytes.
    pub(crate) digest: [u8; 32],
}

impl StateRecord {
    /// Its key among the meta data.
    pub(crate) const KEY: &[u8] = b"two_face/state";
}

impl Record for StateRecord {
    const KIND: u16 = 0x0B02;
    const SCHEMA: u16 = 2;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back() {
        let record = ProfileRecord { profile: Profile::default() };
        let sealed = record.seal(b"u:1").expect("it fits");
        assert_eq!(ProfileRecord::unseal(b"u:1", &sealed), Ok(record));
        assert!(ProfileRecord::unseal(b"u:2", &sealed).is_err());
        let record = StateRecord { offset: 7, digest: [3; 32] };
        assert_eq!(StateRecord::unseal(StateRecord::KEY, &record.seal(StateRecord::KEY).expect("it fits")), Ok(record));
    }
}
