//! Vectors: nearest neighbours over embeddings, in memory.
