//! A list that grows piece by piece: a million entries are never copied to make room for one more, and no room is held in advance.

use std::ops::{Index, IndexMut};

/// Entries of a piece.
const PIECE: usize = 4_096;

/// A list in pieces.
#[derive(Clone, Debug)]
pub(crate) struct Chunked<T> {
    pieces: Vec<Vec<T>>,
}

impl<T> Default for Chunked<T> {
    fn default() -> Self {
        Self { pieces: Vec::new() }
    }
}

impl<T> Chunked<T> {
    pub(crate) fn len(&self) -> usize {
        self.pieces.last().map_or(0, |last| (self.pieces.len() - 1) * PIECE + last.len())
    }

    pub(crate) fn get(&self, place: usize) -> Option<&T> {
        self.pieces.get(place / PIECE)?.get(place % PIECE)
    }

    pub(crate) fn get_mut(&mut self, place: usize) -> Option<&mut T> {
        self.pieces.get_mut(place / PIECE)?.get_mut(place % PIECE)
    }

    pub(crate) fn push(&mut self, entry: T) {
        match self.pieces.last_mut().filter(|last| last.len() < PIECE) {
            Some(last) => last.push(entry),
            None => {
                let mut piece = Vec::with_capacity(PIECE);
                piece.push(entry);
                self.pieces.push(piece);
            }
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.pieces.iter().flatten()
    }
}

impl<T> Index<usize> for Chunked<T> {
    type Output = T;

    fn index(&self, place: usize) -> &T {
        &self.pieces[place / PIECE][place % PIECE]
    }
}

impl<T> IndexMut<usize> for Chunked<T> {
    fn index_mut(&mut self, place: usize) -> &mut T {
        &mut self.pieces[place / PIECE][place % PIECE]
    }
}

impl<T> FromIterator<T> for Chunked<T> {
    fn from_iter<I: IntoIterator<Item = T>>(entries: I) -> Self {
        let mut chunked = Self::default();
        entries.into_iter().for_each(|entry| chunked.push(entry));
        chunked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_keep_their_places_across_pieces() {
        let mut chunked: Chunked<usize> = (0..2 * PIECE + 5).collect();
        chunked[PIECE] += 1;
        assert_eq!(
            (chunked.len(), chunked[PIECE - 1], chunked[PIECE], chunked[2 * PIECE + 4]),
            (2 * PIECE + 5, PIECE - 1, PIECE + 1, 2 * PIECE + 4)
        );
        assert_eq!((chunked.get(2 * PIECE + 5), chunked.iter().count()), (None, 2 * PIECE + 5));
        assert_eq!(Chunked::<u8>::default().len(), 0);
    }
}
