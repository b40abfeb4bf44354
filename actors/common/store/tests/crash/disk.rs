//! A disk whose power can be cut: ext4 on a loop device, shut down without writing its log.

#![allow(unsafe_code, reason = "ioctl")]

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// `EXT4_IOC_SHUTDOWN`, `_IOR('X', 125, __u32)` of the kernel's `ext4.h`.
const EXT4_IOC_SHUTDOWN: libc::c_ulong = 0x8004_587D;
/// `EXT4_GOING_FLAGS_NOLOGFLUSH`: neither the log nor anything else is written any more.
static NOLOGFLUSH: u32 = 2;

pub(crate) struct Disk {
    dir: tempfile::TempDir,
}

impl Disk {
    /// A new, mounted disk; an error where the machine forbids it.
    pub(crate) fn new() -> Result<Self, String> {
        let disk = Self { dir: tempfile::tempdir().map_err(|error| error.to_string())? };
        std::fs::create_dir(disk.root()).map_err(|error| error.to_string())?;
        let image = File::create(disk.image()).and_then(|image| image.set_len(1 << 30));
        image.map_err(|error| error.to_string())?;
        run("mkfs.ext4", &["-q".as_ref(), "-F".as_ref(), &disk.image()])?;
        disk.mount()?;
        Ok(disk)
    }

    /// Where it is mounted.
    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// Nothing reaches the disk from now on.
    pub(crate) fn cut(&self) -> Result<(), String> {
        let root = File::open(self.root()).map_err(|error| error.to_string())?;
        // SAFETY: the request reads one u32 from the pointer, which outlives the call.
        let result = unsafe { libc::ioctl(root.as_raw_fd(), EXT4_IOC_SHUTDOWN as _, &raw const NOLOGFLUSH) };
        if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error().to_string()) }
    }

    /// What the next start finds.
    pub(crate) fn power_on(&self) -> Result<(), String> {
        run("umount", &[&self.root()])?;
        self.mount()
    }

    fn mount(&self) -> Result<(), String> {
        run("mount", &["-o".as_ref(), "loop".as_ref(), &self.image(), &self.root()])
    }

    fn image(&self) -> PathBuf {
        self.dir.path().join("image")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = run("umount", &[&self.root()]);
    }
}

fn run(program: &str, arguments: &[&Path]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() { Ok(()) } else { Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim())) }
}
