//! GCPD: the rough first cache of finished answers.
//!
//! **Job.** Gives an answer again to whoever asks the same, as long as nothing that it was made of has changed. **Alone owns** the
//! cached answers, in memory only.
//!
//! **How.** The canonical request is the key; the versions of the inputs stand beside the answer. The map behind it
//! (`quick_cache`: S3-FIFO, so that answers asked for once do not push out those asked for often) is bounded in bytes. Of callers
//! who ask the same at the same time one computes and the others wait for it.
//!
//! **Invariants.** An answer is given only to a question with the very versions that it was made of. A personal answer is found
//! under its shopper's key alone, is dropped when the shopper is forgotten, and one whose computation an erasure overtook is never
//! given. Errors are not kept, and a caller that goes away lets the next one compute.
//!
//! **May forget** everything at any time.
//!
//! **Is no actor**, though it has a character: it follows nothing, computes nothing of its own and has nothing that could fail and be
//! started again, so there is nothing to supervise. It is a handle, made once and given to Robin.

mod cache;
pub mod config;
mod counts;

#[cfg(test)]
mod tests;

pub use cache::Cache;
pub use config::Config;
pub use protocol::cache::NAME;
