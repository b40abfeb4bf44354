//! How far a follower has come, for whoever wants to wait for it.

use std::time::Duration;

use tokio::sync::watch;

/// The offset up to which everything is visible; clones share it.
#[derive(Clone, Debug)]
pub struct Progress(watch::Sender<u64>);

impl Default for Progress {
    fn default() -> Self {
        Self(watch::Sender::new(0))
    }
}

impl Progress {
    /// The first offset that is not yet visible.
    pub fn get(&self) -> u64 {
        *self.0.borrow()
    }

    /// Everything before `offset` is visible now.
    pub fn set(&self, offset: u64) {
        self.0.send_if_modified(|known| std::mem::replace(known, offset) != offset);
    }

    /// Waits until everything before `offset` is visible, but no longer than `timeout`. Whether it is.
    pub async fn reached(&self, offset: u64, timeout: Duration) -> bool {
        let mut changes = self.0.subscribe();
        if *changes.borrow_and_update() >= offset {
            return true;
        }
        matches!(tokio::time::timeout(timeout, changes.wait_for(|known| *known >= offset)).await, Ok(Ok(_)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waits_for_an_offset_and_no_longer_than_asked() {
        let progress = Progress::default();
        assert!(progress.reached(0, Duration::ZERO).await);
        assert!(!progress.reached(3, Duration::from_millis(50)).await);
        let waiting = tokio::spawn({
            let progress = progress.clone();
            async move { progress.reached(3, Duration::from_secs(5)).await }
        });
        tokio::task::yield_now().await;
        progress.set(2);
        progress.set(4);
        assert!(waiting.await.expect("no panic"));
        assert_eq!(progress.get(), 4);
    }
}
