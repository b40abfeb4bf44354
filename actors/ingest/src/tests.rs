//! Tests of the whole: real feeds, damaged feeds, and the actor with a probe in Gordon's place.

mod actor;
mod damage;
mod feeds;
