//! The simulator's tests: no privileges, no network, no disk. Random runs are in [`random`], deaths at
//! named moments in [`kill_points`].

mod kill_points;
mod random;
mod reconnect;
