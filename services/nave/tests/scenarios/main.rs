//! The flows of mimi-protocol, each from its beginning, over real TLS between three providers: a (the hub), b and c. Their
//! clients see the providers' public ports only. What a test checks beside its own assertions, its acts check: they are
//! those of `nave demo`.

#![allow(clippy::unwrap_used, reason = "tests")]

mod catch_up;
mod comings;
mod contents;
mod failures;
mod operators;
mod pseudonyms;
mod retention;
mod rules;
mod world;
