//! A Redis of our own to compare with: `redis-server` from the PATH on a Unix socket, `appendfsync always`, `XADD` in pipelines.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use domain::Event;
use store::StoreError;

const START_TIME_MAX: Duration = Duration::from_secs(10);

/// A running server; it ends with this.
pub(super) struct Redis {
    server: Child,
    socket: PathBuf,
}

impl Redis {
    pub(super) fn start(dir: &Path) -> Result<Self, StoreError> {
        std::fs::create_dir_all(dir).map_err(failed)?;
        let socket = dir.join("socket");
        let server = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "yes", "--appendfsync", "always", "--no-appendfsync-on-rewrite", "no"])
            .args(["--auto-aof-rewrite-percentage", "0", "--dir"])
            .arg(dir)
            .arg("--unixsocket")
            .arg(&socket)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| StoreError::io("redis-server", error))?;
        let redis = Self { server, socket };
        let started = Instant::now();
        while UnixStream::connect(&redis.socket).is_err() {
            if started.elapsed() > START_TIME_MAX {
                return Err(failed("it does not answer"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(redis)
    }

    /// The server's process.
    pub(super) fn pid(&self) -> u32 {
        self.server.id()
    }

    /// Adds all events, each client its share, one pipeline a batch: entries a second.
    pub(super) fn turn(&mut self, batches: &[Vec<Event>], clients: usize) -> Result<f64, StoreError> {
        let commands: Vec<(Vec<u8>, usize)> = batches.iter().map(|batch| (pipeline(batch), batch.len())).collect();
        let count: usize = batches.iter().map(Vec::len).sum();
        let clients = clients.max(1);
        let started = Instant::now();
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..clients)
                .map(|client| {
                    let (commands, socket) = (&commands, &self.socket);
                    scope.spawn(move || add(socket, commands.iter().skip(client).step_by(clients)))
                })
                .collect();
            threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|_| Err(failed("a client panicked"))))
        })?;
        Ok(count as f64 / started.elapsed().as_secs_f64())
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn add<'a>(socket: &Path, commands: impl Iterator<Item = &'a (Vec<u8>, usize)>) -> Result<(), StoreError> {
    let mut to = UnixStream::connect(socket).map_err(failed)?;
    let mut from = BufReader::new(to.try_clone().map_err(failed)?);
    let mut line = String::new();
    for (bytes, answers) in commands {
        to.write_all(bytes).map_err(failed)?;
        // Each answer is `$length`, then the entry's id.
        for _ in 0..*answers {
            for _ in 0..2 {
                line.clear();
                if from.read_line(&mut line).map_err(failed)? == 0 || line.starts_with('-') {
                    return Err(failed(line.trim()));
                }
            }
        }
    }
    Ok(())
}

/// `XADD events * <fields>` for each event, with what the log keeps of it: the fields that analysts ask for, and the raw text.
fn pipeline(events: &[Event]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for event in events {
        let at = event.at_ms.to_string();
        let products: Vec<&str> = event.items.iter().map(|item| item.product.as_str()).collect();
        let products = products.join(",");
        let fields = [
            ("id", event.id.as_str()),
            ("kind", event.kind.name()),
            ("visitor", event.visitor.as_deref().unwrap_or_default()),
            ("user", event.user.as_deref().unwrap_or_default()),
            ("session", event.session.as_deref().unwrap_or_default()),
            ("at", at.as_str()),
            ("items", products.as_str()),
            ("raw", event.raw.as_str()),
        ];
        let words = ["XADD", "events", "*"].into_iter().chain(fields.into_iter().flat_map(|(name, value)| [name, value]));
        let count = 3 + 2 * fields.len();
        bytes.extend_from_slice(format!("*{count}\r\n").as_bytes());
        for word in words {
            bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
        }
    }
    bytes
}

fn failed(error: impl std::fmt::Display) -> StoreError {
    StoreError::io("redis", error)
}
