//! Where a kernel writes: a buffer that may be written by several threads at once, each in columns or rows of its own.
#![allow(unsafe_code, reason = "several threads write one buffer")]

use std::marker::PhantomData;

/// The exclusive use of a buffer, or of some rows or columns of it that no other thread uses.
pub(crate) struct Target<'a> {
    start: *mut f32,
    length: usize,
    buffer: PhantomData<&'a mut [f32]>,
}

// SAFETY: it stands for an exclusive borrow of floats, which may be sent; that copies are used apart is `copy`'s contract.
unsafe impl Send for Target<'_> {}
// SAFETY: as above; a shared reference to it gives nothing but `copy`.
unsafe impl Sync for Target<'_> {}

impl<'a> Target<'a> {
    pub(crate) fn new(buffer: &'a mut [f32]) -> Target<'a> {
        Target { start: buffer.as_mut_ptr(), length: buffer.len(), buffer: PhantomData }
    }

    /// Another handle of the same buffer.
    ///
    /// # Safety
    /// What is written through handles that are in use at the same time does not overlap.
    pub(crate) unsafe fn copy(&self) -> Target<'a> {
        Target { start: self.start, length: self.length, buffer: PhantomData }
    }

    /// The rest from float `at` on.
    ///
    /// # Panics
    /// When the buffer ends before.
    pub(crate) fn skip(self, at: usize) -> Target<'a> {
        assert!(at <= self.length, "within the buffer");
        // SAFETY: within the buffer or at its end.
        Target { start: unsafe { self.start.add(at) }, length: self.length - at, buffer: PhantomData }
    }

    /// The first `length` floats.
    ///
    /// # Panics
    /// When the buffer ends before.
    pub(crate) fn take(self, length: usize) -> Target<'a> {
        assert!(length <= self.length, "within the buffer");
        Target { length, ..self }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [f32] {
        // SAFETY: the buffer is this handle's own, or the part of it that is used is (see `copy`).
        unsafe { std::slice::from_raw_parts_mut(self.start, self.length) }
    }

    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// The first float: for writes within [`Target::len`].
    pub(crate) fn as_mut_ptr(&mut self) -> *mut f32 {
        self.start
    }
}
