//! Words: the keyword index.
