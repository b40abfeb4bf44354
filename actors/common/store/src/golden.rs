//! Golden files: the bytes of one sealed record, committed, so that no change of a struct or of the encoding goes unseen.
//! For the tests of every crate that stores records.

use std::fmt::Debug;

use crate::record::Record;

/// Checks that a record is still written as `golden` and that `golden` still reads as the record. A file for a new record
/// is made by printing: the message of a failure holds the bytes in hexadecimal.
///
/// # Panics
/// When it is not so; it is made for tests.
pub fn check<R: Record + Debug + PartialEq>(record: &R, key: &[u8], golden: &[u8]) {
    let sealed = record.seal(key);
    let bytes = sealed.as_deref().map(crate::record::hex);
    assert_eq!(sealed.as_deref(), Ok(golden), "{record:?} is now written as {bytes:?}");
    assert_eq!(R::unseal(key, golden).as_ref(), Ok(record), "the golden file reads differently");
}
