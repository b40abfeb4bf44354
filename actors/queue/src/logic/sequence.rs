//! Numbers for jobs and leases that are never given out twice, whatever happens in between.

use store::Op;

use crate::records::put_sequence;

/// How many numbers one write reserves; at most this many are skipped by a restart.
const BLOCK: u64 = 4096;

/// One growing number for both job ids and lease numbers.
#[derive(Debug)]
pub(crate) struct Sequence {
    next: u64,
    reserved: u64,
}

impl Sequence {
    /// Goes on behind everything that was ever reserved.
    pub(crate) fn after(reserved: u64) -> Self {
        Self { next: reserved.max(1), reserved: reserved.max(1) }
    }

    /// The next number; the write that reserves it travels with the write that uses it.
    pub(crate) fn take(&mut self, ops: &mut Vec<Op>) -> u64 {
        if self.next == self.reserved {
            self.reserved += BLOCK;
            ops.push(put_sequence(self.reserved));
        }
        self.next += 1;
        self.next - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_reserved_before_they_are_used() {
        let (mut sequence, mut ops) = (Sequence::after(0), vec![]);
        let taken: Vec<_> = (0..=BLOCK).map(|_| sequence.take(&mut ops)).collect();
        assert_eq!((taken[0], taken[BLOCK as usize]), (1, BLOCK + 1));
        assert_eq!(ops, [put_sequence(1 + BLOCK), put_sequence(1 + 2 * BLOCK)]);
        assert_eq!(Sequence::after(1 + 2 * BLOCK).take(&mut ops), 1 + 2 * BLOCK);
    }
}
