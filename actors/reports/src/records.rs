//! What Mocha keeps on disk: where she stands, a day's parts in pieces, experiments, and who was exposed to them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bincode::config::{Configuration, Fixint, Limit, LittleEndian};
use bincode::{Decode, Encode};
use protocol::reports::{Date, DayTotals, Distinct};
use store::{Record, StoreError};

use crate::logic::day::{Counts, Day, QueryCounts, RowCounts, RowKey};
use crate::logic::distinct::{DistinctRecord, DistinctSet};
use crate::logic::report::totals;
use crate::logic::top::{Top, TopRecord};
use crate::logic::trial::{Exposure, ExposureKey, Trial};

/// Bytes of one piece: with its envelope it stays below what a value may be.
const PIECE_BYTES_MAX: usize = 24 << 10;
const _: () = assert!(PIECE_BYTES_MAX + 64 < 32 << 10);
/// Bytes of one part of a day, so that damaged lengths allocate no more.
const PART_BYTES_MAX: usize = 64 << 20;

const PARTS: Configuration<LittleEndian, Fixint, Limit<PART_BYTES_MAX>> = bincode::config::legacy().with_limit::<PART_BYTES_MAX>();

/// First bytes of keys in Mocha's keyspace.
const MARK: u8 = b'm';
const DAY: u8 = b'd';
const TRIALS: u8 = b't';
const EXPOSURE: u8 = b'x';

/// Parts of a day, in their order on disk.
const PARTS_OF_DAY: u8 = 8;
/// The part with what was searched for.
const QUERIES: u8 = 6;

/// Where Mocha stands. The offset itself is the consumer's, in the same commit.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct MarkRecord {
    /// From which offset of the log on the join is made again.
    pub(crate) join_from: u64,
    /// The number of the next experiment.
    pub(crate) next_trial: u32,
}

impl Record for MarkRecord {
    const KIND: u16 = 0x0C01;
    const SCHEMA: u16 = 1;
}

/// A piece of a part. Its schema is that of the parts too: a day of another schema is no day, and everything is counted anew.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct PieceRecord {
    /// In the first piece: first bytes of the whole part's BLAKE3 hash. Pieces of different commits do not make a part, and a
    /// piece whose own bytes stay need not be written again.
    pub(crate) check: Option<[u8; 8]>,
    pub(crate) bytes: Vec<u8>,
}

impl Record for PieceRecord {
    const KIND: u16 = 0x0C02;
    const SCHEMA: u16 = 1;
}

/// A shopper in an experiment.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct ExposureRecord(pub(crate) Exposure);

impl Record for ExposureRecord {
    const KIND: u16 = 0x0C03;
    const SCHEMA: u16 = 1;
}

/// The installation's secret, under a key of its own keyspace so that a rebuild keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct SaltRecord {
    pub(crate) salt: [u8; 32],
}

impl Record for SaltRecord {
    const KIND: u16 = 0x0C04;
    const SCHEMA: u16 = 1;
}

/// The key of the secret among the house's own records.
pub(crate) const SALT_KEY: &[u8] = b"mocha/salt";
/// The key of [`MarkRecord`].
pub(crate) const MARK_KEY: &[u8] = &[MARK];

/// Sealed records by key; what they become is decided elsewhere.
pub(crate) type Sealed = Vec<(Vec<u8>, Vec<u8>)>;

/// Keys of one day, first to behind the last.
pub(crate) fn day_range(date: Date) -> (Vec<u8>, Vec<u8>) {
    let prefix = day_prefix(date);
    let mut end = prefix.clone();
    end.push(PARTS_OF_DAY);
    (prefix, end)
}

/// Keys of the first part of a day, which is small and has the day's numbers.
pub(crate) fn head_range(date: Date) -> (Vec<u8>, Vec<u8>) {
    part_range(date, 0)
}

/// Keys of the part of a day that has what was searched for.
pub(crate) fn queries_range(date: Date) -> (Vec<u8>, Vec<u8>) {
    part_range(date, QUERIES)
}

fn part_range(date: Date, number: u8) -> (Vec<u8>, Vec<u8>) {
    (part_prefix(date, number), part_prefix(date, number + 1))
}

/// Keys of all days.
pub(crate) fn days_range() -> (Vec<u8>, Vec<u8>) {
    (vec![DAY], vec![DAY + 1])
}

/// Keys of the experiments.
pub(crate) fn trials_range() -> (Vec<u8>, Vec<u8>) {
    (vec![TRIALS], vec![TRIALS + 1])
}

/// Keys of all exposures.
pub(crate) fn exposures_range() -> (Vec<u8>, Vec<u8>) {
    (vec![EXPOSURE], vec![EXPOSURE + 1])
}

/// The day of a key.
pub(crate) fn date_of_key(key: &[u8]) -> Option<Date> {
    let (first, rest) = key.split_first()?;
    let bytes: [u8; 4] = rest.get(..4)?.try_into().ok()?;
    (*first == DAY).then(|| Date::of_day((u32::from_be_bytes(bytes) ^ (1 << 31)) as i32))
}

