//! The simulator's tests: no privileges, no network, no disk. Random runs are in [`random`].

mod random;
