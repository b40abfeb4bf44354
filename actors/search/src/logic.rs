//! What decides: vector rows and their exact scan, words and their folding, fusion of ranked lists. Plain data.

pub mod fuse;
pub mod scan;
pub mod vectors;
pub mod words;
