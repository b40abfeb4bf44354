//! Whose a segment's rows are: owner, id, stamp and sister rows of each.

use super::ids::{Ids, IdsTooLong};
use crate::file::{FileError, SectionFile};
use crate::owners::AliveBits;

/// The owner of a row that nobody owns any more.
pub(crate) const NOBODY: u32 = u32::MAX;
/// No further row.
const NO_ROW: u32 = u32::MAX;

/// Sections of a segment file that hold them, beside those of the segment.
const ID_ENDS: u32 = 101;
const ID_TEXT: u32 = 102;
const STAMPS: u32 = 103;

/// Whose the rows are, `[rows]` each.
#[derive(Debug)]
pub(crate) struct Belongings {
    owners: Vec<u32>,
    stamps: Vec<u64>,
    ids: Ids,
    /// The next row of the same owner, in a ring; empty when every owner has one row.
    rings: Vec<u32>,
    pub(crate) alive: AliveBits,
}

impl Belongings {
    /// All rows alive.
    pub(crate) fn new(owners: Vec<u32>, stamps: Vec<u64>, ids: Ids) -> Self {
        let rings = rings(&owners);
        let alive = AliveBits::from_words(owners.len(), |_| u64::MAX);
        Self { owners, stamps, ids, rings, alive }
    }

    /// Put in another order: row `i` becomes what `order[i]` was.
    pub(crate) fn gathered(owners: &[u32], stamps: &[u64], ids: &Ids, order: &[u32]) -> Result<Self, IdsTooLong> {
        let mut ordered = Ids::with_capacity(order.len());
        for row in order {
            ordered.push(ids.get(*row))?;
        }
        let pick = |row: &u32| *row as usize;
        Ok(Self::new(order.iter().map(|row| owners[pick(row)]).collect(), order.iter().map(|row| stamps[pick(row)]).collect(), ordered))
    }

    pub(crate) fn rows(&self) -> usize {
        self.owners.len()
    }

    #[inline]
    pub(crate) fn owner(&self, row: u32) -> u32 {
        self.owners[row as usize]
    }

    pub(crate) fn stamp(&self, row: u32) -> u64 {
        self.stamps[row as usize]
    }

    pub(crate) fn id(&self, row: u32) -> &str {
        self.ids.get(row)
    }

    /// All rows of the owner of `row`, that row first.
    pub(crate) fn sisters(&self, row: u32) -> impl Iterator<Item = u32> + '_ {
        let next = move |current: &u32| self.rings.get(*current as usize).copied().filter(|next| *next != row && *next != NO_ROW);
        std::iter::successors(Some(row), next).take(self.owners.len())
    }

    /// Memory in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.owners.capacity() * size_of::<u32>()
            + self.stamps.capacity() * size_of::<u64>()
            + self.rings.capacity() * size_of::<u32>()
            + self.ids.bytes()
            + self.alive.bytes()
    }

    /// What a file keeps: not the owners' numbers, which are only good for one run.
    pub(crate) fn sections(&self) -> [(u32, &[u8]); 3] {
        let (ends, text) = self.ids.sections();
        [(ID_ENDS, ends), (ID_TEXT, text), (STAMPS, bytemuck::cast_slice(&self.stamps))]
    }

    /// Back from a file. `owner_of` gives the number of an id, or nothing for an owner that is no more; its rows are dead. So are
    /// rows whose bit in `alive` is not set.
    pub(crate) fn read(
        file: &SectionFile,
        rows: usize,
        alive: impl Fn(usize) -> u64,
        owner_of: &mut dyn FnMut(&str) -> Option<u32>,
    ) -> Result<Self, FileError> {
        let ids = Ids::from_sections(file.path(), rows, &file.read(ID_ENDS)?, file.read(ID_TEXT)?)?;
        let stamps: Vec<u64> = file.read(STAMPS)?.chunks_exact(8).map(|stamp| stamp.try_into().map_or(0, u64::from_le_bytes)).collect();
        if stamps.len() != rows {
            return Err(FileError::damaged(file.path(), "stamps do not fit their rows"));
        }
        let alive = AliveBits::from_words(rows, alive);
        let mut owners = vec![NOBODY; rows];
        let mut last: (&str, u32) = ("", NOBODY);
        for row in 0..rows as u32 {
            if alive.contains(row) {
                if ids.get(row) != last.0 || last.1 == NOBODY {
                    last = (ids.get(row), owner_of(ids.get(row)).unwrap_or(NOBODY));
                }
                owners[row as usize] = last.1;
                if last.1 == NOBODY {
                    alive.kill(row);
                }
            }
        }
        let rings = rings(&owners);
        Ok(Self { owners, stamps, ids, rings, alive })
    }
}

/// Rows of one owner as rings; empty when no owner has two.
fn rings(owners: &[u32]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..owners.len() as u32).filter(|row| owners[*row as usize] != NOBODY).collect();
    order.sort_unstable_by_key(|row| (owners[*row as usize], *row));
    if order.windows(2).all(|pair| owners[pair[0] as usize] != owners[pair[1] as usize]) {
        return Vec::new();
    }
    let mut rings = vec![NO_ROW; owners.len()];
    for ring in order.chunk_by(|a, b| owners[*a as usize] == owners[*b as usize]) {
        for (at, row) in ring.iter().enumerate() {
            rings[*row as usize] = ring[(at + 1) % ring.len()];
        }
    }
    rings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::Folder;

    fn belongings(owners: &[u32]) -> Belongings {
        let mut ids = Ids::with_capacity(owners.len());
        owners.iter().for_each(|owner| ids.push(&format!("p{owner}")).expect("short"));
        Belongings::new(owners.to_vec(), owners.iter().map(|owner| u64::from(*owner) + 100).collect(), ids)
    }

    fn ring(belongings: &Belongings, row: u32) -> Vec<u32> {
        belongings.sisters(row).collect()
    }

    #[test]
    fn sisters_are_all_rows_of_an_owner() {
        let several = belongings(&[5, 7, 5, NOBODY, 5, 8, NOBODY]);
        assert_eq!((ring(&several, 0), ring(&several, 2), ring(&several, 1)), (vec![0, 2, 4], vec![2, 4, 0], vec![1]));
        assert_eq!(ring(&several, 3), [3]);
        let single = belongings(&[3, 2, 1]);
        assert!(single.rings.is_empty());
        assert_eq!(ring(&single, 1), [1]);
    }

    #[test]
    fn a_file_gives_them_back_with_the_numbers_of_the_new_run() {
        let temporary = tempfile::tempdir().expect("a folder");
        let folder = Folder::open(temporary.path()).expect("open");
        let before = belongings(&[0, 1, 1, 2, 3]);
        folder.stage("s", b"", &before.sections()).expect("staged").commit().expect("committed");
        let file = SectionFile::open(&folder.path_of("s")).expect("open");
        // Row 4 was dead already, and product 2 has gone.
        let mut number = |id: &str| (id != "p2").then(|| id[1..].parse::<u32>().expect("a number") + 10);
        let after = Belongings::read(&file, 5, |_| 0b1111, &mut number).expect("whole");
        assert_eq!(after.owners, [10, 11, 11, NOBODY, NOBODY]);
        assert_eq!((after.alive.iter().collect::<Vec<_>>(), after.stamp(2), after.id(2)), (vec![0, 1, 2], 101, "p1"));
        assert!(Belongings::read(&file, 4, |_| u64::MAX, &mut number).is_err(), "another number of rows");
    }
}
