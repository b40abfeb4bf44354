//! A vector in chunks that its copies share: copying it copies pointers, changing an element copies that element's chunk at most.

use std::sync::Arc;

/// Elements of a chunk.
pub(crate) const CHUNK: usize = 512;

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Chunked<T> {
    chunks: Vec<Arc<Vec<T>>>,
    length: usize,
}

impl<T> Default for Chunked<T> {
    fn default() -> Self {
        Self { chunks: Vec::new(), length: 0 }
    }
}

impl<T: Clone> Chunked<T> {
    pub(crate) fn filled(value: T, length: usize) -> Self {
        let mut chunked = Self::default();
        chunked.resize(length, value);
        chunked
    }

    pub(crate) fn len(&self) -> usize {
        self.length
    }

    pub(crate) fn get(&self, index: usize) -> Option<&T> {
        self.chunks.get(index / CHUNK)?.get(index % CHUNK)
    }

    pub(crate) fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        Arc::make_mut(self.chunks.get_mut(index / CHUNK)?).get_mut(index % CHUNK)
    }

    pub(crate) fn push(&mut self, value: T) {
        if self.length.is_multiple_of(CHUNK) {
            self.chunks.push(Arc::new(Vec::new()));
        }
        if let Some(chunk) = self.chunks.last_mut() {
            Arc::make_mut(chunk).push(value);
        }
        self.length += 1;
    }

    pub(crate) fn pop(&mut self) -> Option<T> {
        let value = Arc::make_mut(self.chunks.last_mut()?).pop();
        self.length -= usize::from(value.is_some());
        if self.length.is_multiple_of(CHUNK) {
            self.chunks.pop();
        }
        value
    }

    /// Longer by copies of `value`; never shorter.
    pub(crate) fn resize(&mut self, length: usize, value: T) {
        while self.length < length {
            if self.length.is_multiple_of(CHUNK) {
                self.chunks.push(Arc::new(Vec::new()));
            }
            let more = (length - self.length).min(CHUNK - self.length % CHUNK);
            if let Some(chunk) = self.chunks.last_mut() {
                let chunk = Arc::make_mut(chunk);
                chunk.resize(chunk.len() + more, value.clone());
            }
            self.length += more;
        }
    }

    pub(crate) fn chunks(&self) -> impl Iterator<Item = &[T]> {
        self.chunks.iter().map(|chunk| chunk.as_slice())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
    }

    /// Of the chunks themselves, without what elements point to.
    pub(crate) fn bytes(&self) -> usize {
        let chunk = |chunk: &Arc<Vec<T>>| chunk.capacity() * size_of::<T>() + size_of::<Vec<T>>() + 2 * size_of::<usize>();
        self.chunks.iter().map(chunk).sum::<usize>() + self.chunks.capacity() * size_of::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_stay_as_they_were_and_share_what_did_not_change() {
        let mut vector = Chunked::default();
        (0..3 * CHUNK).for_each(|number| vector.push(number));
        let before = vector.clone();
        *vector.get_mut(CHUNK).expect("an element") = 7;
        assert_eq!((before.get(CHUNK), vector.get(CHUNK)), (Some(&CHUNK), Some(&7)));
        let shared = before.chunks.iter().zip(&vector.chunks).filter(|(a, b)| Arc::ptr_eq(a, b)).count();
        assert_eq!(shared, 2);
        assert_eq!(vector.get(3 * CHUNK), None);
    }

    #[test]
    fn it_is_a_stack_and_can_be_filled() {
        let mut vector = Chunked::filled(1_u8, CHUNK + 1);
        vector.push(2);
        assert_eq!(
            (vector.len(), vector.pop(), vector.pop(), vector.pop(), vector.len()),
            (CHUNK + 2, Some(2), Some(1), Some(1), CHUNK - 1)
        );
        assert_eq!(vector.iter().count(), CHUNK - 1);
        vector.resize(2 * CHUNK, 3);
        assert_eq!(vector.chunks().map(<[u8]>::len).collect::<Vec<_>>(), [CHUNK, CHUNK]);
        while vector.pop().is_some() {}
        assert_eq!((vector.len(), vector.pop()), (0, None));
    }
}