/// The key of an exposure.
pub(crate) fn exposure_key((number, shopper): ExposureKey) -> Vec<u8> {
    [&[EXPOSURE][..], &number.to_be_bytes(), &shopper.to_be_bytes()].concat()
}

/// The exposure of a key.
pub(crate) fn exposure_of_key(key: &[u8]) -> Option<ExposureKey> {
    let (number, shopper) = key.get(1..)?.split_at_checked(4)?;
    Some((u32::from_be_bytes(number.try_into().ok()?), u64::from_be_bytes(shopper.try_into().ok()?)))
}

/// Days in the order of their keys are days in the order of time.
fn day_prefix(date: Date) -> Vec<u8> {
    let number = (date.day() as u32) ^ (1 << 31);
    [&[DAY][..], &number.to_be_bytes()].concat()
}

fn part_prefix(date: Date, number: u8) -> Vec<u8> {
    [&day_prefix(date)[..], &[number]].concat()
}

/// A day as records.
pub(crate) fn seal_day(date: Date, day: &Day) -> Result<Sealed, StoreError> {
    let mut rows: Vec<(RowKey, RowCounts)> = day.rows.iter().map(|(key, counts)| (RowKey::clone(key), counts.clone())).collect();
    rows.sort_by(|one, other| one.0.cmp(&other.0));
    let parts: [Vec<u8>; PARTS_OF_DAY as usize] = [
        encode(&(&day.counts, day.distinct().map(|distinct| (distinct.count, distinct.is_exact))))?,
        encode(&day.visitors.record())?,
        encode(&day.sessions.record())?,
        encode(&day.buyers.record())?,
        encode(&day.orders.record())?,
        encode(&day.products.record())?,
        encode(&day.queries.record())?,
        encode(&rows)?,
    ];
    let mut sealed = Vec::new();
    for (number, part) in parts.iter().enumerate() {
        seal_part(&part_prefix(date, number as u8), part, &mut sealed)?;
    }
    Ok(sealed)
}

/// The experiments as records.
pub(crate) fn seal_trials(trials: &BTreeMap<String, Trial>) -> Result<Sealed, StoreError> {
    let mut sealed = Vec::new();
    seal_part(&[TRIALS], &encode(trials)?, &mut sealed)?;
    Ok(sealed)
}

/// A day from its records.
pub(crate) fn unseal_day(date: Date, records: &[(Vec<u8>, Vec<u8>)]) -> Result<Day, StoreError> {
    let part = |number: u8| unseal_part(&part_prefix(date, number), records);
    let set = |number: u8| Ok::<_, StoreError>(DistinctSet::of_record(decode::<DistinctRecord>(&part(number)?)?));
    let rows: Vec<(RowKey, RowCounts)> = decode(&part(7)?)?;
    Ok(Day {
        counts: decode_head(&part(0)?)?.0,
        visitors: set(1)?,
        sessions: set(2)?,
        buyers: set(3)?,
        orders: set(4)?,
        products: Top::of_record(decode::<TopRecord<_>>(&part(5)?)?),
        queries: unseal_queries(date, records)?,
        rows: rows.into_iter().map(|(key, counts)| (Arc::new(key), counts)).collect::<HashMap<_, _>>(),
    })
}

/// What a day's shoppers searched for, from the records of that part.
pub(crate) fn unseal_queries(date: Date, records: &[(Vec<u8>, Vec<u8>)]) -> Result<Top<QueryCounts>, StoreError> {
    Ok(Top::of_record(decode::<TopRecord<_>>(&unseal_part(&part_prefix(date, QUERIES), records)?)?))
}

/// A day's numbers from the records of its first part.
pub(crate) fn unseal_totals(date: Date, records: &[(Vec<u8>, Vec<u8>)]) -> Result<DayTotals, StoreError> {
    let (counts, distinct) = decode_head(&unseal_part(&part_prefix(date, 0), records)?)?;
    Ok(totals(&counts, distinct))
}

/// The experiments from their records.
pub(crate) fn unseal_trials(records: &[(Vec<u8>, Vec<u8>)]) -> Result<BTreeMap<String, Trial>, StoreError> {
    if records.is_empty() { Ok(BTreeMap::new()) } else { decode(&unseal_part(&[TRIALS], records)?) }
}

fn decode_head(bytes: &[u8]) -> Result<(Counts, [Distinct; 4]), StoreError> {
    let (counts, distinct): (Counts, [(u64, bool); 4]) = decode(bytes)?;
    Ok((counts, distinct.map(|(count, is_exact)| Distinct { count, is_exact })))
}

