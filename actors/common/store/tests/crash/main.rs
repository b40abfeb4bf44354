//! Crash tests. A child process (this binary again) writes to the store and the journal and tells what was acknowledged; it is
//! killed, or the power of its disk is cut; afterwards all that was acknowledged is there, and nothing is torn.
//!
//! The power-cut test needs root, loop devices and `mkfs.ext4`; without them it says SKIPPED. With the feature `no_fsync` it
//! must fail; `EXPECT_LOSS=1` turns its verdict around, to show that it would notice a store that does not flush.

mod disk;
mod workload;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use disk::Disk;
use workload::Progress;

const KILLS: u32 = 30;
const CUTS: u32 = 20;
const CHILD_DIR: &str = "STORE_CRASH_CHILD_DIR";

/// The body of the child; nothing when the tests are run.
#[test]
fn child() {
    if let Some(dir) = std::env::var_os(CHILD_DIR) {
        workload::write_for_ever(Path::new(&dir));
    }
}

#[test]
fn kill_9_loses_nothing_that_was_acknowledged() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut random = Random::new();
    let mut found = Progress::default();
    for kill in 1..=KILLS {
        let mut writer = Writer::start(dir.path());
        std::thread::sleep(random.milliseconds(5..300));
        writer.child.kill().expect("a child to kill");
        let (acked, _) = writer.end(Duration::MAX);
        found = workload::verify(dir.path(), acked.max(found)).unwrap_or_else(|wrong| panic!("kill {kill}: {wrong}"));
    }
    eprintln!("kill -9: {KILLS} kills, {found:?} rounds, nothing lost");
    assert!(found.store > u64::from(KILLS), "the writer hardly wrote: {found:?}");
}

#[test]
fn a_power_cut_loses_nothing_that_was_acknowledged() {
    let mut disk = match Disk::new() {
        Ok(disk) => disk,
        Err(reason) => return eprintln!("SKIPPED: this machine cannot cut the power of a loop device: {reason}"),
    };
    let expects_loss = std::env::var("EXPECT_LOSS").is_ok_and(|value| value == "1");
    let mut random = Random::new();
    let (mut rounds, mut losses) = (0, Vec::new());
    let mut found = Progress::default();
    for cut in 1..=CUTS {
        let outcome = cut_power(&disk, &mut random, found);
        rounds += outcome.as_ref().map_or(0, |progress| progress.store - found.store);
        // A new disk is where files grow, which is what a missing flush loses first.
        let is_spent = outcome.is_err() || expects_loss;
        found = outcome.unwrap_or_else(|wrong| {
            losses.push(format!("cut {cut}: {wrong}"));
            Progress::default()
        });
        if is_spent {
            disk = Disk::new().expect("the second disk as the first");
            found = Progress::default();
        }
        if expects_loss && both_lost(&losses) {
            break;
        }
    }
    eprintln!("power cut: {rounds} rounds kept, {} of at most {CUTS} cuts with a loss: {losses:#?}", losses.len());
    if expects_loss {
        assert!(both_lost(&losses), "the test would not notice a store, or a journal, that does not flush");
    } else {
        assert!(losses.is_empty(), "acknowledged writes were lost");
    }
}

/// Whether the store and the journal have each lost something.
fn both_lost(losses: &[String]) -> bool {
    [workload::STORE, workload::JOURNAL].iter().all(|part| losses.iter().any(|loss| loss.contains(part)))
}

/// One life of the writer on the disk; afterwards what was found.
fn cut_power(disk: &Disk, random: &mut Random, before: Progress) -> Result<Progress, String> {
    let mut writer = Writer::start(&disk.root());
    std::thread::sleep(random.milliseconds(5..500));
    // Only what was acknowledged before the cut counts.
    let acked = writer.acked();
    disk.cut().expect("a disk whose power can be cut");
    let (_, status) = writer.end(Duration::from_secs(30));
    disk.power_on().expect("a disk that mounts again");
    if status.code() != Some(workload::POISONED) {
        return Err(format!("the writer did not become read-only: {status}"));
    }
    workload::verify(&disk.root(), acked.max(before))
}

/// The child process.
struct Writer {
    child: Child,
    acked: Arc<Mutex<Progress>>,
    listener: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the child and waits until it writes.
    fn start(dir: &Path) -> Self {
        let this = std::env::current_exe().expect("this program");
        let mut command = Command::new(this);
        command.args(["--exact", "child", "--nocapture"]).env(CHILD_DIR, dir).stdout(Stdio::piped());
        let mut child = command.spawn().expect("a child process");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
        assert!(lines.any(|line| line == "ready"), "the writer did not start");
        let acked = Arc::new(Mutex::new(Progress::default()));
        let heard = acked.clone();
        let listener = std::thread::spawn(move || {
            for progress in lines.filter_map(|line| Progress::parse(&line)) {
                *heard.lock().expect("a sound lock") = progress;
            }
        });
        Self { child, acked, listener: Some(listener) }
    }

    fn acked(&self) -> Progress {
        *self.acked.lock().expect("a sound lock")
    }

    /// Waits for the child's end (or brings it about), then gives all that it acknowledged.
    fn end(&mut self, patience: Duration) -> (Progress, ExitStatus) {
        let started = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child to wait for") {
                break status;
            }
            if started.elapsed() > patience {
                self.child.kill().expect("a child to kill");
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        if let Some(listener) = self.listener.take() {
            listener.join().expect("the listener");
        }
        (self.acked(), status)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// xorshift64, seeded by the clock: each run cuts elsewhere.
struct Random(u64);

impl Random {
    fn new() -> Self {
        let seed = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_nanos() as u64 | 1);
        eprintln!("seed {seed}");
        Self(seed)
    }

    fn milliseconds(&mut self, range: std::ops::Range<u64>) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        Duration::from_millis(range.start + self.0 % (range.end - range.start))
    }
}
