//! Memory of a column: an aligned anonymous buffer or a read-only region of a mapped file, behind one type.
//!
//! A [`Column`] derefs to a slice, is cheap to clone (it is reference counted) and is never written after it has been
//! shared. Owned buffers ask for huge pages, because a graph walk reads rows at random and a page-table miss would cost
//! as much as the row.
#![allow(unsafe_code, reason = "anonymous mappings and reinterpreting their bytes as plain old data")]

use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::Arc;

use bytemuck::Pod;
use memmap2::Mmap;

/// Alignment of every buffer and of every section in a file, in bytes: one cache line.
pub const ALIGNMENT: usize = 64;

/// Buffers of at least this size are mapped on their own and marked for huge pages.
const HUGE_PAGE_BYTES: usize = 2 << 20;

/// Why bytes cannot become a column.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum MemoryError {
    /// The region does not lie inside its mapping.
    #[error("a column of {len} bytes at {offset} does not fit a mapping of {available} bytes")]
    OutOfRange {
        /// First byte of the region.
        offset: usize,
        /// Bytes of the region.
        len: usize,
        /// Bytes of the mapping.
        available: usize,
    },
    /// The bytes do not divide into elements, or lie at an address the elements cannot have.
    #[error("{len} bytes do not hold elements of {element} bytes")]
    Shape {
        /// Bytes given.
        len: usize,
        /// Bytes of one element.
        element: usize,
    },
}

/// A writable, zeroed, 64-byte aligned buffer of plain old data; it becomes a [`Column`] when it is complete.
pub struct Buffer<T: Pod> {
    pointer: NonNull<T>,
    len: usize,
    allocation: Allocation,
}

#[derive(Clone, Copy)]
enum Allocation {
    Heap(std::alloc::Layout),
    Mapped { base: *mut u8, bytes: usize },
}

// SAFETY: a buffer owns its memory like a `Vec<T>`; `T: Pod` holds neither references nor interior mutability.
unsafe impl<T: Pod> Send for Buffer<T> {}
// SAFETY: as above; a shared buffer is only read.
unsafe impl<T: Pod> Sync for Buffer<T> {}

impl<T: Pod> Buffer<T> {
    /// `len` zeroed elements.
    #[must_use]
    pub fn zeroed(len: usize) -> Self {
        let bytes = len.saturating_mul(size_of::<T>()).max(1);
        if bytes >= HUGE_PAGE_BYTES
            && let Some(buffer) = Self::mapped(len, bytes)
        {
            return buffer;
        }
        let Ok(layout) = std::alloc::Layout::from_size_align(bytes, ALIGNMENT.max(align_of::<T>())) else {
            panic!("a buffer of {bytes} bytes exceeds the address space");
        };
        // SAFETY: the layout has a size above zero.
        let pointer = unsafe { std::alloc::alloc_zeroed(layout) };
        match NonNull::new(pointer.cast::<T>()) {
            Some(pointer) => Self { pointer, len, allocation: Allocation::Heap(layout) },
            None => std::alloc::handle_alloc_error(layout),
        }
    }

    /// An anonymous mapping that begins on a huge-page boundary, or `None` where the system refuses one.
    #[cfg(unix)]
    fn mapped(len: usize, bytes: usize) -> Option<Self> {
        let reserved = bytes.checked_next_multiple_of(HUGE_PAGE_BYTES)?.checked_add(HUGE_PAGE_BYTES)?;
        // SAFETY: a fresh private anonymous mapping touches no memory that anyone else holds.
        let base = unsafe {
            libc::mmap(std::ptr::null_mut(), reserved, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)
        };
        if base == libc::MAP_FAILED {
            return None;
        }
        let base = base.cast::<u8>();
        let shift = base.align_offset(HUGE_PAGE_BYTES);
        // SAFETY: one extra huge page is reserved, so the aligned start and `bytes` behind it lie inside the mapping.
        let start = unsafe { base.add(shift) };
        #[cfg(target_os = "linux")]
        // SAFETY: the range lies inside the mapping; the advice changes no contents.
        unsafe {
            libc::madvise(start.cast(), reserved - HUGE_PAGE_BYTES, libc::MADV_HUGEPAGE);
        }
        let pointer = NonNull::new(start.cast::<T>())?;
        Some(Self { pointer, len, allocation: Allocation::Mapped { base, bytes: reserved } })
    }

    #[cfg(not(unix))]
    fn mapped(_len: usize, _bytes: usize) -> Option<Self> {
        None
    }

    /// A buffer that holds a copy of `values`.
    #[must_use]
    pub fn from_slice(values: &[T]) -> Self {
        let mut buffer = Self::zeroed(values.len());
        buffer.copy_from_slice(values);
        buffer
    }
}

impl<T: Pod> Deref for Buffer<T> {
    type Target = [T];

    #[inline(always)]
    fn deref(&self) -> &[T] {
        // SAFETY: the pointer is aligned and covers `len` initialised elements for as long as `self` lives.
        unsafe { std::slice::from_raw_parts(self.pointer.as_ptr(), self.len) }
    }
}

