//! Stands in until mds-core has them.
use common::id::Seq;
use common::time::Now;
use mds_core::input::Restored;
use mds_core::journal::entry::Entry;
use mds_core::row::Row;
use mds_core::{Effects, Input, Params};

#[derive(Debug)]
pub struct Mds;

impl Mds {
    pub fn new(_: Params, _: Restored, _: Now, out: &mut Effects) -> Self {
        out.push(mds_core::Effect::WantState(common::mds_map::RankState::Active));
        Self
    }
    pub fn handle(&mut self, _: Now, _: Input, _: &mut Effects) {}
    pub fn seq(&self) -> Seq {
        Seq(0)
    }
}

pub fn format_root(_: Now) -> (Vec<Row>, Vec<Entry>) {
    (Vec::new(), Vec::new())
}
