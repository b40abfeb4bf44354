//! Columns: what products are filtered, counted and sorted by, in memory.