impl<T: Pod> DerefMut for Buffer<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`, and `&mut self` makes the access exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.pointer.as_ptr(), self.len) }
    }
}

impl<T: Pod> Drop for Buffer<T> {
    fn drop(&mut self) {
        match self.allocation {
            // SAFETY: allocated with this layout and freed once.
            Allocation::Heap(layout) => unsafe { std::alloc::dealloc(self.pointer.as_ptr().cast(), layout) },
            #[cfg(unix)]
            // SAFETY: mapped with this base and length and unmapped once.
            Allocation::Mapped { base, bytes } => unsafe {
                libc::munmap(base.cast(), bytes);
            },
            #[cfg(not(unix))]
            Allocation::Mapped { .. } => {}
        }
    }
}

/// A shared, read-only column of plain old data: owned memory or a region of a mapped file.
pub struct Column<T: Pod> {
    pointer: NonNull<T>,
    len: usize,
    owner: Owner,
}

/// Keeps the memory of a column alive.
#[derive(Clone)]
enum Owner {
    Memory(#[expect(dead_code, reason = "held, never read")] Arc<dyn Send + Sync>),
    File(#[expect(dead_code, reason = "held, never read")] Arc<Mmap>),
}

// SAFETY: a column only hands out shared references to plain old data that its owner keeps alive.
unsafe impl<T: Pod> Send for Column<T> {}
// SAFETY: as above.
unsafe impl<T: Pod> Sync for Column<T> {}

impl<T: Pod> Clone for Column<T> {
    fn clone(&self) -> Self {
        Self { pointer: self.pointer, len: self.len, owner: self.owner.clone() }
    }
}

impl<T: Pod> Column<T> {
    /// True when the bytes live in a mapped file (cold), false when they live in anonymous memory (hot).
    #[must_use]
    pub fn is_mapped(&self) -> bool {
        matches!(self.owner, Owner::File(_))
    }

    /// Bytes of the column.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.len * size_of::<T>()
    }

    /// The same memory as elements of another type.
    ///
    /// # Errors
    /// [`MemoryError::Shape`] where length or address do not suit `U`.
    pub fn cast<U: Pod>(&self) -> Result<Column<U>, MemoryError> {
        let bytes = self.bytes();
        let shape = MemoryError::Shape { len: bytes, element: size_of::<U>() };
        if size_of::<U>() == 0 || !bytes.is_multiple_of(size_of::<U>()) || !self.pointer.as_ptr().cast::<U>().is_aligned() {
            return Err(shape);
        }
        Ok(Column { pointer: self.pointer.cast(), len: bytes / size_of::<U>(), owner: self.owner.clone() })
    }
}

impl Column<u8> {
    /// The region `offset .. offset + len` of a mapped file.
    ///
    /// The file must not be changed or cut while it is mapped: segment files are written once and replaced by rename.
    ///
    /// # Errors
    /// [`MemoryError::OutOfRange`] where the region leaves the mapping.
    pub fn mapped(map: Arc<Mmap>, offset: usize, len: usize) -> Result<Self, MemoryError> {
        let available = map.len();
        let region =
            offset.checked_add(len).and_then(|end| map.get(offset..end)).ok_or(MemoryError::OutOfRange { offset, len, available })?;
        let pointer = NonNull::from(region).cast::<u8>();
        Ok(Self { pointer, len, owner: Owner::File(map) })
    }
}

impl<T: Pod> From<Buffer<T>> for Column<T> {
    fn from(buffer: Buffer<T>) -> Self {
        Self { pointer: buffer.pointer, len: buffer.len, owner: Owner::Memory(Arc::new(buffer)) }
    }
}

impl<T: Pod> Deref for Column<T> {
    type Target = [T];

    #[inline(always)]
    fn deref(&self) -> &[T] {
        // SAFETY: the owner keeps `len` initialised, aligned elements alive and nobody writes to them.
        unsafe { std::slice::from_raw_parts(self.pointer.as_ptr(), self.len) }
    }
}

impl<T: Pod> std::fmt::Debug for Column<T> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Column").field("len", &self.len).field("mapped", &self.is_mapped()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_of_every_size_are_zeroed_and_aligned() {
        for len in [0usize, 1, 63, 64, 1000, HUGE_PAGE_BYTES / 4, HUGE_PAGE_BYTES + 3] {
            let buffer = Buffer::<u32>::zeroed(len);
            assert_eq!(buffer.len(), len);
            assert!(buffer.iter().all(|value| *value == 0));
            assert_eq!(buffer.as_ptr() as usize % ALIGNMENT, 0);
        }
    }

    #[test]
    fn a_column_keeps_its_values_through_clone_and_cast() {
        let mut buffer = Buffer::<u32>::zeroed(1 << 20);
        for (index, value) in buffer.iter_mut().enumerate() {
            *value = index as u32;
        }
        let column = Column::from(buffer);
        let bytes = column.cast::<u8>().expect("bytes of words");
        drop(column);
        let words = bytes.clone().cast::<u32>().expect("words of bytes");
        assert!(!words.is_mapped());
        assert_eq!(words.bytes(), 4 << 20);
        assert!(words.iter().enumerate().all(|(index, value)| index as u32 == *value));
    }

    #[test]
    fn a_mapped_region_is_checked_and_reads_the_file() {
        let mut file = tempfile::tempfile().expect("temporary file");
        std::io::Write::write_all(&mut file, &(0u8..=255).collect::<Vec<_>>()).expect("written");
        // SAFETY: the file belongs to this test alone.
        let map = Arc::new(unsafe { Mmap::map(&file) }.expect("mapped"));
        let column = Column::mapped(map.clone(), 64, 128).expect("inside");
        assert!(column.is_mapped());
        assert_eq!(column[0], 64);
        assert_eq!(column.cast::<u32>().expect("aligned")[0], u32::from_le_bytes([64, 65, 66, 67]));
        assert!(Column::mapped(map.clone(), 1, 128).expect("inside").cast::<u32>().is_err(), "misaligned");
        assert!(Column::mapped(map.clone(), 0, 126).expect("inside").cast::<u32>().is_err(), "ragged");
        assert!(Column::mapped(map.clone(), 200, 57).is_err());
        assert!(Column::mapped(map, usize::MAX, 2).is_err());
    }
}