fn seal_part(prefix: &[u8], part: &[u8], sealed: &mut Sealed) -> Result<(), StoreError> {
    let check = check_of(part);
    // An empty part has one empty piece: a part that is missing is damage.
    let pieces = part.chunks(PIECE_BYTES_MAX).chain(part.is_empty().then_some(&[][..]));
    for (index, bytes) in pieces.enumerate() {
        let key = [prefix, &(index as u16).to_be_bytes()].concat();
        let value = PieceRecord { check: (index == 0).then_some(check), bytes: bytes.to_vec() }.seal(&key)?;
        sealed.push((key, value));
    }
    Ok(())
}

fn unseal_part(prefix: &[u8], records: &[(Vec<u8>, Vec<u8>)]) -> Result<Vec<u8>, StoreError> {
    let mut part = Vec::new();
    let mut check = None;
    for (key, value) in records.iter().filter(|(key, _)| key.starts_with(prefix)) {
        let piece = PieceRecord::unseal(key, value)?;
        part.extend_from_slice(&piece.bytes);
        check = check.or(piece.check);
    }
    if check == Some(check_of(&part)) { Ok(part) } else { Err(StoreError::Damaged("a part of a report is incomplete".into())) }
}

fn check_of(part: &[u8]) -> [u8; 8] {
    let [a, b, c, d, e, f, g, h, ..] = *blake3::hash(part).as_bytes();
    [a, b, c, d, e, f, g, h]
}

fn encode(value: &impl Encode) -> Result<Vec<u8>, StoreError> {
    bincode::encode_to_vec(value, PARTS).map_err(|error| StoreError::Damaged(error.to_string().into()))
}

fn decode<T: Decode<()>>(bytes: &[u8]) -> Result<T, StoreError> {
    let damaged = |text: String| StoreError::Damaged(text.into());
    let (value, used) = bincode::decode_from_slice(bytes, PARTS).map_err(|error| damaged(error.to_string()))?;
    if used == bytes.len() { Ok(value) } else { Err(damaged(format!("{} bytes left over", bytes.len() - used))) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn day() -> Day {
        let (mut day, config) = (Day::default(), Config { attribution_rows_max: 5_000, ..Config::default() });
        for number in 0..3_000_u64 {
            day.visitor(number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            day.products.bump(&format!("product-{number}"), number, 2_000).view();
            let key = RowKey { placement: number.to_string(), strategy: "s".into(), rules: vec![], arms: vec![("e".into(), "a".into())] };
            day.row(&Arc::new(key), &config).clicks += number;
        }
        day.queries.bump("shoes", 1, 10).searches = 7;
        day
    }

    #[test]
    fn a_day_comes_back_from_pieces_and_only_whole() {
        let date = Date::of_day(-3);
        let sealed = seal_day(date, &day()).expect("sealed");
        assert!(sealed.len() > 15 && sealed.iter().all(|(_, value)| value.len() < 32 << 10), "{}", sealed.len());
        let (from, to) = day_range(date);
        assert!(sealed.iter().all(|(key, _)| (&from..&to).contains(&key) && date_of_key(key) == Some(date)));
        assert!(day_range(date.plus(1)).0 >= to && day_range(Date::of_day(0)).0 > from);
        let again = unseal_day(date, &sealed).expect("whole");
        assert_eq!(seal_day(date, &again).expect("sealed"), sealed);
        assert_eq!(unseal_totals(date, &sealed).expect("whole").visitors, day().distinct()[0]);
        for missing in 0..sealed.len() {
            let mut rest = sealed.clone();
            rest.remove(missing);
            assert!(matches!(unseal_day(date, &rest), Err(StoreError::Damaged(_))), "without piece {missing}");
        }
    }

    #[test]
    fn the_bytes_on_disk_stay() {
        let mark = MarkRecord { join_from: 1 << 33, next_trial: 7 };
        store::golden::check(&mark, MARK_KEY, include_bytes!("golden/mark-v1.bin"));
        let piece = PieceRecord { check: Some([1, 2, 3, 4, 5, 6, 7, 8]), bytes: vec![9, 8, 7] };
        let key = [&day_prefix(Date::of_day(1))[..], &[5, 0, 0]].concat();
        store::golden::check(&piece, &key, include_bytes!("golden/piece-v1.bin"));
        let exposure = Exposure { arm: 2, at_ms: 1_700_000_000_000, purchases: 3, revenue_e4: -45_000, served: 60, seen: 50, clicks: 4 };
        store::golden::check(&ExposureRecord(exposure), &exposure_key((7, 42)), include_bytes!("golden/exposure-v1.bin"));
        let mut salt = [0; 32];
        (0..).zip(&mut salt).for_each(|(number, byte)| *byte = number);
        store::golden::check(&SaltRecord { salt }, SALT_KEY, include_bytes!("golden/salt-v1.bin"));
    }

    #[test]
    fn keys_come_back() {
        for exposure in [(0, 0), (7, u64::MAX), (u32::MAX, 1)] {
            assert_eq!(exposure_of_key(&exposure_key(exposure)), Some(exposure));
        }
        assert_eq!((exposure_of_key(b"x12"), exposure_of_key(b""), date_of_key(b"d12")), (None, None, None));
    }
}
