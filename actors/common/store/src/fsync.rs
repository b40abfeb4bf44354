//! Real flushes for sled. As published, sled 0.34 on Linux flushes with `sync_file_range`, which leaves data in the disk's
//! cache and the file's length unwritten, so a power cut loses acknowledged writes. This module defines that symbol for
//! the whole program; the linker takes it in place of libc's, and sled's flush becomes `fdatasync`.
//!
//! A failed flush is counted here and hidden from sled: sled would only log it, and may leave the flushing thread
//! waiting for ever. The store compares [`failures`] around each flush and becomes read-only.

#![allow(unsafe_code, reason = "replaces a libc function and calls another")]

use std::sync::atomic::{AtomicU64, Ordering};

static CALLS: AtomicU64 = AtomicU64::new(0);
static FAILURES: AtomicU64 = AtomicU64::new(0);

/// How often sled has flushed in this process.
pub(crate) fn calls() -> u64 {
    CALLS.load(Ordering::Acquire)
}

/// How many of those flushes failed.
pub(crate) fn failures() -> u64 {
    FAILURES.load(Ordering::Acquire)
}

// SAFETY: the name and the signature are those of the Linux function, and nothing else in the program defines it. Flushing
// more than the range that was asked for, at the same moment, keeps every promise of the original.
#[unsafe(no_mangle)]
extern "C" fn sync_file_range(fd: libc::c_int, offset: libc::off64_t, bytes: libc::off64_t, flags: libc::c_uint) -> libc::c_int {
    let flushed = flush(fd, offset, bytes, flags);
    if !flushed {
        FAILURES.fetch_add(1, Ordering::AcqRel);
    }
    CALLS.fetch_add(1, Ordering::AcqRel);
    0
}

#[cfg(not(feature = "no_fsync"))]
fn flush(fd: libc::c_int, _offset: libc::off64_t, _bytes: libc::off64_t, _flags: libc::c_uint) -> bool {
    loop {
        // SAFETY: takes no pointer; a descriptor that is not open gives an error.
        if unsafe { libc::fdatasync(fd) } == 0 {
            return true;
        }
        if std::io::Error::last_os_error().kind() != std::io::ErrorKind::Interrupted {
            return false;
        }
    }
}

/// What sled does by itself: the build that the power-cut test must fail.
#[cfg(feature = "no_fsync")]
fn flush(fd: libc::c_int, offset: libc::off64_t, bytes: libc::off64_t, flags: libc::c_uint) -> bool {
    // SAFETY: the original system call with the caller's own arguments, none of them a pointer.
    unsafe { libc::syscall(libc::SYS_sync_file_range, fd, offset, bytes, flags) == 0 }
}
