//! The explorer's tests: every order of events in small worlds, within a bound; and whether what it
//! checks would notice a mistake.
//!
//! `EXPLORE_STATES`, `EXPLORE_SECONDS`, `EXPLORE_CRASHES`, `EXPLORE_CANCELS` and `EXPLORE_DEADLINES`
//! move the bound, as `scripts/soak` does. `EXPLORE_ALL` tries everything, also what leads nowhere else;
//! `EXPLORE_CENSUS` tells what the states are made of. Numbers are shown with `-- --nocapture`.

#![allow(clippy::print_stdout, reason = "the figures are for people")]

mod clients;
mod left_out;
mod mutants;
mod worlds;
