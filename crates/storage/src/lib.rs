//! The engine trait, its fjall and in-memory engines, records, hints, group commit
